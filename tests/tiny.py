"""A study that trains in a second: for tests of what surrounds training."""

from collections.abc import Iterable
from functools import partial

from torch import Tensor

from experiments import digits
from harness.evidence import Check, Trace
from harness.spec import Augment, Spec
from harness.store import Record, Store
from harness.study import Plan, Study, plan
from harness.tricks.distillation import distillation
from harness.tricks.mixup import mixup
from harness.tricks.warmup import warmup

BASELINE: Spec = digits.BASELINE.but(epochs=2, batch_size=128, model=digits.BASELINE.model.but(blocks=(1, 1), width=4))
TEACHER = BASELINE.model.but(width=16, bottleneck=False)
TRICKS = (partial(warmup, epochs=0.5), mixup, partial(distillation, model=TEACHER))
STUDY = Study("tiny", "", BASELINE, TRICKS, (0, 1))

SOURCE = '''"""A study of a user's own."""
from tests.tiny import BASELINE, TRICKS
SEEDS = (0, 1)
'''


def tiny_plan(**changes: object) -> Plan:
    return plan(Study("tiny", "", BASELINE.but(**changes), TRICKS, (0, 1)))


class Lying(Augment):
    """Says that it did what it did not."""

    def __call__(self, x: Tensor, rng: object) -> Tensor:
        return 255 - x

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield Check("what was promised", "done", "not done", False)


RESULT = {
    "status": "finished",
    "metrics": {"top1": 90.0},
    "epochs": [{"epoch": 0}, {"epoch": 1}],
    "correct": "ff",
    "environment": {},
    "seconds": 1.0,
}


def finish(store: Store, spec_id: str, seed: int, result: Record, weights: Record | None = None) -> Record:
    """A finished run, as a process leaves it."""
    with store.claim(spec_id, seed) as claim:
        claim.begin({"spec": {}, "resolved": {}})
        return claim.finish(result, weights or {})
