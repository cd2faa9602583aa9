"""The ResNet family: plain and bottleneck blocks, variants B, C and D, for images of any size."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.models.cost import macs_check
from harness.spec import Model, Spec

Weights = dict[str, Tensor]  # and buffers, by name


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)


class Residual(nn.Module):
    """`relu(shortcut(x) + body(x))`; `body` ends in the batch norm that zero γ is about, `last_norm`."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut
        self.act = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        last = self.body[-1]
        assert isinstance(last, nn.BatchNorm2d)
        return last

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.shortcut(x) + self.body(x))
        return out


class ResNet(Model):
    """ResNet (He et al. 2016) in the variants of He et al. 2019, section 4. Slot: `model`.

    - A: the original; a downsampling bottleneck strides in its first 1 x 1. torchvision's and timm's "ResNet-50" is B.
    - B: strides in the 3 x 3 instead.
    - C: the 7 x 7 stem becomes three 3 x 3 (width/2, width/2, width; the first strides).
    - D: B and C, and the shortcut averages 2 x 2 before a 1 x 1 of stride 1.

    `small` replaces the stem by one 3 x 3 of stride 1, for images up to 64 px: there is no 7 x 7, so C changes nothing
    there and D is B with the pooled shortcut. A plain (two 3 x 3) block strides in its first conv in every variant.
    """

    blocks: tuple[PositiveInt, ...] = Field(min_length=1)
    bottleneck: bool = True
    width: int = Field(64, ge=2)
    variant: Literal["A", "B", "C", "D"] = "A"
    small: bool = False

    def check(self, spec: Spec) -> None:
        if self.variant == "C" and self.small:
            raise ValueError("ResNet-C is about the stem of large images, which model.small leaves out")

    def build(self, channels: int, classes: int) -> nn.Sequential:
        layers: list[tuple[str, nn.Module]] = [("stem", self._stem(channels))]
        c_in = self.width
        for stage, count in enumerate(self.blocks):
            width = self.width * 2**stage
            blocks = []
            for i in range(count):
                blocks.append(self._block(c_in, width, stride=2 if stage > 0 and i == 0 else 1))
                c_in = width * (4 if self.bottleneck else 1)
            layers.append((f"stage{stage + 1}", nn.Sequential(*blocks)))
        layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(c_in, classes))]
        net = nn.Sequential()
        for name, layer in layers:
            net.add_module(name, layer)
        return net

    def _stem(self, channels: int) -> nn.Sequential:
        w = self.width
        if self.small:
            return nn.Sequential(conv(channels, w, 3), nn.BatchNorm2d(w), nn.ReLU(inplace=True))
        if self.variant in "AB":
            front: list[nn.Module] = [conv(channels, w, 7, stride=2)]
        else:
            half = w // 2
            front = [conv(channels, half, 3, stride=2), nn.BatchNorm2d(half), nn.ReLU(inplace=True)]
            front += [conv(half, half, 3), nn.BatchNorm2d(half), nn.ReLU(inplace=True), conv(half, w, 3)]
        return nn.Sequential(*front, nn.BatchNorm2d(w), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))

    def _block(self, c_in: int, width: int, stride: int) -> Residual:
        relu = nn.ReLU(inplace=True)
        if self.bottleneck:
            first, second = (stride, 1) if self.variant == "A" else (1, stride)
            c_out = 4 * width
            body = [conv(c_in, width, 1, first), nn.BatchNorm2d(width), relu]
            body += [conv(width, width, 3, second), nn.BatchNorm2d(width), relu]
            body += [conv(width, c_out, 1), nn.BatchNorm2d(c_out)]
        else:
            c_out = width
            body = [conv(c_in, width, 3, stride), nn.BatchNorm2d(width), relu]
            body += [conv(width, width, 3), nn.BatchNorm2d(width)]
        return Residual(nn.Sequential(*body), self._shortcut(c_in, c_out, stride))

    def _shortcut(self, c_in: int, c_out: int, stride: int) -> nn.Module:
        if stride == 1 and c_in == c_out:
            return nn.Identity()
        if self.variant == "D" and stride > 1:  # ceil: an odd side keeps its last row, as the strided conv does
            pooled = nn.Sequential()  # named so that conv and norm are 0 and 1, as without the pool: they start alike
            pooled.add_module("pool", nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False))
            pooled.add_module("0", conv(c_in, c_out, 1))
            pooled.add_module("1", nn.BatchNorm2d(c_out))
            return pooled
        return nn.Sequential(conv(c_in, c_out, 1, stride), nn.BatchNorm2d(c_out))

    def reference(self, w: Weights, x: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
        """Written out from Figures 1 and 2 of He et al. 2019, by the names that weights have here."""
        logits: Tensor = linear(self.written(w, x, training, conv)[-1].mean((2, 3)), w["fc.weight"], w["fc.bias"])
        return logits

    def written(self, w: Weights, x: Tensor, training: bool, conv: Any, stride: int | None = None) -> list[Tensor]:
        """What the stem and each stage give, for a reference.

        Stages that would go beyond an output `stride` are dilated instead (Yu and Koltun 2016): from the place on where
        they would have strided, a 3 x 3 reaches twice as far as in the stage before.
        """
        functional = nn.functional

        def norm(x: Tensor, name: str) -> Tensor:
            mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
            return functional.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"], training, 0.1, 1e-5)

        def layer(x: Tensor, name: str, stride: int, padding: int, after: str, dilation: int = 1) -> Tensor:
            more = {"dilation": dilation} if dilation > 1 else {}
            convolved: Tensor = conv(x, w[f"{name}.weight"], stride=stride, padding=padding * dilation, **more)
            return norm(convolved, after)

        if self.small:
            x = functional.relu(layer(x, "stem.0", 1, 1, "stem.1"))
        else:
            if self.variant in ("A", "B"):
                x = functional.relu(layer(x, "stem.0", 2, 3, "stem.1"))
            else:
                for place, step in ((0, 2), (3, 1), (6, 1)):
                    x = functional.relu(layer(x, f"stem.{place}", step, 1, f"stem.{place + 1}"))
            x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        found, channels = [x], self.width
        cell, reach = 1 if self.small else 4, 1
        for stage, count in enumerate(self.blocks, 1):
            early, down, dilated = reach, 1, False
            if stage > 1:
                dilated = stride is not None and 2 * cell > stride
                down, cell, reach = (1, cell, 2 * reach) if dilated else (2, 2 * cell, reach)
            for block in range(count):
                name, first = f"stage{stage}.{block}", block == 0
                step = down if first else 1
                before = early if first else reach  # of a 3 x 3 that is no further than where the stage strode
                if self.bottleneck:
                    one, three = (step, 1) if self.variant == "A" else (1, step)
                    y = functional.relu(layer(x, f"{name}.body.0", one, 0, f"{name}.body.1"))
                    middle = reach if self.variant == "A" else before
                    y = functional.relu(layer(y, f"{name}.body.3", three, 1, f"{name}.body.4", middle))
                    y = layer(y, f"{name}.body.6", 1, 0, f"{name}.body.7")
                else:
                    y = functional.relu(layer(x, f"{name}.body.0", step, 1, f"{name}.body.1", before))
                    y = layer(y, f"{name}.body.3", 1, 1, f"{name}.body.4", reach)
                wide = self.width * 2 ** (stage - 1) * (4 if self.bottleneck else 1)
                if wide == channels and not (first and stage > 1):
                    x = functional.relu(x + y)
                elif first and stage > 1 and self.variant == "D":  # at the edges, over what is there
                    if dilated:
                        pooled = functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, 1)
                    else:
                        pooled = functional.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
                    x = functional.relu(layer(pooled, f"{name}.shortcut.0", 1, 0, f"{name}.shortcut.1") + y)
                else:
                    x = functional.relu(layer(x, f"{name}.shortcut.0", step, 0, f"{name}.shortcut.1") + y)
                channels = wide
            found.append(x)
        return found

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        if hasattr(spec.model, "backbone"):  # within another network, which proves its stages
            return
        stem = "3/1" if self.small else "7/2, max 3/2" if self.variant in "AB" else "3/2, 3/1, 3/1, max 3/2"
        first = 1 if self.variant == "A" or not self.bottleneck else 2
        cut = f"in conv {first}, shortcut {'pooled' if self.variant == 'D' else 'strided'}"
        expected = f"stem {stem}; {sum(self.blocks)} blocks; strides {cut if len(self.blocks) > 1 else 'nowhere'}"
        seen = structure_of(trace.model)
        yield Check("structure of the built network", expected, seen, seen == expected)
        yield macs_check(self, spec, trace)


