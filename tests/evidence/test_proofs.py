import pytest
import torch

from harness import train as loop
from harness.evidence import Check, Trace, opinions, prove
from harness.evidence.proofs import split_checks
from harness.parts.augment import Shift
from harness.parts.data import Digits, in_memory
from harness.parts.data.holdout import Holdout
from harness.parts.optimizers import NAG
from harness.spec import SECOND, SELF, UNPROVEN, Augment
from harness.tricks.distillation import Distill
from harness.tricks.fp16 import FP16, fp16
from harness.tricks.mixup import mixup
from harness.tricks.warmup import warmup
from tests import mutants
from tests.kit.backbones import Onto


class Claimed(Augment):
    """Says of itself what it is told to."""

    ok: bool

    def __call__(self, x, rng):
        return x

    def proof(self, spec, trace):
        yield Check("steps", "1", f"{len(trace.lr)}", self.ok)


def test_rows_of_every_part_and_of_no_inner_specification(tiny):
    lying = tiny.but(augment=(Claimed(ok=False),))
    spec = tiny.but(augment=(Claimed(ok=True), Claimed(ok=False)), teacher=(Distill(spec=lying),))
    net = tiny.model.build(1, 10)
    optimizer = tiny.optimizer.build(tiny.decay.groups(net), tiny.batch_size)
    runner = tiny.precision.on(torch.device("cpu"))
    rows = prove(spec, Trace(2, 10, lr=[0.5], model=net, optimizer=optimizer, runner=runner))
    assert [row for row in rows if row["part"] == "Claimed"] == [
        {"part": "Claimed", "what": "steps", "expected": "1", "seen": "1", "ok": True},
        {"part": "Claimed", "what": "steps", "expected": "1", "seen": "1", "ok": False},
    ]
    assert {row["part"] for row in rows} == {
        *("loop", "Digits", "ResNet", "Xavier", "DecayAll", "NAG", "Piecewise", "Step", "Claimed", "FP32", "Distill")
    }


def test_a_run_that_diverges_is_judged_by_what_it_did(tiny):
    """Its length and its end are not held against it; a trick that was not on is."""
    wild = mixup(fp16(warmup(tiny))).but(optimizer=NAG(lr=1e30, per=None))
    result = loop.train(wild, 0, torch.device("cpu"), mutants.stand_in).result
    assert [row for row in result["evidence"] if not row["ok"]] == []
    assert result["status"] == "diverged"
    assert len(result["epochs"]) < wild.epochs


# --- what is known of a part ----------------------------------------------------------------------------------------


class Silent(Augment):
    """Says nothing of itself."""

    def __call__(self, x, rng):
        return x


class Referred(Silent):
    def reference(self, x, rng):
        return x


def test_how_it_is_known_that_a_part_did_what_it_says(tiny):
    known = opinions(tiny.but(augment=(Shift(), Silent(), Claimed(ok=True), Referred()), precision=FP16()))
    own = {"Shift": SECOND, "Silent": UNPROVEN, "Claimed": SELF, "Referred": SECOND}
    assert {name: known[name] for name in own} == own
    shipped = {name: how for name, how in known.items() if name not in own}
    assert UNPROVEN not in shipped.values()
    assert {name for name, how in shipped.items() if how == SELF} == {"Digits"}


# --- how many steps were looked at ----------------------------------------------------------------------------------


def rows(spec, trace, *begins):
    return [row for row in prove(spec, trace) if row["what"].startswith(begins)]


def test_the_share_that_is_met_counts_steps_that_were_drawn_alone(tiny, live):
    """Of ten that are audited the first two are always: eight meet 31 % of steps with a chance of .95, ten 26 %."""
    spec = tiny.but(batch_size=23, epochs=4, augment=())
    _, trace = live(spec)
    (row,) = rows(spec, trace, "steps audited at random")
    drawn = len(trace.auditor.due - {0, 1})
    assert drawn in (7, 8)
    assert f"of 100: what goes on in {100 * (1 - 0.05 ** (1 / drawn)):.2g} % of steps" in row["what"]
    assert (row["expected"], row["ok"]) == (f"{len(trace.auditor.due)}", True)


def test_an_audit_that_was_left_out_is_told(tiny, live):
    spec = tiny.but(epochs=2, augment=())
    _, trace = live(spec)
    taken = trace.auditor.found.pop()
    (row,) = rows(spec, trace, "steps audited at random")
    trace.auditor.found.append(taken)
    assert (row["expected"], row["seen"], row["ok"]) == ("4", "3", False)


# --- what is trained on and what is tested --------------------------------------------------------------------------


class Leaking(Digits):
    """So many of the test images are training images."""

    many: int

    def load(self):
        whole = super().load()
        (x, y), (test_x, test_y) = (whole.arrays[split] for split in ("train", "test"))
        test_x, test_y = test_x.copy(), test_y.copy()
        test_x[: self.many], test_y[: self.many] = x[: self.many], y[: self.many]
        return in_memory({"train": (x, y), "test": (test_x, test_y)}, whole.classes)


@pytest.mark.parametrize(("many", "ok"), [(0, True), (60, True), (61, False), (597, False)])
def test_test_images_that_are_training_images(many, ok, tiny):
    (row, *_) = split_checks(tiny.but(data=Leaking(many=many)), Trace(1, 10))
    assert row.seen == f"{many} of 1,200"
    assert row.ok == ok


def test_images_that_are_held_out_are_no_others(tiny):
    spec = tiny.but(data=Holdout(of=tiny.data))
    rows = list(split_checks(spec, Trace(1, 10)))
    assert [(row.seen, row.ok) for row in rows[1:]] == [("0", True), ("0", True)]


def test_a_teacher_and_a_backbone_of_what_is_tested_are_told(tiny):
    """Their training images are this run's test images."""

    class Turned(Digits):
        def load(self):
            whole = super().load()
            return in_memory({"train": whole.arrays["test"], "test": whole.arrays["train"]}, whole.classes)

    for data, ok in ((tiny.data, True), (Turned(), False)):
        inner = tiny.but(data=data)
        for spec in (tiny.but(teacher=(Distill(spec=inner),)), tiny.but(model=Onto(backbone=inner))):
            assert all(row.ok for row in split_checks(spec, Trace(1, 10))) == ok


class Late(Augment):
    """Its proof has a mistake."""

    def __call__(self, x, rng):
        return x + 1

    def proof(self, spec, trace):
        yield trace.no_such_thing


def test_a_mistake_in_a_proof_costs_one_epoch(tiny):
    told = []

    class Telling(loop.Keeper):
        def report(self, event):
            told.append(event["epoch"])

    with pytest.raises(AttributeError, match="no_such_thing"):
        loop.train(tiny.but(augment=(Late(),)), 0, torch.device("cpu"), None, Telling())
    assert set(told) == {0}
