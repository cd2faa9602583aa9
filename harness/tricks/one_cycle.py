"""One-cycle rate: up and down once, by half cosines (Smith and Topin 2018, "Super-convergence"; fast.ai, torch)."""

import math
from collections.abc import Iterable

import numpy as np
from pydantic import Field

from harness.evidence import Check, Trace
from harness.parts.schedules import Shape, reshaped, rises_alone
from harness.spec import Spec, declares


class OneCycle(Shape):
    """From 1/`divide` of the peak up to it in `rise` of all batches, down to 1/`last` of where it began.

    Slot: `schedule.shape`. Each way is half a cosine, as torch's `OneCycleLR` has it; momentum stays. It rises by
    itself, without a warmup, and the peak is at a whole batch.
    """

    rise: float = Field(0.3, gt=0, lt=1)
    divide: float = Field(25.0, ge=1)
    last: float = Field(1e4, ge=1)

    def check(self, spec: Spec) -> None:
        rises_alone(spec, self)

    def top(self, total: int) -> int:
        """The batch, from 0, that has the peak."""
        return min(max(round(self.rise * total) - 1, 0), total - 1)

    def factor(self, step: int, warmup: int, total: int) -> float:
        top, low = self.top(total), 1 / self.divide
        if step < top:
            return low + (1 - low) * (1 - math.cos(math.pi * step / top)) / 2
        end = low / self.last
        return end + (1 - end) * (1 + math.cos(math.pi * (step - top) / max(total - 1 - top, 1))) / 2

    def reference(self, step: int, warmup: int, total: int) -> float:
        """By squares of sines: sin²(x/2) is (1 - cos x)/2."""
        best = int(np.clip(round(self.rise * total) - 1, 0, total - 1))
        below = 1 / self.divide, 1 / self.divide / self.last
        away = (best - step) / best if step < best else (step - best) / max(total - 1 - best, 1)
        lost = np.sin(away * np.pi / 2) ** 2
        return float(1 - lost * (1 - below[step >= best]))

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        peak, total = spec.optimizer.rate(spec.batch_size), spec.epochs * trace.steps_per_epoch
        used = np.array(trace.lr)
        most = int(used.argmax()) if len(used) else 0
        due = round(self.rise * total)
        yield Check(
            "the batch of the highest rate", f"{max(due, 1)}", f"{most + 1}", most + 1 == max(due, 1) or trace.diverged
        )
        first = used[0] / peak if len(used) else math.nan
        low = 1 / self.divide if due > 1 else 1.0
        yield Check("share of the peak at the first batch", f"{low:.4g}", f"{first:.4g}", abs(first - low) < 1e-9)
        end = used[-1] / peak if len(used) else math.nan
        wanted = 1 / self.divide / self.last
        fine = abs(end - wanted) < 1e-9 or len(used) < total
        yield Check("share of the peak at the last batch", f"{wanted:.4g}", f"{end:.4g}", fine)


@declares("schedule.shape")
def one_cycle(spec: Spec, rise: float = 0.3, divide: float = 25.0, last: float = 1e4) -> Spec:
    """one-cycle rate: up by half a cosine over the first 30 % of training, then down by another.

    Slot: `schedule.shape`. A plan with a warmup beside it is refused. Raises Problem where another trick's shape is
    there.

    Hurts: in a run that ends early: the rate has not come down yet. At a peak that was tuned for a rate that only
    falls: it stands a higher one.

    Cost: none.
    """
    return reshaped(spec, OneCycle(rise=rise, divide=divide, last=last))
