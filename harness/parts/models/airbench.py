"""The network of airbench94: a frozen-scale, VGG-like net of seven convolutions for images of 32 px."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.parts.models.cost import macs_check
from harness.parts.models.resnet import Weights
from harness.parts.norms import layer_kind
from harness.spec import Model, Spec

EPS = 1e-12  # of batch norms


class Times(nn.Module):
    """Logits times a number."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Airbench(Model):
    """airbench94's network (Jordan 2024, sections 3.1 and A). Slot: `model`.

    A 2 x 2 convolution with a bias, of two filters for each number of a patch (24 of RGB), and GELU. A block for each
    of `widths`: 3 x 3, max-pool of 2, batch norm, GELU, 3 x 3, batch norm, GELU. The greatest value of each channel, a
    linear layer without bias, and logits times `scale`. No other convolution has a bias. γ of batch norms stay 1 and do
    not learn, β do. Their running statistics keep `momentum` of what they were at each step; torch says 1 - momentum.

    As it stands, on 32 px: 1,971,640 weights beside 1,152 frozen γ, 118.1 M multiply-adds. In small batches take
    a greater `momentum`: at .6 the statistics are of the last two or three batches. The first layer is drawn, and
    learns, as any other; `whitening` sets and freezes it.
    """

    widths: tuple[PositiveInt, ...] = Field((64, 256, 256), min_length=1)
    momentum: float = Field(0.6, ge=0, lt=1)
    scale: float = Field(1 / 9, gt=0)

    def build(self, channels: int, classes: int) -> nn.Sequential:
        c_in = 2 * 4 * channels
        net = nn.Sequential()
        net.add_module("first", nn.Conv2d(channels, c_in, 2))
        net.add_module("act", nn.GELU())
        for number, width in enumerate(self.widths, 1):
            net.add_module(f"block{number}", self._block(c_in, width))
            c_in = width
        net.add_module("pool", nn.AdaptiveMaxPool2d(1))
        net.add_module("flatten", nn.Flatten())
        net.add_module("fc", nn.Linear(c_in, classes, bias=False))
        net.add_module("times", Times(self.scale))
        return net

    def _block(self, c_in: int, width: int) -> nn.Sequential:
        block = nn.Sequential()
        for number, (before, after) in enumerate(((c_in, width), (width, width)), 1):
            block.add_module(f"conv{number}", nn.Conv2d(before, after, 3, padding=1, bias=False))
            if number == 1:
                block.add_module("pool", nn.MaxPool2d(2))
            block.add_module(f"norm{number}", nn.BatchNorm2d(after, eps=EPS, momentum=1 - self.momentum))
            block.add_module(f"act{number}", nn.GELU())
        return block

    def frozen(self, name: str) -> bool:
        return name.endswith((".norm1.weight", ".norm2.weight"))

    def reference(self, w: Weights, x: Tensor, training: bool, conv: Any, linear: Any) -> Tensor:
        """Written out from section A, by the names that weights have here."""
        functional = nn.functional

        def norm(x: Tensor, name: str) -> Tensor:
            mean, variance, beta = (w[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "bias"))
            one = w[f"{name}.weight"]
            return functional.batch_norm(x, mean, variance, one, beta, training, 1.0 - self.momentum, 1e-12)

        x = functional.gelu(conv(x, w["first.weight"], w["first.bias"]))
        for block in range(1, len(self.widths) + 1):
            x = functional.max_pool2d(conv(x, w[f"block{block}.conv1.weight"], padding=1), 2)
            x = functional.gelu(norm(x, f"block{block}.norm1"))
            x = conv(x, w[f"block{block}.conv2.weight"], padding=1)
            x = functional.gelu(norm(x, f"block{block}.norm2"))
        x = functional.max_pool2d(x, kernel_size=(x.shape[2], x.shape[3])).flatten(1)
        logits: Tensor = linear(x, w["fc.weight"]) * self.scale
        return logits

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        images = spec.data.load()
        expected = ", ".join(self._due(images.channels, len(images.classes)))
        seen = ", ".join(made_of(trace.model))
        yield Check("layers of the built network", expected, seen, seen == expected)
        gammas = [m.weight for m in trace.model.modules() if isinstance(m, nn.BatchNorm2d)]
        learn = sum(gamma.requires_grad or not bool((gamma == 1).all()) for gamma in gammas)
        yield Check("batch norms whose γ learns, or is not 1 at the end", "0", f"{learn}", learn == 0)
        others: list[Any] = [part for part in (*spec.init, spec.rates) if part]
        still = {n for n, p in trace.model.named_parameters() if not p.requires_grad and ".norm" not in n}
        still |= {n for n, p in trace.model.named_parameters() if not p.requires_grad and n.endswith("bias")}
        fixed = sum(not any(part.frozen(name) for part in others) for name in still)
        yield Check("other parameters that do not learn, for no part's sake", "0", f"{fixed}", fixed == 0)
        yield macs_check(self, spec, trace)

    def _due(self, channels: int, classes: int) -> Iterator[str]:
        """As `made_of` says it, from section A."""
        before = 8 * channels
        yield f"2 x 2 of {channels} to {before} with bias"
        yield "GELU"
        for width in self.widths:
            norm = f"norm of {width}, {1 - self.momentum:g} new"
            yield from (f"3 x 3 of {before} to {width}", "max of 2", norm, "GELU")
            yield from (f"3 x 3 of {width} to {width}", norm, "GELU")
            before = width
        yield from ("max of all", f"{before} to {classes}", f"times {self.scale:.6g}")


def made_of(net: nn.Module) -> Iterator[str]:
    """What the live layers are, in order."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            high, wide = layer.kernel_size
            odd = layer.stride != (1, 1) or layer.padding != ((high - 1) // 2,) * 2 or layer.groups > 1
            bias = " with bias" if layer.bias is not None else ""
            yield f"{high} x {wide} of {layer.in_channels} to {layer.out_channels}{bias}{' that strides' * odd}"
        elif isinstance(layer, nn.BatchNorm2d):
            odd = layer.eps != EPS
            yield f"norm of {layer.num_features}, {layer.momentum:g} new{f' eps {layer.eps:g}' if odd else ''}"
        elif isinstance(layer, nn.MaxPool2d):
            yield f"max of {layer.kernel_size}"
        elif isinstance(layer, nn.AdaptiveMaxPool2d):
            yield "max of all"
        elif isinstance(layer, nn.Linear):
            bias = " with bias" if layer.bias is not None else ""
            yield f"{layer.in_features} to {layer.out_features}{bias}"
        elif isinstance(layer, Times):
            yield f"times {layer.scale:.6g}"
        elif not isinstance(layer, nn.Sequential | nn.Flatten):
            yield layer_kind(layer)
