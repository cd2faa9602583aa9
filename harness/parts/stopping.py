"""When to stop, by images held out of training."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from harness.evidence import Check, Trace
from harness.spec import Spec, Stop

History = Sequence[Mapping[str, Any]]


def best(history: History, score: str) -> int:
    """The place of the epoch of the least loss, or the greatest other score; of equals the first; nan is the worst."""
    values = [-epoch[score] if score.endswith("loss") else epoch[score] for epoch in history]
    return max(range(len(values)), key=lambda i: -math.inf if math.isnan(values[i]) else values[i])


class EarlyStopping(Stop):
    """Ends when the loss of the held-out images has not fallen for `patience` epochs. Slot: `stop`, neutral absent.

    The weights of the epoch that is best by `keep` are those the run ends with, whether it was stopped or not; the test
    set is measured once, with them. Needs images that are held out: `data=Holdout(of=…)`. Source: Prechelt 1998.
    """

    patience: int = Field(10, ge=1)
    keep: str = "val_top1"

    @property
    def watches(self) -> tuple[str, ...]:
        return "val_loss", self.keep

    def check(self, spec: Spec) -> None:
        if "val" not in spec.data.load().counts:
            raise ValueError("EarlyStopping needs images to stop by, held out of training: data=Holdout(of=…)")

    def best(self, history: History) -> int:
        return best(history, self.keep)

    def over(self, history: History) -> bool:
        return bool(history) and len(history) - 1 - best(history, "val_loss") >= self.patience

    def reference(self, history: History) -> int:
        """The first epoch of the greatest score, or the least loss; what is no number is worse than all."""
        at, most = 0, -math.inf
        for place, epoch in enumerate(history):
            worth = -epoch["val_loss"] if self.keep == "val_loss" else epoch[self.keep]
            if worth > most:  # never of nan
                at, most = place, worth
        return at

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        losses = [math.inf if math.isnan(epoch["val_loss"]) else epoch["val_loss"] for epoch in trace.history]
        due, least, at = spec.epochs, math.inf, 0
        for place, loss in enumerate(losses):  # as each epoch ended
            least, at = (loss, place) if loss < least else (least, at)
            if place - at >= self.patience:
                due = place + 1
                break
        what = f"epochs: {self.patience} after that of the least held-out loss, or all"
        yield Check(what, f"{due}", f"{len(losses)}", len(losses) == due or trace.diverged)
        wanted = trace.history[self.reference(trace.history)][self.keep]
        seen = trace.kept.get(self.keep, float("nan"))
        same = abs(seen - wanted) <= 1e-5 * max(1.0, abs(wanted))
        what = f"{self.keep} with the weights kept, measured again"
        yield Check(what, f"{wanted:.6g}", f"{seen:.6g}", same or trace.diverged)
