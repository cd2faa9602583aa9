"""Cosine decay of the learning rate (He et al. 2019, section 5.1; Loshchilov and Hutter 2017)."""

import math
from collections.abc import Iterable

import numpy as np

from harness.evidence import Check, Trace
from harness.parts.schedules import Piecewise, Shape
from harness.spec import Spec, declares


def cosine_factor(t: int, total: int) -> float:
    """½ (1 + cos(t·π/T)) at batch t of T, counted from 0 so that the first is the peak and none is idle at rate 0."""
    return 0.5 * (1 + math.cos(math.pi * t / total))


class Cosine(Shape):
    """Slot: `schedule.shape`. Per batch, not per epoch; T excludes the warmup."""

    def factor(self, step: int, warmup: int, total: int) -> float:
        return cosine_factor(step - warmup, total - warmup)

    def reference(self, step: int, warmup: int, total: int) -> float:
        """cos²(tπ/2T), which is ½(1 + cos(tπ/T)) of section 5.1."""
        return float(np.cos((step - warmup) * np.pi / (2 * (total - warmup))) ** 2)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        assert isinstance(spec.schedule, Piecewise)
        peak, warmup = spec.optimizer.rate(spec.batch_size), spec.schedule.warmup
        first = round(warmup.epochs * trace.steps_per_epoch) if warmup else 0
        used, total = trace.lr[first:], spec.epochs * trace.steps_per_epoch - first
        wanted = peak / 2 * (1 + np.cos(np.arange(len(used)) * np.pi / total))
        off = float(np.abs(np.array(used) - wanted).max(initial=0))
        yield Check("largest gap from ½(1 + cos(tπ/T))η, T without warmup", "0", f"{off:.2g}", off <= 1e-9 * peak)
        yield Check(
            "distinct rates after warmup: one a batch", f"{len(used)}", f"{len(set(used))}", len(set(used)) == len(used)
        )


@declares("schedule.shape")
def cosine(spec: Spec) -> Spec:
    """cosine decay: the rate follows half a cosine from its peak towards 0.

    Hurts: in a run that is cut short or ends early: the rate has not come down yet.

    Cost: none.
    """
    return spec.but(schedule=spec.schedule.but(shape=Cosine()))
