import json
import multiprocessing
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import log_softmax
from torch import nn

from harness import train as loop
from harness.evidence import (
    ASPECTS,
    MAY,
    Check,
    Trace,
    Upstream,
    carried,
    cross_entropy,
    digest,
    may,
    prove,
    rates,
)
from harness.parts.augment import PAPER, Shift
from harness.parts.data import Cached, Digits, ImageFolder, in_memory
from harness.parts.models import ResNet
from harness.parts.optimizers import NAG
from harness.rng import streams
from harness.spec import Augment, Spec, declared
from harness.tricks.cosine import Cosine, cosine
from harness.tricks.distillation import Distill, distillation
from harness.tricks.fp16 import FP16, fp16
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.resnet_d import resnet_d
from harness.tricks.warmup import warmup
from harness.tricks.zero_gamma import ZeroGamma, zero_gamma
from tests import mutants


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


def test_the_parameter_whose_steps_are_kept_is_a_whole_matrix_that_is_small():
    wide, deep = nn.Linear(784, 784), nn.Linear(784, 10)
    assert Trace(1, 10, model=nn.Sequential(wide, nn.BatchNorm1d(784), deep)).witness is deep.weight
    assert Trace(1, 10, model=nn.Sequential(wide, nn.BatchNorm1d(784, affine=False))).witness is wide.bias
    assert Trace(1, 10, model=nn.Linear(784, 784, bias=False)).witness is None
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1))
    trace = Trace(1, 8, model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.5))
    assert trace.witness is net[1].weight, "the first of the smallest"
    for gradient in (1.0, float("inf"), 2.0):
        for p in net.parameters():
            p.grad = torch.ones_like(p)
        net[1].weight.grad.fill_(2.0)
        net[2].bias.grad[3] = gradient
        trace.lr.append(0.5)
        trace.saw_gradient()
        trace.optimizer.step()
    steps = trace.steps_of_witness()
    assert [bool(finite) for *_, finite, _ in steps] == [True, False, True], "of any parameter"
    for before, gradient, _, after in steps:
        assert before.shape == (4, 8, 1, 1)
        torch.testing.assert_close(before - 0.5 * gradient, after)


def test_cross_entropy_against_scipy():
    rng = np.random.default_rng(0)
    y, z = rng.dirichlet(np.ones(7), size=5), 30 * rng.normal(size=(5, 7))
    loss, slope = cross_entropy(torch.from_numpy(y), torch.from_numpy(z))
    assert loss == pytest.approx(-(y * log_softmax(z, axis=1)).sum(1).mean(), rel=1e-12)
    z = torch.from_numpy(z).requires_grad_()
    nn.functional.cross_entropy(z, torch.from_numpy(2 * y)).backward()
    np.testing.assert_allclose(cross_entropy(torch.from_numpy(2 * y), z)[1], z.grad.numpy(), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(2 * slope, z.grad.numpy(), rtol=1e-9, atol=1e-15)


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
    assert trace.first_gradient is None
    trace.saw_step(torch.zeros(2), y, y, torch.ones(2, 1))
    torch.testing.assert_close(trace.first_gradient, torch.tensor([[-0.5, 0.5]] * 2))
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


def stepping(z, y, scale=1.0, pull=lambda z: 0.0):
    """A trace of a step 1 on given logits, whose loss went backward scaled."""
    z = z.clone().requires_grad_()
    loss = nn.functional.cross_entropy(z, y) + pull(z)
    (scale * loss).backward()
    seen = {"first_logits": z.detach(), "first_gradient": z.grad, "first_loss": loss.item()}
    return Trace(1, y.shape[1], fed=[(y.argmax(1), y, y)], **seen)


@pytest.mark.parametrize("scale", [1, 0.5, 65536])
def test_the_scale_that_a_gradient_carried(scale, tiny):
    generator = torch.Generator().manual_seed(0)
    z, y = 3 * torch.randn(6, 10, generator=generator), torch.rand(6, 10, generator=generator)
    trace = stepping(z, y / y.sum(1, keepdim=True), scale)
    seen, off = carried(tiny, trace)
    assert seen == pytest.approx(scale, rel=1e-5)
    assert off < 1e-5
    trace.first_gradient[2, 3] = float("inf")
    assert carried(tiny, trace)[0] == pytest.approx(scale, rel=1e-5), "what overflowed is left out"
    trace.first_gradient = trace.first_gradient.flip(0)
    assert carried(tiny, trace)[1] > 0.1
    trace.first_gradient = None
    assert all(value != value for value in carried(tiny, trace)), "no gradient went backward"


@pytest.mark.parametrize("temperature", [1, 20])
def test_a_teachers_gradient_is_added(temperature, tiny):
    """Against torch's; and a teacher whose student's logits were detached is told by direction alone."""
    z, r = 3 * torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0))
    part = Distill(spec=tiny, temperature=temperature)
    teacher = part.bind(Upstream(nn.Flatten(), tiny.id, {}), 1)  # answers the images themselves
    spec, y = tiny.but(teacher=(part,)), torch.eye(10)[:6]
    trace = stepping(z, y, pull=lambda z: teacher(r, z))
    trace.teachers = (teacher,)
    scale, off = carried(spec, trace)
    assert scale == pytest.approx(1, rel=1e-5)
    assert off < 1e-5
    detached = stepping(z, y, pull=lambda z: teacher(r, z.detach()))
    detached.teachers = (teacher,)
    assert detached.first_loss == trace.first_loss
    assert carried(spec, detached)[1] > 0.1


