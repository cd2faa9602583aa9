"""Identity initialization (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.3)."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.parts.init import beginning
from harness.parts.norms import layer_kind
from harness.rng import Stream
from harness.spec import Init, Model, Spec, declares


@torch.no_grad()
def identity_(weight: Tensor) -> Tensor:
    """Filters N x M x H x W, N ≥ M, in place: the first M give each channel as it came; the others stay."""
    _, channels, high, wide = weight.shape
    places = torch.arange(channels, device=weight.device)
    weight[:channels] = 0
    weight[places, places, high // 2, wide // 2] = 1
    return weight


def partial_identities(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions that can begin as one, by name: not grouped, with a middle, as many filters as channels or more.

    The first convolution is none of them: it sees pixels.
    """
    every = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    return {
        name: layer
        for name, layer in every[1:]
        if layer.groups == 1 and layer.out_channels >= layer.in_channels and all(side % 2 for side in layer.kernel_size)
    }


@lru_cache
def _count(model: Model, channels: int) -> int:
    with torch.device("meta"):
        return len(partial_identities(model.build(channels, 2)))


class Dirac(Init):
    """The first M of a convolution's N ≥ M filters give its M channels as they came; the others stay as drawn.

    Slot: `init`, after the weights; neutral: absent. It is of every convolution after the first, where there are as
    many filters as channels, no groups and a kernel with a middle. Torch calls it `dirac_(w[:w.size(1)])`.
    """

    def check(self, spec: Spec) -> None:
        if hasattr(spec.model, "backbone"):
            raise ValueError("init=Dirac is of classifiers: a detector's backbone is a run, and that may begin so")
        if any(part.loads for part in spec.init):
            raise ValueError("init=Dirac sets weights that a file has: leave one of the two out")
        if not _count(spec.model, spec.data.channels):
            raise ValueError(
                f"{spec.model!r} has no convolution after the first with as many filters as channels: leave dirac out"
            )

    @torch.no_grad()
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        for layer in partial_identities(model).values():
            identity_(layer.weight)

    def over(self, model: nn.Module) -> frozenset[str]:
        return frozenset(f"{name}.weight" for name in partial_identities(model))

    def reference(self, shapes: dict[str, Any], model: nn.Module, rng: Stream) -> dict[str, np.ndarray]:
        """By shapes: a cube of ones on the diagonal, in the middle of a black kernel; nan of the filters left alone."""
        convolutions = [(n, layer) for n, layer in model.named_modules() if layer_kind(layer) == "Conv2d"]
        found = {}
        for name, layer in convolutions[1:]:
            filters, channels, *sides = shapes[f"{name}.weight"]
            if filters < channels or not all(side & 1 for side in sides) or getattr(layer, "groups", 1) != 1:
                continue
            around = [((side - 1) // 2, (side - 1) // 2) for side in sides]
            same = np.pad(np.eye(channels)[..., None, None], ((0, 0), (0, 0), *around))
            rest = np.full((filters - channels, channels, *sides), np.nan)
            found[f"{name}.weight"] = np.concatenate([same, rest])
        return found

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        due = partial_identities(trace.model)
        seen = sum(trace.first_weights.get(name, (0.0, 0.0))[0] >= 1 for name in due)
        what = "convolutions whose greatest weight before step 1 is that of an identity, 1, or above"
        yield Check(what, f"{len(due)}", f"{seen}", seen == len(due) > 0)


@declares("init")
def dirac(spec: Spec) -> Spec:
    """identity initialization: convolutions begin by giving their channels as they came.

    Slot: `init`, neutral absent. Of N filters on M channels the first M do, and the others are drawn as before. The
    first convolution is left as it is. Its evidence: all initial weights against a second writing. Refused where no
    convolution has room for it, or a file has the weights.

    Hurts: not known.

    Cost: none.
    """
    return beginning(spec, Dirac())
