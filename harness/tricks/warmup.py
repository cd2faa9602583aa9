"""LR warmup: the rate grows linearly over the first epochs (He et al. 2019, section 3.1; Goyal et al. 2017)."""

from collections.abc import Iterable

from harness.evidence import Check, Trace
from harness.parts.schedules import Warmup
from harness.spec import Spec, declares


def warmup_factor(i: int, m: int) -> float:
    """Batch i of m, counted from 1, gets i/m of the peak rate: the first batch 1/m, never 0, and the last all of it."""
    return i / m


class LinearWarmup(Warmup):
    """Slot: `schedule.warmup`, neutral None. `epochs` may be fractional; it counts batches."""

    def factor(self, step: int, steps: int) -> float:
        return warmup_factor(step + 1, steps)

    def reference(self, step: int, steps: int) -> float:
        """i/m of the peak at batch i, from 1, of the m that warm up (section 3.1)."""
        return (step + 1) / steps

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        peak, m = spec.optimizer.rate(spec.batch_size), round(self.epochs * trace.steps_per_epoch)
        if m == 0:
            yield Check("batches that warm up", "at least 1", "0", False)
            return
        used = trace.lr[:m]
        off = max((abs(lr - peak * i / m) for i, lr in enumerate(used, 1)), default=peak)
        yield Check(
            f"rate of batch 1 of {m}", f"{peak / m:.4g}", f"{used[0]:.4g}", abs(used[0] - peak / m) < 1e-9 * peak
        )
        yield Check("largest gap from i·η/m while warming up", "0", f"{off:.2g}", off <= 1e-9 * peak)


@declares("schedule.warmup")
def warmup(spec: Spec, epochs: float = 5) -> Spec:
    """LR warmup: over the first 5 of 120 epochs.

    Hurts: short runs: epochs at a low rate are lost where nothing diverges.

    Cost: none.
    """
    return spec.but(schedule=spec.schedule.but(warmup=LinearWarmup(epochs=epochs)))
