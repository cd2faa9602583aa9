import torch
from torch import nn

from harness.evidence import Check, Trace, prove
from harness.parts.models import ResNet
from harness.spec import Augment
from harness.tricks.distillation import Distill


def test_first_gammas_are_those_before_training():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    net[2].weight.data = torch.tensor([0.0, 3.0])
    trace = Trace(1, 10)
    trace.saw_model(net)
    net[1].weight.data.fill_(9)
    assert trace.first_gammas == {"1": (1.0, 1.0), "2": (0.0, 3.0)}
    assert trace.model is net


def test_layers_are_looked_at_once_and_for_what_float16_holds():
    net = ResNet(blocks=(1,), width=2, small=True).build(1, 3)
    trace = Trace(1, 3)
    trace.saw_model(net)
    net(torch.randn(2, 1, 4, 4))
    assert set(trace.outputs) == {"stem.0", "fc", *(f"stage1.0.{name}" for name in ("body.0", "body.3", "body.6"))} | {
        "stage1.0.shortcut.0"
    }
    assert set(trace.outputs.values()) == {"float32"}
    net.get_submodule("stem")[0].weight.data.fill_(0.5)
    net(torch.ones(2, 1, 4, 4))
    assert trace.outputs["stem.0"] == "float32", "the first output is what counts"


def test_outputs_that_float16_holds_exactly():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[0].weight.data.fill_(0.5)
    net[1].weight.data.fill_(1 / 3)
    trace = Trace(1, 2)
    trace.saw_model(net)
    net(torch.ones(1, 2))
    assert trace.outputs == {"0": "float16", "1": "float32"}


def test_few_batches_are_kept_and_fewer_images():
    trace = Trace(100, 10)
    for i in range(40):
        labels, y, x = torch.full((4,), i), torch.full((4, 10), float(i)), torch.full((4, 3, 224, 224), float(i))
        trace.saw_batch(labels, y, y + 0.5, x, x + 0.25)
        x.zero_()
    assert [int(labels[0]) for labels, _, _ in trace.fed] == list(range(16))
    assert [float(mixed[0, 0]) for _, _, mixed in trace.fed] == [i + 0.5 for i in range(16)]
    assert len(trace.images) == 4
    for i, (before, after) in enumerate(trace.images):
        assert (before == i).all(), "kept as it was, whatever becomes of the batch"
        assert (after == i + 0.25).all()
        assert before.shape == after.shape
        assert max(before.shape[2:]) <= 80


def test_small_images_are_kept_whole():
    trace = Trace(1, 10)
    x = torch.randn(4, 1, 8, 8)
    trace.saw_batch(torch.zeros(4), torch.zeros(4, 10), torch.zeros(4, 10), x, 2 * x)
    assert torch.equal(trace.images[0][0], x)
    assert torch.equal(trace.images[0][1], 2 * x)


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
    assert {row["part"] for row in rows} == {"ResNet", "DecayAll", "Piecewise", "Claimed", "FP32", "Distill"}
