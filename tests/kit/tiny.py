"""A study that trains in a second: for tests of what surrounds training."""

from collections.abc import Iterable
from fractions import Fraction
from functools import partial

from torch import Tensor

from experiments import digits
from harness import train as loop
from harness.evidence import Check, Trace
from harness.parts.data import Digits
from harness.parts.data.images import Images
from harness.rng import streams
from harness.spec import Augment, Spec, plain, resolved
from harness.store import Record, Store, is_id, spec_hash
from harness.study import Plan, Study, plan
from harness.tricks.distillation import distillation
from harness.tricks.mixup import mixup
from harness.tricks.warmup import warmup

BASELINE: Spec = digits.BASELINE.but(
    data=Digits(limit_test=300),
    model=digits.BASELINE.model.but(blocks=(1, 1), width=4),
    batch_size=128,
    epochs=2,
)
TEACHER = BASELINE.model.but(width=16, bottleneck=False)
TRICKS = (partial(warmup, epochs=0.5), mixup, partial(distillation, model=TEACHER))
STUDY = Study("tiny", "", BASELINE, TRICKS, (0, 1))

SOURCE = '''"""A study of a user's own."""
from tests.kit.tiny import BASELINE, TRICKS
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


RESULT: Record = {  # of ten test images nine
    "status": "finished",
    "metrics": {"top1": 90.0},
    "epochs": [{"epoch": 0}, {"epoch": 1}],
    "evidence": [],
    "params": 1000,
    "macs": 1_500_000,
    "images": {"train": 10, "test": 10},
    "precision": {"name": "FP32", "emulated": False},
    "environment": {"device_name": "a", "commit": "c"},
    "seconds": 1.0,
    "seconds_per_epoch": 0.5,
    "correct": "ff80",
}


def known(name: str) -> str:
    """The id of a specification that is nothing but a name; of an id, itself."""
    return name if is_id(name) else spec_hash({"name": name})


def whole(result: Record) -> Record:
    """A result with all that one has. Its bits are made to fit its top-1, on as many images as that takes."""
    made = {**RESULT, **result}
    if made.get("score", "top1") != "top1":
        return made
    top1, tests = made["metrics"]["top1"], made["images"]["test"]
    if abs(100 * int(made["correct"] or "0", 16).bit_count() / tests - top1) > 1e-6:
        if abs(round(top1 * tests / 100) - top1 * tests / 100) > 1e-8 * tests:
            tests = Fraction(top1 / 100).limit_denominator(10**5).denominator
        bits = "1" * round(top1 * tests / 100)
        made["correct"] = int(bits.ljust(tests + -tests % 8, "0"), 2).to_bytes(-(-tests // 8), "big").hex()
    return made | {"images": made["images"] | {"test": tests}}


def finish(
    store: Store, name: str, seed: int, result: Record, weights: Record | None = None, arrays: Record | None = None
) -> Record:
    """A finished run, as a process leaves it, of `known` name."""
    with store.claim(known(name), seed) as claim:
        claim.begin({"spec": {}, "resolved": {} if is_id(name) else {"name": name}})
        (claim.folder / "result.json").unlink(missing_ok=True)  # a test may tell it anew
        return claim.finish(whole(result), weights or {}, arrays)


def finish_spec(store: Store, spec: Spec, seed: int, result: Record) -> None:
    """A finished run of a specification, as a process leaves it."""
    with store.claim(spec.id, seed) as claim:
        claim.begin({"spec": plain(spec), "resolved": resolved(spec)})
        claim.finish(whole(result), {})


def train_epoch(spec: Spec, run: loop.Live, images: Images) -> None:
    """Of the batches of one epoch, which `train` has from the stream of all."""
    rng = streams(0)
    served = images.train(run.epoch, spec.batch_size, spec.augment, rng, run.total.device)
    batches = zip(served, loop.mixers(spec, run, images, rng), strict=False)
    loop.train_epoch(spec, run, images, batches, rng, loop.Keeper())
