import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from harness import train as loop
from harness.evidence import Check, Trace, cross_entropy, prove
from harness.parts.models import ResNet
from harness.spec import Augment
from harness.tricks.cosine import cosine
from harness.tricks.distillation import Distill, distillation
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.zero_gamma import zero_gamma


def test_first_gammas_are_those_of_the_first_forward():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    trace = Trace(1, 10, model=net)
    net[2].weight.data = torch.tensor([0.0, 3.0])
    net(torch.randn(2, 1, 4, 4))
    net[1].weight.data.fill_(9)
    net(torch.randn(2, 1, 4, 4))
    assert trace.first_gammas == {"1": (1.0, 1.0), "2": (0.0, 3.0)}


def test_layers_are_looked_at_once_and_for_what_float16_holds():
    net = ResNet(blocks=(1,), width=2, small=True).build(1, 3)
    trace = Trace(1, 3, model=net)
    net(torch.randn(2, 1, 4, 4))
    assert set(trace.outputs) == {"stem.0", "fc", *(f"stage1.0.{name}" for name in ("body.0", "body.3", "body.6"))} | {
        "stage1.0.shortcut.0"
    }
    assert set(trace.outputs.values()) == {"float32"}
    net.get_submodule("stem")[0].weight.data.fill_(0.5)
    net(torch.ones(2, 1, 4, 4))
    assert trace.outputs["stem.0"] == "float32", "the first output is what counts"
    assert not any(module._forward_hooks for module in net.modules()), "a hook that stays ties the model to its trace"


def test_outputs_that_float16_holds_exactly():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[0].weight.data.fill_(0.5)
    net[1].weight.data.fill_(1 / 3)
    trace = Trace(1, 2, model=net)
    net(torch.ones(1, 2))
    assert trace.outputs == {"0": "float16", "1": "float32"}


def test_few_batches_are_kept_and_fewer_images_as_the_network_got_them():
    net = nn.Identity()
    weight = nn.Parameter(torch.zeros(1))
    trace = Trace(100, 10, model=net, optimizer=torch.optim.SGD([weight], lr=0.1))
    for i in range(40):
        labels, y, x = torch.full((4,), i), torch.full((4, 10), float(i)), torch.full((4, 3, 224, 224), float(i))
        net(x + 0.25)
        trace.saw_pass(y, torch.tensor(float(i)))
        trace.saw_step(labels, y, y + 0.5, x)
        x.zero_()
    assert [int(labels[0]) for labels, _, _ in trace.fed] == list(range(16))
    assert [float(mixed[0, 0]) for _, _, mixed in trace.fed] == [i + 0.5 for i in range(16)]
    assert len(trace.images) == 4
    for i, (before, after) in enumerate(trace.images):
        assert (before == i).all(), "kept as it was, whatever becomes of the batch"
        assert (after == i + 0.25).all()
        assert max(before.shape[2:]) <= 40
    assert trace.first_loss == 0
    assert trace.lr == [0.1] * 40


def test_cross_entropy_against_scipy():
    rng = np.random.default_rng(0)
    y, z = rng.dirichlet(np.ones(7), size=5), 30 * rng.normal(size=(5, 7))
    expected = -(y * log_softmax(z, axis=1)).sum(1).mean()
    assert cross_entropy(torch.from_numpy(y), torch.from_numpy(z)) == pytest.approx(expected, rel=1e-12)


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
        *("loop", "ResNet", "DecayAll", "NAG", "Piecewise", "Claimed", "FP32", "Distill")
    }


# --- the loop itself, broken on purpose -----------------------------------------------------------------------------

SOURCE = Path(loop.__file__).read_text()
STEP = "run.runner.step(run.optimizer)"
BACKWARD = "run.runner.backward(loss)"
LOSS = "nn.functional.cross_entropy(z.float(), some_y)"
RATE = 'group["lr"] = peak * spec.schedule.factor(step, steps, spec.epochs)'
MODEL = "    model = build(spec, seed, device)\n"
ONES = "    [m.weight.data.fill_(1) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]\n"


def in_passes(spec):
    return spec.but(microbatch=100)


MUTANTS = {
    "the network gets unmixed images": (mixup, "z = run.model(some_x)", "z = run.model(plain_x)"),
    "the loss gets unmixed targets": (mixup, LOSS, LOSS.replace("some_y)", "plain_y)")),
    "the loss gets labels": (label_smoothing, LOSS, LOSS.replace("some_y)", "labels)")),
    "targets are worked out and dropped": (label_smoothing, "y = target(y)", "target(y)"),
    "the teacher's loss is left out": (distillation, "loss = loss + teacher(some_x, z)", "teacher(some_x, z)"),
    "the teacher's loss is halved": (distillation, "+ teacher(some_x, z)", "+ 0.5 * teacher(some_x, z)"),
    "the teacher gets other images": (distillation, "teacher(some_x, z)", "teacher(some_x.flip(0), z)"),
    "the optimizer never steps": (None, STEP, "run.optimizer.zero_grad()"),
    "half precision is not used": (
        fp16,
        "with run.runner.forward():\n                z",
        "if True:\n                z",
    ),
    "the loss is not scaled": (
        fp16,
        BACKWARD,
        "loss.backward(); run.runner.steps = step + 1; run.runner.step = lambda o: Runner.step(run.runner, o)",
    ),
    "one group keeps its rate": (no_bias_decay, "in run.optimizer.param_groups:", "in run.optimizer.param_groups[:1]:"),
    "an epoch is left out": (None, "run.epoch < spec.epochs", "run.epoch < spec.epochs - 1"),
    "the rate stays": (cosine, RATE, 'group["lr"] = peak'),
    "the rate changes by the epoch": (cosine, "step = run.epoch * steps + run.batch", "step = run.epoch * steps"),
    "γ is set back before training": (zero_gamma, MODEL, MODEL + ONES),
    "the passes of a step are not averaged": (in_passes, "loss * (len(z) / len(x))", "loss"),
    "a step is one pass of its own": (
        in_passes,
        "zip(x.split(size), y.split(size), strict=True)",
        "[(x[:size], y[:size])]",
    ),
    "the passes are not small": (in_passes, "size = spec.microbatch or len(x)", "size = len(x)"),
    "everything is decayed": (no_bias_decay, "spec.decay.groups(model)", "[dict(params=model.parameters())]"),
}


@pytest.mark.parametrize("mutant", [None, *MUTANTS])
def test_a_broken_loop_is_refused(mutant, tiny):
    trick, old, new = MUTANTS[mutant] if mutant else (distillation, "", "")
    assert old in SOURCE, "the loop has changed: change this mutant with it"
    broken = types.ModuleType("broken")
    broken.__dict__["__name__"] = loop.__name__
    exec(compile(SOURCE.replace(old, new) if old else SOURCE, "broken train.py", "exec"), broken.__dict__)
    spec = trick(tiny) if trick else tiny
    cpu = torch.device("cpu")
    trained = broken.train(spec, 0, cpu, lambda upstream: loop.build(upstream.but(model=tiny.model), 1, cpu))
    assert trained.result["status"] == ("refused" if mutant else "finished")
