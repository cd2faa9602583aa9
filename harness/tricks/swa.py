"""SWA: the mean of the weights at the end of the last epochs (Izmailov et al. 2018, "Averaging Weights Leads to…")."""

from collections.abc import Iterable

from pydantic import Field

from harness.evidence import Check, Trace
from harness.spec import Average, Spec, declares


class SWA(Average):
    """The mean of the weights as the last epochs left them is tested and kept. Slot: `average`, neutral absent.

    `last` epochs, by default a quarter of all; before them the weights themselves are tested. Before a mean is, batch
    norm's statistics are worked out anew: their mean over `batches` batches of the epoch, or all if it has fewer,
    augmented and not mixed. The rate stays what the schedule says; the paper keeps it constant, or has it go up and
    down. Raises ValueError where the run has fewer epochs than are averaged.
    """

    last: int | None = Field(None, ge=1)
    batches: int = Field(100, ge=1)

    def check(self, spec: Spec) -> None:
        if self.last and self.last > spec.epochs:
            raise ValueError(f"SWA averages last={self.last} epochs of epochs={spec.epochs}: take fewer")
        if spec.sync_norms:
            raise ValueError("SWA works out statistics process by process: leave sync_norms out")

    def first(self, epochs: int) -> int:
        """The first epoch of the mean, counted from 0."""
        return epochs - min(epochs, self.last or max(2, epochs // 4))

    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        epoch, place = divmod(step, steps_per_epoch)
        if place < steps_per_epoch - 1:
            return 0.0
        return 1 / (1 + max(0, epoch - self.first(epochs)))

    def reference(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Equation 1: n more in the mean, n counted from 0 at its first epoch; 1 is the weights themselves."""
        done = (step + 1) / steps_per_epoch
        if done != int(done):
            return 0.0
        averaged = self.last if self.last else max(2, int(epochs * 0.25))
        models = int(done) - 1 - max(0, epochs - averaged)
        return 1.0 if models < 0 else 1.0 / (models + 1)

    def renewing(self, epoch: int, epochs: int) -> int:
        return self.batches if epoch > self.first(epochs) else 0

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield Check("averages kept", "1", f"{len(trace.averages)}", len(trace.averages) == 1)
        if not trace.auditor or not trace.exams:
            return
        due = [epoch for epoch in dict.fromkeys(trace.exams.epochs) if epoch > self.first(spec.epochs)]
        found = trace.auditor.renewed
        epochs = [int(gaps["epoch"]) for gaps in found]
        what = "tested epochs after which statistics were worked out anew"
        yield Check(what, f"{len(due)}", f"{len(epochs)}", epochs == due)
        odd = sum(gaps["passes"] + gaps["asleep"] + gaps.get("moved", 0.0) for gaps in found)
        what = "passes too many or too few, modules asleep and weights moved while they were"
        yield Check(what, "0", f"{odd:.0f}", odd == 0)
        limits = {"images": 1e-3, "statistics": 1e-4 if spec.precision.kind == "float32" else 5e-3}
        by = 1 if trace.auditor.replay.device.type == "cpu" else 10
        for name, limit in limits.items():
            gap = max((gaps[name] for gaps in found), default=0.0)
            fine = gap < by * limit or trace.diverged
            yield Check(f"{name} of a pass of each, drawn: gap", f"below {by * limit:g}", f"{gap:.1g}", fine)


@declares("average")
def swa(spec: Spec, last: int | None = None) -> Spec:
    """SWA: the mean of the weights that the last quarter of the epochs left.

    Hurts: where the rate ends near 0, as cosine does: the weights of the last epochs are then all but the same.

    Cost: a copy of the weights; after each epoch of the mean 100 forward passes for batch norm.
    """
    return spec.alone("average", SWA(last=last))
