"""The ResNet family: plain and bottleneck blocks, variants A to D, the way on to ConvNeXt, for images of any size."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.models.cost import macs_check
from harness.parts.models.modern import blocks_of, logits, made_of, walked
from harness.parts.models.pieces import (
    BigLittle,
    BlurPool,
    ChannelNorm,
    DropBlock,
    DropPath,
    LayerScale,
    SelectiveKernel,
    SqueezeExcitation,
)
from harness.spec import Model, Spec

Weights = dict[str, Tensor]  # and buffers, by name


class Residual(nn.Module):
    """`act(shortcut(x) + body(x))`; `body` ends in the batch norm that zero γ is about, `last_norm`."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut
        self.act = act

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """Only an excitation, a scale and a dropped path may follow it, which keep 0 as it is."""
        return [m for m in self.body if isinstance(m, nn.BatchNorm2d)][-1]

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

    The other fields are neutral absent. Each is a rung of a published ladder, and they go together in any number. With
    those that `CONVNEXT_T` has this is ConvNeXt-T (Liu et al. 2022), torchvision's `convnext_tiny`.

    - `drop_path`: stochastic depth: the last block's chance to be left out for an image; from 0 at the first it rises
      evenly, block by block. `dropout`: that of each number before the last layer.
    - `drop_block`: DropBlock after each convolution, its norm and activation, and each shortcut of the last stage, and
      at a quarter of the rate of the stage before. The rate rises from 0 in a line, and is this at the end of training.
      `drop_block_size`: the side of its squares in px, 7 where nothing is said.
    - `squeeze`: squeeze-and-excitation at each body's end: between its two layers are so many of the channels.
    - `selective`: selective kernels in place of each block's (first) 3 x 3: SKNet's two paths, not grouped.
    - `blur`: the size of the filter that blurs before a stride in a body, and after the stem's max-pool, as timm's
      `resnetblur50`; a strided shortcut stays as it is.
    - `activation`, `norm`: in place of ReLU and batch norm. With layer norm convolutions have biases, as they have
      wherever no batch norm comes right after.
    - `patchify`: the stem is one convolution of this kernel and stride, and a norm.
    - `kernel`: of the 3 x 3 of blocks. `depthwise`: that convolution takes each channel for itself. `inverted`: it has
      four times the channels that a block takes and gives, which are `width` in stage 1. `spatial_first`: it comes
      first, of as many channels as come in.
    - `fewer_activations`: of a block that before its last convolution alone. `fewer_norms`: that after its `kernel`
      alone. Stems and shortcuts keep theirs.
    - `separate`: between stages a norm and a 2 x 2 of stride 2, and a pool and a norm at the last one's end.
    - `layer_scale`: each body ends times a learned number a channel, which starts at this.
    - `big_little`: (α, β) of Chen et al. 2019: each stage but the last has two branches. Big is its blocks but one, at
      half the sides, little a β-th of them less one with an α-th of the channels, each at least one. Their sum goes
      through one more block, which strides where the next stage would have. The stem's max-pool becomes two
      branches of convolutions. Big is doubled by its nearest neighbours, as the code of Assembled-CNN has it (Lee et
      al. 2020); its blocks are `variant`'s, where those of both papers' code pool shortcuts 3 x 3.
    """

    blocks: tuple[PositiveInt, ...] = Field(min_length=1)
    bottleneck: bool = True
    width: int = Field(64, ge=2)
    variant: Literal["A", "B", "C", "D"] = "A"
    small: bool = False
    drop_path: float | None = Field(None, gt=0, lt=1)
    dropout: float | None = Field(None, gt=0, lt=1)
    drop_block: float | None = Field(None, gt=0, lt=1)
    drop_block_size: PositiveInt | None = None
    squeeze: float | None = Field(None, gt=0, le=1)
    selective: Literal[True] | None = None
    blur: Literal[3, 5, 7] | None = None
    activation: Literal["gelu", "silu"] | None = None
    norm: Literal["layer"] | None = None
    patchify: PositiveInt | None = None
    kernel: Literal[5, 7, 9, 11] | None = None
    depthwise: Literal[True] | None = None
    inverted: Literal[True] | None = None
    spatial_first: Literal[True] | None = None
    fewer_activations: Literal[True] | None = None
    fewer_norms: Literal[True] | None = None
    separate: Literal[True] | None = None
    layer_scale: float | None = Field(None, gt=0)
    big_little: tuple[PositiveInt, PositiveInt] | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self if value is not None)

    @property
    def more(self) -> tuple[str, ...]:
        """The fields, by name, that a network of 2016 to 2018 does not have."""
        return tuple(
            name for name, value in self if value is not None and type(self).model_fields[name].default is None
        )

    @property
    def count(self) -> int:
        """Residual blocks of the network."""
        return len(blocks_of(self))

    def check(self, spec: Spec) -> None:
        if self.variant == "C" and (self.small or self.patchify):
            left = "model.small" if self.small else "model.patchify"
            raise ValueError(f"ResNet-C is about the stem of large images, which {left} leaves out")
        for name in ("depthwise", "inverted", "spatial_first"):
            if getattr(self, name) and not self.bottleneck:
                raise ValueError(f"model.{name} is about bottlenecks: set model.bottleneck, or leave it out")
        inside = len(self.blocks) > 1 and not self.separate
        if self.blur and not inside and (self.small or self.patchify):
            raise ValueError("model.blur has no stride to blur before: leave it out")
        self._check_branches()
        if self.drop_block_size and not self.drop_block:
            raise ValueError("model.drop_block_size is of DropBlock: set model.drop_block, or leave it out")
        drawing = [name for name in ("drop_path", "dropout", "drop_block") if getattr(self, name)]
        if spec.sync_norms and drawing:
            name = drawing[0]
            raise ValueError(
                f"model.{name} draws on each rank by itself, and sync_norms takes all as one: leave one out"
            )

    def _check_branches(self) -> None:
        for name in ("separate", "patchify") if self.big_little else ():
            if getattr(self, name):
                raise ValueError(f"model.{name} is of networks without model.big_little: leave one out")
        if self.big_little and len(self.blocks) < 2:
            raise ValueError("model.big_little parts stages before the last: set model.blocks, or leave it out")
        if self.big_little and self.width % self.big_little[0]:
            alpha = self.big_little[0]
            raise ValueError(f"model.big_little: {alpha} does not divide model.width={self.width}: take an α that does")

    def build(self, channels: int, classes: int) -> nn.Sequential:
        layers: list[tuple[str, nn.Module]] = [("stem", self._stem(channels))]
        c_in, rates = self.width, iter(np.linspace(0, self.drop_path or 0.0, sum(self.blocks)))
        if sum(self.blocks) == 1:
            rates = iter([self.drop_path or 0.0])
        for stage, count in enumerate(self.blocks):
            width, stage_layers = self.width * 2**stage, nn.Sequential()
            if stage > 0 and self.separate:
                down = nn.Conv2d(c_in, self._widened(width), 2, 2)
                stage_layers.add_module("down", nn.Sequential(self._norm(c_in), down))
                c_in = self._widened(width)
            away = (self.drop_block or 0.0) * {1: 1.0, 2: 0.25}.get(len(self.blocks) - stage, 0.0)
            if self.big_little and stage < len(self.blocks) - 1:
                stride, own = 2 if stage < len(self.blocks) - 2 else 1, [float(next(rates)) for _ in range(count)]
                layers.append((f"stage{stage + 1}", self._branches(c_in, width, stride, own, away)))
                c_in = self._widened(width)
                continue
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 and not self.separate else 1
                stage_layers.add_module(f"{i}", self._block(c_in, width, stride, float(next(rates)), away))
                c_in = self._widened(width)
            layers.append((f"stage{stage + 1}", stage_layers))
        if self.separate:  # of the last stage, so that the groups of layers are those of any ResNet
            stage_layers.add_module("pool", nn.AdaptiveAvgPool2d(1))
            stage_layers.add_module("norm", self._norm(c_in))
        layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
        if self.dropout:
            layers.append(("dropout", nn.Dropout(self.dropout)))
        layers.append(("fc", nn.Linear(c_in, classes)))
        net = nn.Sequential()
        for name, layer in layers:
            net.add_module(name, layer)
        return net

    def _widened(self, width: int) -> int:
        """Channels that a block gives."""
        return 4 * width if self.bottleneck and not self.inverted else width

    def _norm(self, channels: int) -> nn.Module:
        return ChannelNorm(channels) if self.norm == "layer" else nn.BatchNorm2d(channels)

    def _act(self) -> nn.Module:
        if self.activation == "gelu":
            return nn.GELU()
        return nn.SiLU(inplace=True) if self.activation == "silu" else nn.ReLU(inplace=True)

    def _conv(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
        """One that a norm follows."""
        return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=self.norm == "layer")

    def _stem(self, channels: int) -> nn.Sequential:
        w = self.width
        if self.patchify:
            patches = nn.Conv2d(channels, w, self.patchify, self.patchify, bias=self.norm == "layer")
            return nn.Sequential(patches, self._norm(w))
        if self.small:
            return nn.Sequential(self._conv(channels, w, 3), self._norm(w), self._act())
        if self.variant in "AB":
            front: list[nn.Module] = [self._conv(channels, w, 7, stride=2)]
        else:
            half = w // 2
            front = [self._conv(channels, half, 3, stride=2), self._norm(half), self._act()]
            front += [self._conv(half, half, 3), self._norm(half), self._act(), self._conv(half, w, 3)]
        if self.big_little:
            stem = nn.Sequential(*front, self._norm(w), self._act())
            stem.add_module("pool", self._parted_pool(w // self.big_little[0]))
            return stem
        stem = nn.Sequential(*front, self._norm(w), self._act(), nn.MaxPool2d(3, 1 if self.blur else 2, padding=1))
        if self.blur:
            stem.add_module("blur", BlurPool(self.blur))
        return stem

    def _parted_pool(self, few: int) -> BigLittle:
        """In the place of the stem's max-pool: two branches that halve the sides, the little one of `few` channels."""
        w = self.width
        little = [self._conv(w, few, 3), self._norm(few), self._act()]
        little += [
            self._conv(few, few, 3, stride=2),
            self._norm(few),
            self._act(),
            self._conv(few, w, 1),
            self._norm(w),
        ]
        big = nn.Sequential(self._conv(w, w, 3, stride=2), self._norm(w))
        merge = nn.Sequential(self._conv(w, w, 1), self._norm(w), self._act())
        return BigLittle(big, nn.Sequential(*little), self._act(), merge)

    def _branches(self, c_in: int, width: int, stride: int, rates: list[float], away: float) -> BigLittle:
        """A stage of two branches, whose last block has `stride`. A block of little drops out as big's at its place."""
        assert self.big_little
        alpha, beta = self.big_little
        c_out, c_little = self._widened(width), self._widened(width // alpha)
        big, little = nn.Sequential(), nn.Sequential()
        for i, rate in enumerate(rates[: max(1, len(rates) - 1)]):
            big.append(self._block(c_out if i else c_in, width, 1 if i else 2, rate, away))
        if len(big) > 1:
            big[-1].act = nn.Identity()  # the sum has one
        big.add_module("up", nn.Upsample(scale_factor=2, mode="nearest"))
        for i, rate in enumerate(rates[: max(1, len(rates) // beta - 1)]):
            little.append(self._block(c_little if i else c_in, width // alpha, 1, rate, away))
        little.add_module("out", nn.Sequential(self._conv(c_little, c_out, 1), self._norm(c_out)))
        return BigLittle(big, little, self._act(), self._block(c_out, width, stride, rates[-1], away))

    def _block(self, c_in: int, width: int, stride: int, rate: float, away: float) -> Residual:
        c_out, act = self._widened(width), self._act()
        kernel: int = self.kernel or 3
        if not self.bottleneck:
            sizes = [(c_in, width, kernel, stride), (width, width, kernel, 1)]
        elif self.spatial_first:
            inner = 4 * width if self.inverted else width
            sizes = [(c_in, c_in, kernel, stride), (c_in, inner, 1, 1), (inner, c_out, 1, 1)]
        else:
            first, second = (stride, 1) if self.variant == "A" else (1, stride)
            inner = 4 * width if self.inverted else width
            sizes = [(c_in, inner, 1, first), (inner, inner, kernel, second), (inner, c_out, 1, 1)]
        spatial, body = [size[2] for size in sizes].index(kernel), nn.Sequential()
        for i, (before, after, side, step) in enumerate(sizes):  # 3 i, 3 i + 1, 3 i + 2 are conv, norm, activation
            normed = i == spatial or not self.fewer_norms
            active = i < len(sizes) - 1 and (i == len(sizes) - 2 or not self.fewer_activations)
            bias, groups = self.norm == "layer" or not normed, before if self.depthwise and i == spatial else 1
            once = 1 if self.blur else step
            if self.selective and i == spatial:
                make = self._act if active else nn.Identity
                kernels = SelectiveKernel(before, after, side, once, groups, self._norm, make, bias)
                body.add_module(f"{3 * i}", kernels)
            else:
                body.add_module(f"{3 * i}", nn.Conv2d(before, after, side, once, side // 2, 1, groups, bias))
                if normed:
                    body.add_module(f"{3 * i + 1}", self._norm(after))
                if active:
                    body.add_module(f"{3 * i + 2}", act)
            if away:
                body.add_module(f"away{i}", self._away(away))
            if self.blur and step > 1:
                body.add_module("blur", BlurPool(self.blur))
        if self.squeeze:
            body.add_module("se", SqueezeExcitation(c_out, max(1, int(c_out * self.squeeze))))
        if self.layer_scale:
            body.add_module("scale", LayerScale(c_out, self.layer_scale))
        if self.drop_path:
            body.add_module("drop", DropPath(rate))
        end = nn.Identity() if self.fewer_activations else self._act()
        short = self._shortcut(c_in, c_out, stride)
        if away:
            short = short if isinstance(short, nn.Sequential) else nn.Sequential()
            short.add_module("away", self._away(away))
        return Residual(body, short, end)

    def _away(self, rate: float) -> DropBlock:
        return DropBlock(rate, self.drop_block_size or 7)

    def tell(self, net: nn.Module, step: int, steps: int) -> None:
        for layer in net.modules() if self.drop_block else ():
            if isinstance(layer, DropBlock):
                layer.progress = step / steps

    def told(self, step: int, steps: int) -> dict[str, Tensor]:
        return {"progress": torch.tensor(step / steps, dtype=torch.float64)} if self.drop_block else {}

    def _shortcut(self, c_in: int, c_out: int, stride: int) -> nn.Module:
        if stride == 1 and c_in == c_out:
            return nn.Identity()
        if self.variant == "D" and stride > 1:  # ceil: an odd side keeps its last row, as the strided conv does
            pooled = nn.Sequential()  # named so that conv and norm are 0 and 1, as without the pool: they start alike
            pooled.add_module("pool", nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False))
            pooled.add_module("0", self._conv(c_in, c_out, 1))
            pooled.add_module("1", self._norm(c_out))
            return pooled
        return nn.Sequential(self._conv(c_in, c_out, 1, stride), self._norm(c_out))

    def starts(self, shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Layer norms at γ = 1 and β = 0, and scales at theirs."""
        found = {}
        for name, shape in shapes.items():
            of_norm = self.norm and len(shapes[f"{name.rpartition('.')[0]}.weight"]) == 1
            if name.endswith("scale.weight"):
                found[name] = np.full(shape, np.float32(self.layer_scale), dtype=np.float64)
            elif of_norm:
                found[name] = np.full(shape, 1.0 if name.endswith("weight") else 0.0)
        return found

    def reference(self, w: Weights, x: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
        """Written out from Figures 1 and 2 of He et al. 2019, by the names that weights have here."""
        if self.more:
            return logits(self, w, x, training, conv, linear)
        found: Tensor = linear(self.written(w, x, training, conv)[-1].mean((2, 3)), w["fc.weight"], w["fc.bias"])
        return found

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
        if self.more:
            yield from self._made(spec, trace)
            return
        stem = "3/1" if self.small else "7/2, max 3/2" if self.variant in "AB" else "3/2, 3/1, 3/1, max 3/2"
        first = 1 if self.variant == "A" or not self.bottleneck else 2
        cut = f"in conv {first}, shortcut {'pooled' if self.variant == 'D' else 'strided'}"
        expected = f"stem {stem}; {sum(self.blocks)} blocks; strides {cut if len(self.blocks) > 1 else 'nowhere'}"
        seen = structure_of(trace.model)
        yield Check("structure of the built network", expected, seen, seen == expected)
        yield macs_check(self, spec, trace)

    def _made(self, spec: Spec, trace: Trace) -> Iterator[Check]:
        """Layer by layer, what the live network is made of."""
        for what, expected in walked(self).items():
            seen = made_of(trace.model).get(what, "none")
            yield Check(f"{what} of the built network", expected, seen, seen == expected)
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
CONVNEXT_T = ResNet(
    blocks=(3, 3, 9, 3),
    width=96,
    variant="B",
    activation="gelu",
    norm="layer",
    patchify=4,
    kernel=7,
    depthwise=True,
    inverted=True,
    spatial_first=True,
    fewer_activations=True,
    fewer_norms=True,
    separate=True,
    layer_scale=1e-6,
)


def with_variant(spec: Spec, variant: Literal["B", "C", "D"]) -> Spec:
    """`spec` with a ResNet of at least this variant: D has C in it, and C has B. Raises Problem on other models."""
    if not isinstance(spec.model, ResNet):
        raise Problem(f"ResNet-{variant} is about ResNets, and {spec.model!r} has no variant: leave the trick out")
    return spec.but(model=spec.model.but(variant=max(spec.model.variant, variant)))


def with_fields(spec: Spec, what: str, **fields: Any) -> Spec:
    """`spec` with fields of its ResNet set. Raises Problem, which says `what` was asked, on other models."""
    if not isinstance(spec.model, ResNet):
        raise Problem(
            f"{what} is about ResNets of ours, and {spec.model!r} has no {', '.join(fields)}: leave the trick out"
        )
    return spec.but(model=spec.model.but(**fields))
