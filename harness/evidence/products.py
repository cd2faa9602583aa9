"""Which numbers conv and linear layers multiply: those that they got, or the same rounded to TF32.

TF32 leaves no mark on what a layer gives, which is float32 either way. So a few of its outputs, and of its weight's
gradients, are worked out again in float64: of the numbers that it got, and of these rounded. What the layer gave is a
hundred times nearer to one than to the other, where float32's own sums do not blur the two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from harness.evidence.numbers import is_layer, to_tf32

LAYERS = 2  # at a time; the next ones at the next time
IMAGES, CHANNELS = 2, 4  # of an output so many are looked at
EACHWAY = 2  # of a gradient so many channels in and out, of all images
ATONCE = 2**20  # numbers of a layer's input, of which a gradient is worked out at once
BLUR = 8 * 2.0**-24  # of the sizes of all that is added up: float32's sums may be so far off
NEAR = 0.25  # of the way from one to the other


@dataclass(frozen=True)
class Sample:
    """A few numbers that a layer gave, and what it got for them."""

    product: Callable[[Tensor, Tensor], Tensor]
    a: Tensor
    b: Tensor
    seen: Tensor
    bias: Tensor | float = 0.0
    taps: int = 1  # places of the layer's kernel

    def kind(self) -> str:
        """`plain`: the product of `a` and `b`; `coarse`: of these rounded to TF32; `neither`; "" if it cannot be told.

        TF32 is rounded to nearest; or, on CUDA, cut off: a tensor core heeds no lower bits, and it is for its kernel
        to round before.
        """
        a, b, seen = self.a.double(), self.b.double(), self.seen.double() - self.bias
        due = self.product(a, b)
        most = math.sqrt(self.taps) * a.norm() * b.norm() + (self.bias + torch.zeros_like(seen)).norm()
        found = "neither"
        for nearest in (True, False) if seen.device.type == "cuda" else (True,):
            other = self.product(*(to_tf32(t, nearest).double() for t in (self.a, self.b)))
            apart = (other - due).norm()
            if not apart > BLUR * most:
                return ""
            if (seen - due).norm() < NEAR * apart:
                found = "plain"
            elif (seen - other).norm() < NEAR * apart:
                found = "coarse"
        return found


def multiplies(precision: Any) -> bool:
    """Whether it is one whose layers give float32, so that only products tell what it is."""
    return precision.kind in ("float32", "tf32")


def as_due(kind: str, found: Mapping[str, float], native: bool) -> bool:
    """Whether what a `Products` has `found` is of that kind of precision.

    `native`: on CUDA TF32 is allowed, no more. Which layers take it is for cuDNN and cuBLAS to say. And kernels there
    may transform what they multiply, as Winograd's do, and be near neither.
    """
    plain, coarse, neither, allowed = (found.get(name, 0.0) for name in ("plain", "coarse", "neither", "allowed"))
    if kind == "float32":
        return coarse == allowed == 0 and (native or neither == 0)
    return allowed == found.get("looked", 0.0) if native else plain == neither == allowed == 0


class Products:
    """Watches a few conv and linear layers of a network, a pass at a time: others the next `time`, all in turn.

    To `watch` is to see the next forward, until it has `answered`, and its backward; then it can be worked out.

    `found` counts outputs and weights' gradients, by pass: `plain`, of the numbers as they were; `coarse`, of these
    rounded to TF32; `neither`. Those that would be the same either way are left out, of zeros say. `looked` counts
    all, and `allowed` those of them that were made while TF32 was allowed on CUDA. Layers that a subclass computes
    otherwise are not looked at, nor gradients of a weight that is used twice in a pass.
    """

    def __init__(self, time: int = 0) -> None:
        self.time = time
        self.found: Counter[str] = Counter()
        self._waiting: list[Sample] = []
        self._pairs: dict[int, list[Sample]] = {}  # by weight: what its gradient is a product of
        self._handles: list[Any] = []  # of layers
        self._learning: dict[int, Any] = {}  # of weights

    def watch(self, model: nn.Module) -> None:
        layers = [layer for layer in model.modules() if known(layer)]
        some = [layers[(LAYERS * self.time + i) % len(layers)] for i in range(min(LAYERS, len(layers)))]
        self._handles = [layer.register_forward_hook(self._gave) for layer in some]

    def answered(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def _gave(self, layer: nn.Conv2d | nn.Linear, args: tuple[Tensor, ...], out: Tensor) -> None:
        """After a forward: of the first images, the first outputs of the first group."""
        self._look()
        x, weight, given = args[0].detach(), layer.weight.detach(), out.detach()
        linear, options, groups = isinstance(layer, nn.Linear), dict[str, Any](), 1
        if isinstance(layer, nn.Conv2d):
            options, groups = {n: getattr(layer, n) for n in ("stride", "padding", "dilation")}, layer.groups
        else:
            x, weight, given = places(x), weight[..., None, None], places(given)
        ins, outs, taps = weight.shape[1], weight.shape[0] // groups, weight[0, 0].numel()
        some = min(CHANNELS, outs)
        bias = 0.0 if layer.bias is None else layer.bias.detach()[:some].double().view(1, -1, 1, 1)
        own = x[:IMAGES, :ins].clone(), weight[:some].clone(), given[:IMAGES, :some].clone()
        self._waiting.append(Sample(partial(nn.functional.conv2d, **options), *own, bias, taps))
        if not (out.requires_grad and layer.weight.requires_grad and layer.weight.is_leaf):
            return
        key = id(layer.weight)
        if key not in self._learning:
            self._learning[key] = layer.weight.register_hook(partial(self._learned, key))
        product = partial(of_weight, options, weight.shape[2:])
        came, pairs = x[:, : min(EACHWAY, ins)].clone(), self._pairs.setdefault(key, [])

        def slope(g: Tensor) -> None:
            g = places(g.detach()) if linear else g.detach()
            pairs.append(Sample(product, came, g[:, : min(EACHWAY, outs)].clone(), came, taps=taps))

        out.register_hook(slope)

    def _learned(self, weight: int, gradient: Tensor) -> None:
        """In a backward: the gradient of a weight, by one pass. Another pass may be none of this one's business."""
        self._learning.pop(weight).remove()
        pairs = self._pairs.pop(weight, [])
        if len(pairs) == 1:
            self._look()
            [own] = pairs
            gradient = gradient.detach()[..., None, None] if gradient.ndim == 2 else gradient.detach()
            seen = gradient[: own.b.shape[1], : own.a.shape[1]].clone()
            self._waiting.append(Sample(own.product, own.a, own.b, seen, taps=own.taps))

    def _look(self) -> None:
        self.found["looked"] += 1
        self.found["allowed"] += torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32

    def work_out(self) -> None:
        """Count what came since the last time. Never within a forward: its precision would be this one's."""
        with torch.no_grad():
            self.found.update(kind for sample in self._waiting if (kind := sample.kind()))
        for handle in self._learning.values():
            handle.remove()
        self._waiting, self._pairs, self._learning = [], {}, {}


def known(layer: nn.Module) -> bool:
    """Whether it is a conv or linear layer that computes what its class says, and pads with 0."""
    if isinstance(layer, nn.Conv2d) and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
        return False
    return is_layer(layer) and type(layer).forward in (nn.Conv2d.forward, nn.Linear.forward)


def places(x: Tensor) -> Tensor:
    """Rows of C numbers, ... x C, as images of one place, N x C x 1 x 1: a linear layer is a convolution of these."""
    return x.reshape(-1, x.shape[-1])[..., None, None]


def of_weight(options: dict[str, Any], size: torch.Size, x: Tensor, g: Tensor) -> Tensor:
    """The gradient O x I x *size* of a convolution's weight, by its input N x I x H x W and its output's gradient."""
    shape, found = (g.shape[1], x.shape[1], *size), torch.zeros(1, dtype=x.dtype, device=x.device)
    count = max(1, ATONCE // max(1, x[0].numel()))
    for some, slope in zip(x.split(count), g.split(count), strict=True):
        found = found + conv2d_weight(some, shape, slope, **options)
    return found
