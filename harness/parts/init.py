"""Initial weights."""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.evidence import Check, Trace
from harness.parts.norms import layer_kind
from harness.rng import Stream
from harness.spec import Init, Model, Spec

TELLING = 100  # weights: of so many, some are near the bound


@lru_cache
def first_convolution(model: Model, channels: int) -> tuple[str, tuple[int, ...], int]:
    """(The name of a network's first convolution, the shape of its weights, its groups); ("", (), 0) of one without."""
    with torch.device("meta"):
        net = model.build(channels, 2)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d):
            return name, tuple(layer.weight.shape), layer.groups
    return "", (), 0


def beginning(spec: Spec, part: Init) -> Spec:
    """`spec` with `part` in its `init`, after the first: in the place of one of its kind, else in the order of names.

    So parts that set other weights come in one order, whichever trick was first.
    """
    first, *others = spec.init
    kept = [other for other in others if type(other) is not type(part)]
    place = next((i for i, other in enumerate(kept) if type(other).__name__ > type(part).__name__), len(kept))
    return spec.but(init=(first, *kept[:place], part, *kept[place:]))


class Xavier(Init):
    """Weights uniform in [-a, a], a = sqrt(6 / (fan in + fan out)); biases 0; γ = 1, β = 0.

    Source: He et al. 2019, section 2.1, after Glorot and Bengio 2010. Slot: `init`. The paper calls d_in and d_out
    "channel sizes"; as in Glorot and in MXNet, which the paper ran, a k x k kernel counts k² times in each fan.
    Each parameter has a stream named after it, so layers that two networks share start alike.
    """

    @torch.no_grad()
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
                a = math.sqrt(6 / (fan_in + fan_out))
                draw = rng("init", f"{name}.weight").uniform(-a, a, module.weight.shape)
                module.weight.copy_(torch.from_numpy(draw))
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)
                module.bias.zero_()

    def reference(self, shapes: dict[str, Any], model: nn.Module, rng: Stream) -> dict[str, np.ndarray]:
        """Every weight drawn anew, by its name and shape: a matrix or a kernel; γ is 1, what is a bias 0."""
        found = {}
        for name, layer in model.named_modules():
            weight, bias, kind = f"{name}.weight".lstrip("."), f"{name}.bias".lstrip("."), layer_kind(layer)
            if kind in ("Conv2d", "Linear"):
                rows, columns, *kernel = shapes[weight]
                a = (6 / ((rows + columns) * np.prod(kernel, dtype=float))) ** 0.5
                found[weight] = rng("init", weight).uniform(-a, a, tuple(shapes[weight]))
            elif kind == "BatchNorm2d" and weight in shapes:
                found[weight] = np.ones(shapes[weight])
            if kind in ("Conv2d", "Linear", "BatchNorm2d") and bias in shapes:
                found[bias] = np.zeros(shapes[bias])
        return found

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        reach: list[tuple[int, float]] = []  # (weights of a layer, the greatest one before step 1, in units of a)
        over = {name for part in spec.init if part is not self for name in part.over(trace.model)}
        for name, module in trace.model.named_modules():
            drawn = name in trace.first_weights and f"{name}.weight" not in over
            if drawn and isinstance(module, nn.Conv2d | nn.Linear):
                filters, depth, *kernel = module.weight.shape
                bound = math.sqrt(6 / ((filters + depth) * math.prod(kernel)))
                reach.append((module.weight.numel(), trace.first_weights[name][0] / bound))
        if not reach and any(part.loads for part in spec.init):  # a file had them all
            return
        most, telling = max((r for _, r in reach), default=math.nan), [(n, r) for n, r in reach if n >= TELLING]
        yield Check("greatest weight before step 1, in units of its layer's a", "≤ 1", f"{most:.4f}", most <= 1 + 1e-6)
        near = sum(r >= 1 - 20 / n for n, r in telling)  # n uniform numbers all stay below that once in e²⁰ times
        what = f"layers of at least {TELLING} weights whose greatest is near a"
        yield Check(what, f"{len(telling)}", f"{near}", near == len(telling))
        bias = max((bias for _, bias in trace.first_weights.values()), default=0.0)
        yield Check("greatest bias of these layers before step 1", "0", f"{bias:.4g}", bias == 0)
