"""The ResNet family: plain and bottleneck blocks, variants A to D, stems for photos and for small images.

And a dense network; and the networks of others, by their names in timm, which is imported where one is built.
"""

import difflib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from harness import Problem, one_line
from harness.evidence import Check, Trace, digest
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
        functional = nn.functional

        def norm(x: Tensor, name: str) -> Tensor:
            mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
            return functional.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"], training, 0.1, 1e-5)

        def layer(x: Tensor, name: str, stride: int, padding: int, after: str) -> Tensor:
            convolved: Tensor = conv(x, w[f"{name}.weight"], stride=stride, padding=padding)
            return norm(convolved, after)

        if self.small:
            x = functional.relu(layer(x, "stem.0", 1, 1, "stem.1"))
        else:
            if self.variant in ("A", "B"):
                x = functional.relu(layer(x, "stem.0", 2, 3, "stem.1"))
            else:
                for place, stride in ((0, 2), (3, 1), (6, 1)):
                    x = functional.relu(layer(x, f"stem.{place}", stride, 1, f"stem.{place + 1}"))
            x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        channels = self.width
        for stage, count in enumerate(self.blocks, 1):
            for block in range(count):
                name, down = f"stage{stage}.{block}", 2 if stage > 1 and block == 0 else 1
                if self.bottleneck:
                    one, three = (down, 1) if self.variant == "A" else (1, down)
                    y = functional.relu(layer(x, f"{name}.body.0", one, 0, f"{name}.body.1"))
                    y = functional.relu(layer(y, f"{name}.body.3", three, 1, f"{name}.body.4"))
                    y = layer(y, f"{name}.body.6", 1, 0, f"{name}.body.7")
                else:
                    y = functional.relu(layer(x, f"{name}.body.0", down, 1, f"{name}.body.1"))
                    y = layer(y, f"{name}.body.3", 1, 1, f"{name}.body.4")
                wide = self.width * 2 ** (stage - 1) * (4 if self.bottleneck else 1)
                if down == 1 and wide == channels:
                    x = functional.relu(x + y)
                elif down == 2 and self.variant == "D":  # an odd side keeps its last row, averaged over what is there
                    pooled = functional.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
                    x = functional.relu(layer(pooled, f"{name}.shortcut.0", 1, 0, f"{name}.shortcut.1") + y)
                else:
                    x = functional.relu(layer(x, f"{name}.shortcut.0", down, 0, f"{name}.shortcut.1") + y)
                channels = wide
        logits: Tensor = linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])
        return logits

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
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


class Dense(Model):
    """Linear layers with ReLU between them, on all pixels of a `size` x `size` image as one row. Slot: `model`.

    As it stands, on MNIST: 784-784-10, 615,440 + 7,850 parameters. With no hidden layer it is softmax regression.
    """

    hidden: tuple[PositiveInt, ...] = (784,)
    size: int = Field(28, ge=1)  # px; the first layer has a weight for each

    def build(self, channels: int, classes: int) -> nn.Sequential:
        widths = (channels * self.size**2, *self.hidden)
        net = nn.Sequential(nn.Flatten())
        for fan_in, fan_out in pairwise(widths):
            net.extend((nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True)))
        return net.append(nn.Linear(widths[-1], classes))

    def reference(self, w: Weights, x: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
        """max(0, Wx + b) of all but the last layer, whose Wx + b are the logits."""
        row = x.reshape(len(x), -1)
        for layer in range(len(self.hidden)):
            row = linear(row, w[f"{2 * layer + 1}.weight"], w[f"{2 * layer + 1}.bias"]).clamp(min=0)
        logits: Tensor = linear(row, w[f"{2 * len(self.hidden) + 1}.weight"], w[f"{2 * len(self.hidden) + 1}.bias"])
        return logits

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        images = spec.data.load()
        widths = (images.channels * images.size**2, *self.hidden, len(images.classes))
        expected = "Flatten, " + ", ReLU, ".join(f"{a} to {b}" for a, b in pairwise(widths))
        layers = [m for m in trace.model.modules() if not isinstance(m, nn.Sequential)]
        seen = ", ".join(
            f"{m.in_features} to {m.out_features}" if isinstance(m, nn.Linear) else type(m).__name__ for m in layers
        )
        yield Check("layers of the built network", expected, seen, seen == expected)
        yield macs_check(self, spec, trace)


OTHERS = {"pretrained", "checkpoint_path", "num_classes", "in_chans", "zero_init_last", "features_only"}


class Timm(Model):
    """A network of timm, by the name it has there, without its trained weights. Slot: `model`.

    What a name switches on beside its architecture is off: dropout and dropped paths (0.2 in `legacy_seresnet50`), and
    the zero γ that timm's ResNets start with. Inception-V3 comes without its auxiliary head. Weights are then set by
    the specification's `init`: where that is Xavier, parameters of other layers than conv, linear and batch norm, such
    as a position embedding, stay as timm draws them from the run's seed. Multiply-adds are those of conv and linear
    layers; attention's products are not among them. `options` are arguments of timm's that change the architecture,
    as pairs of name and value: `(("layers", (1, 1, 1, 1)), ("channels", (16, 32, 64, 128)))` makes a small ResNet.
    """

    name: str = Field(pattern=r"^\w+$")  # "x.tag" and "hf-hub:x" name trained weights too
    options: tuple[tuple[str, bool | int | float | str | tuple[int, ...]], ...] = ()

    @field_validator("options")
    @classmethod
    def _of_the_architecture(cls, options: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
        names = [name for name, _ in options]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is there twice")
            if "drop" in name or name in OTHERS:
                raise ValueError(f"{name} is none of the architecture, and would be switched off or overruled")
        return options

    def identity(self) -> dict[str, Any]:
        # A name can come to mean another network in the next timm. Not timm's version but what it built is part of the
        # id: parameters' names and shapes decide which weights are drawn and load, and strides what they compute.
        return {"name": self.name, "options": self.options, "built": _expected_outline(self, 3, 1000)}

    def build(self, channels: int, classes: int) -> nn.Module:
        net = _created(self, channels, classes)
        for module, rate in dropping(net):
            setattr(module, rate, 0.0)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        return net

    def fresh(self, channels: int, classes: int) -> nn.Module:
        """As timm makes it, with what drops switched off; none of it went through `build`."""
        net = _created(self, channels, classes)
        for module, rate in dropping(net):
            setattr(module, rate, 0.0)
        return net

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        images = spec.data.load()
        expected = _expected_outline(self, images.channels, len(images.classes))
        seen = outline(trace.model)
        yield Check("names and shapes of parameters, strides of layers: digest", expected, seen, seen == expected)
        yield macs_check(self, spec, trace)
        on = sum(1 for _ in dropping(trace.model))
        yield Check("dropouts and dropped paths that are on", "0", f"{on}", on == 0)


def _created(model: Timm, channels: int, classes: int) -> nn.Module:
    """timm's network as timm makes it. Raises Problem on a name, or options, that it does not know."""
    import timm

    name, names = model.name, timm.list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        known = f"near it are {', '.join(near)}" if near else "timm.list_models() lists those it has"
        raise Problem(f"model.name: timm {timm.__version__} has no {name!r}; {known}")
    options: dict[str, Any] = dict(model.options)
    try:
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels, **options)
    except Exception as error:  # timm's many networks raise whatever odd options lead them to
        said = one_line(f"{type(error).__name__}: {error}", 200)
        raise Problem(f"model.options={options} of {name!r}: timm says {said}") from None
    return net


@lru_cache
def _expected_outline(model: Timm, channels: int, classes: int) -> str:
    with torch.device("meta"):  # 0.05 to 0.2 s, where drawing weights that nobody reads takes up to 0.8
        return outline(_created(model, channels, classes))


def outline(net: nn.Module) -> str:
    """A digest of the names and shapes of all parameters, in order, and of the convolutions' strides."""
    shapes = [(name, tuple(p.shape)) for name, p in net.named_parameters()]
    return digest([*shapes, *((n, m.stride) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))])


