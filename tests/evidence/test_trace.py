import io

import numpy as np
import torch
from torch import nn

from harness.evidence import Trace, watch
from harness.evidence.trace import initial_gap
from harness.parts.models import ResNet
from harness.rng import streams
from harness.spec import Init
from harness.tasks.classify import Classify
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
    assert trace.macs["stem.0"] == 4 * 4 * 2 * 9, "of one image of the two"
    assert trace.macs["fc"] == 8 * 3
    assert not any(module._forward_hooks for module in net.modules() if module is not net), "a hook that stays costs"


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
        trace.saw_step(labels, [trace.stage(x, y), trace.stage(x + 0.25, y + 0.5)])
        x.zero_()
    assert [int(labels[0]) for labels, *_ in trace.fed] == list(range(16))
    assert [float(mixed[0, 0]) for *_, mixed in trace.fed] == [i + 0.5 for i in range(16)]
    assert len(trace.images) == 4
    for i, (before, after) in enumerate(trace.images):
        assert (before == i).all(), "kept as it was, whatever becomes of the batch"
        assert (after == i + 0.25).all()
        assert max(before.shape[2:]) <= 40
    assert trace.lr == [0.1] * 40


def last_pass(net, trace, x, y):
    z = net(x)
    loss = nn.functional.cross_entropy(z, y)
    loss.backward()
    trace.saw_pass(z, loss)


def test_gradients_of_every_pass_of_step_1_and_of_no_other():
    """A weight whose gradient float16 holds in one pass and not in the next is not held."""
    net = nn.Linear(1, 2, bias=False)
    net.weight.data.zero_()
    trace = Trace(1, 2, model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    y = torch.eye(2)[:1]
    last_pass(net, trace, torch.tensor([[1.0]]), y)
    assert trace.gradients == {"": "float16"}, "0.5 and -0.5"
    last_pass(net, trace, torch.tensor([[1.0001]]), y)
    assert trace.gradients == {"": "float32"}
    trace.saw_step(torch.zeros(2), [(torch.ones(2, 1), y)])
    trace.gradients.clear()
    last_pass(net, trace, torch.tensor([[1.0]]), y)
    assert trace.gradients == {}
    assert not net._forward_hooks
    assert not net.weight._backward_hooks


def test_what_float16_cannot_hold_is_told_from_nan():
    net = nn.Linear(1, 2, bias=False)
    trace = Trace(1, 2, model=net)
    net(torch.ones(1, 1)).backward(torch.tensor([[float("nan"), float("inf")]]))
    assert trace.gradients == {"": "float16"}


# --- initial weights and the order ----------------------------------------------------------------------------------


def test_initial_weights_are_drawn_anew(tiny, live):
    _, trace = live(tiny)
    every, told, gap = trace.drawn
    assert every == told == sum(1 for _ in trace.model.parameters())
    assert gap < 1e-6


def test_one_initial_weight_that_is_another_is_told(tiny):
    net = tiny.model.build(1, 10)
    for part in tiny.init:
        part(net, streams(0))
    assert initial_gap(tiny, net, streams(0), {})[2] < 1e-6
    assert initial_gap(tiny, net, streams(1), {})[2] > 0.1
    net.get_submodule("stage1.0.body.0").weight.data[1, 1] += 1e-3
    assert initial_gap(tiny, net, streams(0), {})[2] > 1e-4
    zeroed = zero_gamma(tiny)
    assert initial_gap(zeroed, tiny.model.build(1, 10), streams(0), {})[2] >= 1


class Unsaid(Init):
    def __call__(self, model, rng):
        """Whatever it does, is not known."""


def test_of_weights_that_an_init_without_a_reference_may_have_set_nothing_is_said(tiny):
    net = tiny.model.build(1, 10)
    assert initial_gap(tiny.but(init=(*tiny.init, Unsaid())), net, streams(0), {})[1:] == (0.0, 0.0)


def test_labels_of_every_step_are_those_of_the_order(tiny):
    """Of four steps in two epochs: two labels that changed places are counted, and a batch of another size whole."""
    images = tiny.data.load()
    known = np.asarray(images.labels("train"))
    net = tiny.model.build(1, 10)
    trace = Trace(2, 10, model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1), task=Classify())
    watch(tiny, trace)
    for step in range(4):
        order = streams(0)("order", step // 2).permutation(len(known))
        labels = torch.from_numpy(known[order][step % 2 * 298 :][:298].copy())
        if step == 1:
            labels[:2] = (labels[:2] + 1) % 10
        y = torch.zeros(298, 10)
        trace.saw_step(labels if step < 3 else labels[:-1], [(torch.zeros(298, 1, 8, 8), y)])
        assert trace.tally() == [0, 2, 2, 300][step]


def test_what_a_checkpoint_holds_brings_back_the_trace(tiny, live):
    _, trace = live(tiny)
    again = Trace(2, 10, model=tiny.model.build(1, 10), optimizer=trace.optimizer, task=Classify())
    watch(tiny, again)
    file = io.BytesIO()
    torch.save(trace.state(), file)
    file.seek(0)
    again.restore(torch.load(file, weights_only=True), torch.device("cpu"))
    assert again.lr == trace.lr
    for name in (
        "first_gammas",
        "first_weights",
        "outputs",
        "gradients",
        "macs",
        "forwards",
        "awake",
        "amiss",
        "drawn",
    ):
        assert getattr(again, name) == getattr(trace, name), name
    assert again.auditor.found == trace.auditor.found != []
    assert again.exams.found == trace.exams.found != []
    assert again.exams.answers == trace.exams.answers
    for a, b in zip(again.fed, trace.fed, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
