"""Lookahead (Zhang et al. 2019, "Lookahead Optimizer: k steps forward, 1 step back")."""

import math
from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from harness.evidence import Check, Trace
from harness.spec import Average, Spec, declares


class Lookahead(Average):
    """After `every` steps slow weights go `alpha` of the way to the fast ones, which go on from there. Slot: `average`.

    Slow weights are tested and kept. Buffers of floating point go with the weights, as in airbench; the optimizer keeps
    its momentum, as in the paper. With `power` p the way at a share t of all steps is 1 - (1 - alpha)·tᵖ: airbench has
    every=5, alpha=1 - .95⁵ and power=3, in which weights are the fast ones at first.
    """

    returns: ClassVar[bool] = True
    every: int = Field(5, ge=1)
    alpha: float = Field(0.5, gt=0, le=1)
    power: float | None = Field(None, gt=0)

    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        if (step + 1) % self.every:
            return 0.0
        stays = 1 - self.alpha
        at: float = ((step + 1) / (steps_per_epoch * epochs)) ** (self.power or 0)
        return 1 - stays * at

    def reference(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Algorithm 1: φ ← φ + α(θ - φ) after each k inner steps."""
        number, inner = divmod(step + 1, self.every)
        if inner or not number:
            return 0.0
        if self.power is None:
            return self.alpha
        at = math.pow(number * self.every / steps_per_epoch / epochs, self.power)
        return 1.0 - at + self.alpha * at

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield Check("averages kept", "1", f"{len(trace.averages)}", len(trace.averages) == 1)
        if trace.auditor:
            found = trace.auditor.found
            told = sum("returned" in gaps for gaps in found)
            what = "audited steps of which it is known what training went on from"
            yield Check(what, f"{len(found)}", f"{told}", told == len(found))


@declares("average")
def lookahead(spec: Spec, every: int = 5, alpha: float = 0.5) -> Spec:
    """Lookahead: after five steps, back half of the way.

    Hurts: at a rate that is low already, and in runs of few steps: it halves the way that weights go.

    Cost: a copy of the weights, and two passes over them every five steps.
    """
    return spec.alone("average", Lookahead(every=every, alpha=alpha))
