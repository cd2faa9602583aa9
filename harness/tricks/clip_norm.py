"""Gradient clipping by norm (Pascanu et al. 2013, "On the difficulty of training recurrent neural networks")."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import Field
from torch import nn

from harness.evidence import Check, Trace
from harness.spec import Clip, Spec, declares

TINY = 1e-6  # added to the norm, as torch does


class ClipNorm(Clip):
    """Gradients whose norm, over all parameters together, is above `most` are shortened to it. Slot: `clip`.

    A loss scale is taken out before; a step that overflowed is left out, clipped or not. A run of which no step was
    clipped is refused: it did not have the trick.
    """

    most: float = Field(1.0, gt=0)

    @property
    def bound(self) -> float:
        return self.most

    def __call__(self, parameters: Sequence[nn.Parameter]) -> None:
        nn.utils.clip_grad_norm_(parameters, self.most)

    def reference(self, gradients: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """g·min(1, most/‖g‖) (Pascanu et al. 2013, algorithm 1)."""
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
        return {name: g * min(1.0, self.most / (norm + TINY)) for name, g in gradients.items()}

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        longest, cut = float(trace.longest), int(trace.cut)
        fine = longest <= self.most * (1 + 1e-4)
        yield Check("greatest norm of the gradients that a step went by", f"≤ {self.most:g}", f"{longest:.4g}", fine)
        what = f"steps of {len(trace.lr):,} whose gradients were longer, and were clipped"
        yield Check(what, "some", f"{cut:,}", cut > 0 or trace.diverged)


@declares("clip")
def clip_norm(spec: Spec, most: float = 1.0) -> Spec:
    """gradient clipping: a norm above 1 is shortened to it.

    Hurts: where `most` is below the usual norm: each step is shortened, which is a lower learning rate.

    Cost: one norm over all gradients a step.
    """
    return spec.alone("clip", ClipNorm(most=most))