# --- images and the end of a run ------------------------------------------------------------------------------------


class Idle(Shift):
    def __call__(self, x, rng):
        return x


class Brightened(Shift):
    """Not by a draw: so that it must show."""

    def __call__(self, x, rng):
        return x + self.pixels


def told(spec, trace, what):
    """Whether the one check whose name begins with `what` holds."""
    (ok,) = (row["ok"] for row in prove(spec, trace) if row["what"].startswith(what))
    return ok


@pytest.mark.parametrize(
    ("trained", "claimed", "gap", "changed"),
    [
        ((Shift(),), (Shift(),), True, True),
        ((), (Shift(),), False, False),
        ((Shift(),), (Shift(pixels=2),), False, True),
        ((Shift(),), (), False, None),
        ((), (), True, None),
        ((Idle(),), (Idle(),), True, False),
        ((Brightened(),), (Brightened(),), True, True),
        ((Brightened(),), (Brightened(pixels=2),), False, True),
    ],
    ids=str,
)
def test_images_are_those_of_the_augmentation_said(trained, claimed, gap, changed, tiny, live):
    _, trace = live(tiny.but(augment=trained, epochs=1))
    spec = tiny.but(augment=claimed, epochs=1)
    assert told(spec, trace, "images of step 1: gap") == gap
    if changed is not None:
        assert told(spec, trace, "images of step 1 that augmentation changed") == changed


def test_few_images_that_happen_to_stay_are_not_told(tiny, live):
    _, trace = live(tiny.but(augment=(Idle(),), epochs=1, batch_size=15))
    assert told(tiny.but(augment=(Idle(),), epochs=1, batch_size=15), trace, "images of step 1 that augmentation")


def test_order_is_that_of_the_seed(tiny, live):
    _, trace = live(tiny)
    trace.rng = streams(1)
    assert not told(tiny, trace, "images of step 1: gap")
    assert not told(tiny, trace, "labels of step 1")