def structure_of(model: nn.Module) -> str:
    """What the kernels, strides and pools of a network of Residual blocks show; "mixed" where its blocks differ."""
    stem = []
    for layer in model.get_submodule("stem").modules():
        if isinstance(layer, nn.Conv2d):
            stem.append(f"{layer.kernel_size[0]}/{layer.stride[0]}")
        elif isinstance(layer, nn.MaxPool2d):
            stem.append(f"max {layer.kernel_size}/{layer.stride}")
    blocks = [block for block in model.modules() if isinstance(block, Residual)]
    seen = set()
    for block in blocks:
        strides = [m.stride[0] for m in block.body if isinstance(m, nn.Conv2d)]
        if max(strides) > 1:
            pools = [m.stride for m in block.shortcut.modules() if isinstance(m, nn.AvgPool2d)]
            cut = [m.stride[0] for m in block.shortcut.modules() if isinstance(m, nn.Conv2d)]
            way = {((2,), (1,)): "pooled", ((), (2,)): "strided"}.get((tuple(pools), tuple(cut)), "neither")  # type: ignore[arg-type]
            seen.add(f"in conv {strides.index(2) + 1}, shortcut {way}")
    where = seen.pop() if len(seen) == 1 else "mixed" if seen else "nowhere"
    return f"stem {', '.join(stem)}; {len(blocks)} blocks; strides {where}"


RESNET18 = ResNet(blocks=(2, 2, 2, 2), bottleneck=False)
RESNET34 = ResNet(blocks=(3, 4, 6, 3), bottleneck=False)
RESNET50 = ResNet(blocks=(3, 4, 6, 3))
RESNET101 = ResNet(blocks=(3, 4, 23, 3))
RESNET152 = ResNet(blocks=(3, 8, 36, 3))


def with_variant(spec: Spec, variant: Literal["B", "C", "D"]) -> Spec:
    """`spec` with a ResNet of at least this variant: D has C in it, and C has B. Raises Problem on other models."""
    if not isinstance(spec.model, ResNet):
        raise Problem(f"ResNet-{variant} is about ResNets, and {spec.model!r} has no variant: leave the trick out")
    return spec.but(model=spec.model.but(variant=max(spec.model.variant, variant)))
