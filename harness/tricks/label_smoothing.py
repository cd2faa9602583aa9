"""Label smoothing (He et al. 2019, section 5.2, Eq. 4; Szegedy et al. 2016)."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.evidence import Check, Trace
from harness.spec import Spec, Targets, declares


def smooth(y: Tensor, eps: float) -> Tensor:
    """1 - ε on the true class and ε/(K - 1) on each other, for one-hot (or mixed) targets `y`, N x K.

    torch's and timm's `label_smoothing` put ε/K on all classes; give them ε·K/(K - 1) for the same targets.
    """
    others = eps / (y.shape[1] - 1)
    return y * (1 - eps - others) + others


class Smoothing(Targets):
    """Slot: `targets`, neutral absent. Every target keeps the sum 1."""

    smoothing: float = Field(0.1, gt=0, lt=1)

    def __call__(self, y: Tensor) -> Tensor:
        return smooth(y, self.smoothing)

    def reference(self, y: np.ndarray) -> np.ndarray:
        """(1 - ε)·y + ε/(K - 1)·(1 - y): Eq. 4, for each class of its own."""
        smoothed: np.ndarray = (1 - self.smoothing) * y + self.smoothing / (y.shape[1] - 1) * (1 - y)
        return smoothed

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        labels, targets, *_ = trace.fed[0]
        true = targets.gather(1, labels[:, None])
        rest = targets.clone().scatter_(1, labels[:, None], float("nan"))
        rest = rest[~rest.isnan()]
        want_true, want_rest = 1 - self.smoothing, self.smoothing / (targets.shape[1] - 1)
        for what, got, want in (("the true class", true, want_true), ("each other class", rest, want_rest)):
            seen = f"{got.min():.5g} to {got.max():.5g}"
            yield Check(f"target of {what}", f"{want:.5g}", seen, bool((got - want).abs().max() < 1e-6))
        spread = -(want_true * math.log(want_true) + self.smoothing * math.log(want_rest))
        found = float(torch.special.entr(targets.double()).sum(1).mean())
        near = abs(found - spread) < 1e-4
        yield Check("entropy of the targets, before any mixing", f"{spread:.4f}", f"{found:.4f}", near)


@declares("targets")
def label_smoothing(spec: Spec, smoothing: float = 0.1) -> Spec:
    """label smoothing: ε = 0.1 of each target spread over the other K - 1 classes.

    Hurts: teachers: a network distilled from one that was smoothed learns less (Müller et al. 2019).

    Cost: none.
    """
    return spec.having("targets", Smoothing(smoothing=smoothing))