def test_photos_are_drawn_anew_and_their_decoders_sent_home(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, 256, size=(90, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    model = ResNet(blocks=(1,), width=4, variant="C")
    spec = mutants.TINY.but(
        data=ImageFolder(root=tmp_path, size=80), model=model, batch_size=16, epochs=1, augment=PAPER
    )
    before = set(multiprocessing.active_children())
    result = loop.train(spec, 0, torch.device("cpu"), mutants.stand_in).result
    assert [row for row in result["evidence"] if not row["ok"]] == []
    assert result["status"] == "finished"
    assert set(multiprocessing.active_children()) <= before


def test_a_run_that_diverges_is_judged_by_what_it_did(tiny):
    """Its length and its end are not held against it; a trick that was not on is."""
    wild = mixup(fp16(warmup(tiny))).but(optimizer=NAG(lr=1e30, per=None))
    result = loop.train(wild, 0, torch.device("cpu"), mutants.stand_in).result
    assert [row for row in result["evidence"] if not row["ok"]] == []
    assert result["status"] == "diverged"
    assert len(result["epochs"]) < wild.epochs


# --- rates, and what two runs showed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "kept"), [(1, 1), (2, 2), (200, 200), (201, 200), (12345, 200)])
def test_rates_are_thinned(steps, kept):
    found = rates(Trace(1, 10, lr=[step / 7 for step in range(steps)]))
    assert len(found) == kept
    assert (found[0], found[-1]) == ([0, 0.0], [steps - 1, (steps - 1) / 7])
    assert all(rate == step / 7 for step, rate in found)
    gaps = {after - before for (before, _), (after, _) in pairwise(found)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    assert json.loads(json.dumps(found)) == found


def test_every_slot_says_what_it_may_move():
    assert set(MAY) == set(Spec.model_fields)
    assert may(("schedule.warmup",)) == ("rates",)
    assert set(may(("mix", "epochs"))) == {"mixing", "teacher", "rates", "steps"}
    assert may(()) == ()
    with pytest.raises(KeyError):
        may(("no slot",))


def differing(one, other):
    return {aspect for aspect in ASPECTS if one.result["seen"][aspect] != other.result["seen"][aspect]}


def ladder(tiny):
    """Neighbours, each with the trick between them."""
    tricks = [partial(warmup, epochs=1), zero_gamma, no_bias_decay, fp16, resnet_d, cosine, label_smoothing, mixup]
    tricks.append(partial(distillation, model=tiny.model))
    rungs = list(accumulate(tricks, lambda spec, trick: trick(spec), initial=tiny))
    return list(zip(tricks, rungs, rungs[1:], strict=False))


@pytest.mark.parametrize("place", range(9))
def test_neighbours_differ_in_what_their_trick_may_move(place, tiny, live):
    trick, below, above = ladder(tiny)[place]
    moved = differing(live(below)[0], live(above)[0])
    assert moved
    assert moved <= set(may(declared(trick)))


CHANGES = {
    "data": lambda spec: {"data": Halved()},
    "model": lambda spec: {"model": spec.model.but(blocks=(1, 2))},
    "init": lambda spec: {"init": (*spec.init, ZeroGamma())},
    "decay": lambda spec: {"decay": spec.decay.but(weight=0.01)},
    "optimizer": lambda spec: {"optimizer": spec.optimizer.but(momentum=0.8, lr=0.05)},
    "schedule": lambda spec: {"schedule": spec.schedule.but(shape=Cosine())},
    "batch_size": lambda spec: {"batch_size": 199},
    "epochs": lambda spec: {"epochs": 5},
    "augment": lambda spec: {"augment": ()},
    "targets": lambda spec: {"targets": (Smoothing(),)},
    "mix": lambda spec: {"mix": (Mixup(),)},
    "precision": lambda spec: {"precision": FP16()},
    "microbatch": lambda spec: {"microbatch": 100},
    "teacher": lambda spec: {"teacher": ()},
}


class Halved(Digits):
    """Every second training image, twice as dark, in two classes."""

    def load(self):
        whole = super().load()
        arrays = {split: (x[::2] // 2, y[::2] % 2) for split, (x, y) in whole.arrays.items()}
        return in_memory(arrays, ("even", "odd"))


@pytest.mark.parametrize("slot", CHANGES)
def test_a_slot_moves_all_that_it_may_and_nothing_else(slot, tiny, live):
    """With a teacher on; one that answers passes of another size rounds otherwise, or not."""
    taught = tiny.but(epochs=4, batch_size=120, teacher=(Distill(spec=tiny),))
    changed = taught.but(**CHANGES[slot](taught))
    if slot == "data":
        taught, changed = taught.but(teacher=()), changed.but(teacher=())  # the stand-in knows ten classes
    moved = differing(live(taught)[0], live(changed)[0])
    assert set(MAY[slot]) - {"teacher"} <= moved | ({"decay"} if slot == "data" else set())
    assert moved <= set(MAY[slot])
    assert "teacher" in moved or "teacher" not in MAY[slot] or slot in ("data", "microbatch")


def test_a_trick_that_secretly_moves_something_else_is_seen(tiny, live, monkeypatch):
    """No bias decay that also shuffles otherwise; and one that draws a layer anew."""
    plain, _ = live(tiny)
    tricked = no_bias_decay(tiny)
    allowed = set(may(declared(no_bias_decay)))

    def trained():
        return loop.train(tricked, 0, torch.device("cpu"), mutants.stand_in)

    with monkeypatch.context() as patch:
        order = Cached.order
        patch.setattr(Cached, "order", lambda self, epoch, size, rng: order(self, epoch + 1, size, rng))
        assert differing(plain, trained()) - allowed == {"order", "images", "targets", "mixing"}
    with monkeypatch.context() as patch:
        build = loop.build

        def redrawn(*args):
            model = build(*args)
            model.get_submodule("fc").weight.data[0, 0] += 1e-3
            return model

        patch.setattr(loop, "build", redrawn)
        assert differing(plain, trained()) - allowed == {"weights"}
    with monkeypatch.context() as patch:
        shift = Shift.__call__
        patch.setattr(Shift, "__call__", lambda self, x, rng: shift(self, x, [rng, rng.random()][0]))
        assert differing(plain, trained()) - allowed == {"images", "mixing"}
    assert differing(plain, trained()) == allowed


def test_digests_are_of_values_in_order_whatever_the_layout():
    x = torch.arange(24.0).view(2, 3, 2, 2)
    same = x.contiguous(memory_format=torch.channels_last)
    assert digest([x]) == digest([same]) == digest([x.clone()])
    others = [[x.flip(0)], [x.double()], [x.view(2, 12)], [x, x], [("x", x)], []]
    assert len({digest(other) for other in [[x], *others]}) == 7
    assert len(digest([1, "a", None])) == 16
