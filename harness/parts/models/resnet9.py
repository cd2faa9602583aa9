"""The ResNet-9 of DAWNBench: a small, wide ResNet with two residual blocks for images of 32 px."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.parts.models.airbench import Times
from harness.parts.models.airbench import made_of as plainly
from harness.parts.models.cost import macs_check
from harness.parts.models.resnet import Weights
from harness.spec import Model, Spec


class Added(nn.Sequential):
    """`x + body(x)`: no activation follows the sum. The body ends in an activation, so zero γ is not for it."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + super().forward(x)
        return out


class ResNet9(Model):
    """ResNet-9 (Page 2018 and 2019, "How to Train Your ResNet", parts 4 and 8). Slot: `model`.

    `prep` and three layers, of `widths`. Each is a 3 x 3 convolution, batch norm and ReLU; after each of the three
    comes a max-pool of 2. After the first and the third of these pools comes a residual block: x and two more times
    convolution, norm and ReLU are added up. Then the greatest value of each channel, a linear layer, and logits times
    `scale`. Nothing but batch norms has a bias. On 32 px the last pool is the source's, of 4.

    As it stands, on 32 px: 6,573,120 parameters, 379.3 M multiply-adds.

    The other fields are neutral absent. Each is a rung of Page's ladder, and they go together in any number.

    - `early_pool`: the max-pool of 2 comes right after the convolution, before norm and activation.
    - `celu`: the α of CELU, in place of ReLU.
    - `frozen_scale`: γ of batch norms are fixed at this. As in the source they are 1, and do not learn, and what
      follows makes up for it: CELU's α is over this, logits are times this. So β are larger by this, and a rate of β is
      that of β over its square.
    - `patch_features`: the first layer is a 3 x 3 to nine numbers a channel (27 of RGB), `prep.whiten`, and a 1 x 1,
      without an activation between them. It is drawn, and learns, as any other; `whitening` sets and freezes it.
    """

    widths: tuple[PositiveInt, ...] = Field((64, 128, 256, 512), min_length=4, max_length=4)
    scale: float = Field(0.125, gt=0)
    early_pool: Literal[True] | None = None
    celu: float | None = Field(None, gt=0)
    frozen_scale: float | None = Field(None, gt=0)
    patch_features: Literal[True] | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self if value is not None)

    def build(self, channels: int, classes: int) -> nn.Sequential:
        first, *others = self.widths
        prep = self._conv(channels, first)
        if self.patch_features:
            prep = nn.Sequential()
            prep.add_module("whiten", nn.Conv2d(channels, 9 * channels, 3, padding=1, bias=False))
            prep.add_module("conv", nn.Conv2d(9 * channels, first, 1, bias=False))
            self._finish(prep, first)
        net = nn.Sequential()
        net.add_module("prep", prep)
        for number, width in enumerate(others, 1):
            layer = self._conv(self.widths[number - 1], width, pooled=True)
            if number in (1, 3):
                body = Added()
                body.add_module("res1", self._conv(width, width))
                body.add_module("res2", self._conv(width, width))
                layer.add_module("residual", body)
            net.add_module(f"layer{number}", layer)
        net.add_module("pool", nn.AdaptiveMaxPool2d(1))
        net.add_module("flatten", nn.Flatten())
        net.add_module("fc", nn.Linear(self.widths[-1], classes, bias=False))
        net.add_module("times", Times(self.scale * (self.frozen_scale or 1.0)))
        return net

    def _conv(self, c_in: int, c_out: int, pooled: bool = False) -> nn.Sequential:
        """A 3 x 3 with what follows it."""
        block = nn.Sequential()
        block.add_module("conv", nn.Conv2d(c_in, c_out, 3, padding=1, bias=False))
        if pooled and self.early_pool:
            block.add_module("pool", nn.MaxPool2d(2))
        self._finish(block, c_out)
        if pooled and not self.early_pool:
            block.add_module("pool", nn.MaxPool2d(2))
        return block

    def _finish(self, block: nn.Sequential, width: int) -> None:
        block.add_module("norm", nn.BatchNorm2d(width))
        act = nn.CELU(self.celu / (self.frozen_scale or 1.0)) if self.celu else nn.ReLU(inplace=True)
        block.add_module("act", act)

    def frozen(self, name: str) -> bool:
        return self.frozen_scale is not None and name.endswith(".norm.weight")

    def reference(self, w: Weights, x: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
        """Written out from Page's part 8, by the names that weights have here.

        CELU is torch's, to the bit: where last digits differ, another of two like numbers is the maximum, and a
        gradient was off by a thousandth.
        """
        functional = nn.functional
        gamma = 1.0 if self.frozen_scale is None else self.frozen_scale

        def normed(x: Tensor, name: str) -> Tensor:
            mean, variance = w[f"{name}.norm.running_mean"], w[f"{name}.norm.running_var"]
            scale, shift = w[f"{name}.norm.weight"], w[f"{name}.norm.bias"]
            x = functional.batch_norm(x, mean, variance, scale, shift, training, 0.1, 1e-5)
            return functional.relu(x) if self.celu is None else functional.celu(x, self.celu / gamma)

        def block(x: Tensor, name: str) -> Tensor:
            return normed(conv(x, w[f"{name}.conv.weight"], padding=1), name)

        if self.patch_features:
            x = normed(conv(conv(x, w["prep.whiten.weight"], padding=1), w["prep.conv.weight"]), "prep")
        else:
            x = block(x, "prep")
        for layer in ("layer1", "layer2", "layer3"):
            if self.early_pool:
                x = normed(functional.max_pool2d(conv(x, w[f"{layer}.conv.weight"], padding=1), 2), layer)
            else:
                x = functional.max_pool2d(block(x, layer), 2)
            if layer != "layer2":
                x = x + block(block(x, f"{layer}.residual.res1"), f"{layer}.residual.res2")
        x = functional.max_pool2d(x, kernel_size=(x.shape[2], x.shape[3])).flatten(1)
        logits: Tensor = linear(x, w["fc.weight"]) * (self.scale * gamma)
        return logits

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        images = spec.data.load()
        expected = ", ".join(self._due(images.channels, len(images.classes)))
        seen = ", ".join(made_of(trace.model))
        yield Check("layers of the built network", expected, seen, seen == expected)
        gammas = [m.weight for m in trace.model.modules() if isinstance(m, nn.BatchNorm2d)]
        still = sum(not gamma.requires_grad for gamma in gammas)
        due = 0 if self.frozen_scale is None else len(gammas)
        yield Check("batch norms whose γ does not learn", f"{due}", f"{still}", still == due)
        if self.frozen_scale is not None:
            other = sum(not bool((gamma == 1).all()) for gamma in gammas)
            yield Check("batch norms whose γ is not 1 at the end", "0", f"{other}", other == 0)
        others: list[Any] = [part for part in (*spec.init, spec.rates) if part]
        elsewhere = {n for n, p in trace.model.named_parameters() if not p.requires_grad and ".norm.weight" not in n}
        fixed = sum(not any(part.frozen(name) for part in others) for name in elsewhere)
        yield Check("other parameters that do not learn, for no part's sake", "0", f"{fixed}", fixed == 0)
        yield macs_check(self, spec, trace)

    def _due(self, channels: int, classes: int) -> Iterator[str]:
        """As `made_of` says it, from the source's part 8."""
        gamma = 1.0 if self.frozen_scale is None else self.frozen_scale
        act = "ReLU" if self.celu is None else f"CELU of {self.celu / gamma:.6g}"
        prep, one, two, three = self.widths

        def block(before: int, after: int, pool: str = "") -> Iterator[str]:
            yield f"3 x 3 of {before} to {after}"
            yield from [pool] if pool and self.early_pool else []
            yield from (f"norm of {after}", act)
            yield from [pool] if pool and not self.early_pool else []

        if self.patch_features:
            yield from (f"3 x 3 of {channels} to {9 * channels}", f"1 x 1 of {9 * channels} to {prep}")
            yield from (f"norm of {prep}", act)
        else:
            yield from block(channels, prep)
        for before, after, more in ((prep, one, True), (one, two, False), (two, three, True)):
            yield from block(before, after, "max of 2")
            if more:
                yield from ("added to it (", *block(after, after), *block(after, after), ")")
        yield from ("max of all", f"{three} to {classes}", f"times {self.scale * gamma:.6g}")


def made_of(net: nn.Module) -> Iterator[str]:
    """What the live layers are, in order."""
    for layer in net.children():
        if isinstance(layer, Added):
            yield from ("added to it (", *made_of(layer), ")")
        elif isinstance(layer, nn.Sequential):
            yield from made_of(layer)
        elif isinstance(layer, nn.BatchNorm2d):
            odd = (layer.eps, layer.momentum) != (1e-5, 0.1)
            yield f"norm of {layer.num_features}{f' of eps {layer.eps:g}, {layer.momentum} new' if odd else ''}"
        elif isinstance(layer, nn.CELU):
            yield f"CELU of {layer.alpha:.6g}"
        else:
            yield from plainly(layer)