def dropping(net: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Modules that drop activations or paths in training, each with the name of its rate, which is above 0."""
    for module in net.modules():
        dropout = "Drop" in type(module).__name__  # some forwards call the function, with a rate of their own
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and value > 0 and ("drop" in name or (dropout and name in ("p", "prob"))):
                yield module, name


# Table 1 of the paper, and the two more of its Table 3. Of the two SE-ResNet-50s that timm has the legacy one strides
# in the first 1 x 1, as its authors' does: 3.86 G multiply-adds, where `seresnet50`, a ResNet-B, takes 4.09 G.
RESNEXT50 = Timm(name="resnext50_32x4d")
SE_RESNET50 = Timm(name="legacy_seresnet50")
SE_RESNEXT50 = Timm(name="legacy_seresnext50_32x4d")
DENSENET201 = Timm(name="densenet201")
INCEPTION_V3 = Timm(name="inception_v3")  # at 299 px
MOBILENET = Timm(name="mobilenetv1_100")


def macs_check(model: Model, spec: Spec, trace: Trace) -> Check:
    """Whether the first forward cost what a network built anew does."""
    images = spec.data.load()
    _, due = cost(model, images.channels, len(images.classes), images.size)
    macs = sum(trace.macs.values())
    return Check("multiply-adds of an image at the first forward", f"{due:,}", f"{macs:,}", macs == due)


def answer(net: nn.Module, model: Model, channels: int, size: int) -> Tensor:
    """The logits 1 x K of a black image. Raises Problem where the network, built of `model`, cannot take its size."""
    try:
        logits: Tensor = net(torch.zeros(1, channels, size, size))
    except Exception as error:  # smaller than its kernels, other than the one size it takes, stages that it lacks
        raise Problem(f"{model!r} cannot take images of {size} x {size}: {one_line(str(error), 120)}") from None
    return logits


@lru_cache(maxsize=4096)
def cost(model: Model, channels: int, classes: int, size: int) -> tuple[int, int]:
    """(parameters, multiply-adds of one image's forward).

    Multiply-adds are those of convolutions and linear layers, what papers print as "FLOPs"; torch's counter counts
    each as 2. Raises Problem where the network cannot take such images.
    """
    total = 0

    def count(layer: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        assert isinstance(layer.weight, Tensor)
        total += out.numel() * layer.weight[0].numel()  # each output is one filter's product

    net = model.build(channels, classes).eval()  # on the CPU: on meta, torch imports its compiler, seconds for a plan
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        answer(net, model, channels, size)
    return sum(p.numel() for p in net.parameters()), total


@lru_cache(maxsize=4096)
def single(model: Model, channels: int, classes: int, size: int) -> str:
    """The layer that keeps the network from training on a pass of one image, a batch norm over 1 x 1; empty if none.

    It has one value a channel there, of which there is no variance. Raises Problem as `cost` does.
    """
    entered: list[str] = []
    net = model.build(channels, classes).train()
    for name, layer in net.named_modules():
        layer.register_forward_pre_hook(
            lambda layer, args, name=name: entered.append(f"{name} ({type(layer).__name__})")
        )
    try:
        with torch.no_grad():
            answer(net, model, channels, size)
    except Problem as problem:
        if "Expected more than 1" not in str(problem):
            raise
        return entered[-1]
    return ""
