"""Triangular rate: up in a line, and down in a line (Smith 2018, "A disciplined approach…"; Page 2018; Jordan 2024)."""

from collections.abc import Iterable

import numpy as np
from pydantic import Field

from harness.evidence import Check, Trace
from harness.parts.schedules import Shape, reshaped, rises_alone
from harness.spec import Spec, declares


class Triangular(Shape):
    """From `start` of the peak up to it at `peak` of all batches, and down to `end` of it. Slot: `schedule.shape`.

    Batch t of T, from 0, has the value at t of the lines through 0, the whole number of batches nearest to peak · T,
    and T. It rises by itself, without a warmup. airbench94 has 0.2, 0.23 and 0.07; Page 0, 5/24 and 0.
    """

    start: float = Field(0.2, ge=0, le=1)
    peak: float = Field(0.23, gt=0, lt=1)
    end: float = Field(0.07, ge=0, le=1)

    def check(self, spec: Spec) -> None:
        rises_alone(spec, self)

    def factor(self, step: int, warmup: int, total: int) -> float:
        top = min(max(round(self.peak * total), 1), total - 1)
        if step < top:
            return self.start + (1 - self.start) * step / top
        return 1 - (1 - self.end) * (step - top) / (total - top)

    def reference(self, step: int, warmup: int, total: int) -> float:
        """By interpolation."""
        top = np.clip(round(self.peak * total), 1, total - 1)
        return float(np.interp(step, [0, top, total], [self.start, 1.0, self.end]))

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        peak, total = spec.optimizer.rate(spec.batch_size), spec.epochs * trace.steps_per_epoch
        used = np.array(trace.lr)
        top = min(max(round(self.peak * total), 1), total - 1)
        up, down = np.linspace(self.start, 1, top + 1), np.linspace(1, self.end, total - top + 1)
        due = peak * np.concatenate([up, down[1:]])[: len(used)]
        off = float(np.abs(used - due).max(initial=0))
        yield Check(
            f"largest gap from a line up to batch {top + 1} and one down", "0", f"{off:.2g}", off <= 1e-9 * peak
        )


@declares("schedule.shape")
def triangular(spec: Spec, peak: float = 0.23, start: float = 0.2, end: float = 0.07) -> Spec:
    """triangular rate: up in a line over the first 23 % of training, then down in a line.

    Slot: `schedule.shape`. A plan with a warmup beside it is refused. Raises Problem where another trick's shape is
    there.

    Hurts: in a run that ends early: the rate has not come down yet.

    Cost: none.
    """
    return reshaped(spec, Triangular(start=start, peak=peak, end=end))
