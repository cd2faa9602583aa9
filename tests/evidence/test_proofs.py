import torch

from harness import train as loop
from harness.evidence import Check, Trace, prove
from harness.parts.optimizers import NAG
from harness.spec import Augment
from harness.tricks.distillation import Distill
from harness.tricks.fp16 import fp16
from harness.tricks.mixup import mixup
from harness.tricks.warmup import warmup
from tests import mutants


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
        *("loop", "ResNet", "Xavier", "DecayAll", "NAG", "Piecewise", "Step", "Claimed", "FP32", "Distill")
    }


def test_a_run_that_diverges_is_judged_by_what_it_did(tiny):
    """Its length and its end are not held against it; a trick that was not on is."""
    wild = mixup(fp16(warmup(tiny))).but(optimizer=NAG(lr=1e30, per=None))
    result = loop.train(wild, 0, torch.device("cpu"), mutants.stand_in).result
    assert [row for row in result["evidence"] if not row["ok"]] == []
    assert result["status"] == "diverged"
    assert len(result["epochs"]) < wild.epochs
