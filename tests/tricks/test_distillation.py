from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.evidence import Trace
from harness.parts.models import RESNET152
from harness.spec import upstream
from harness.train import train
from harness.tricks.cosine import Cosine
from harness.tricks.distillation import Distill, distillation, distillation_loss
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.warmup import warmup
from tests.mutants import stand_in

CPU = torch.device("cpu")


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [1, 4, 20, 100])
def test_loss_by_hand(temperature):
    rng = np.random.default_rng(0)
    z, r = rng.normal(size=(2, 8, 10)) * 5
    soft, guess = softmax(r / temperature), softmax(z / temperature)
    expected = temperature**2 * np.mean([-(soft[i] * np.log(guess[i])).sum() for i in range(8)])
    ours = distillation_loss(torch.from_numpy(z).float(), torch.from_numpy(r).float(), temperature)
    assert ours.item() == pytest.approx(expected, rel=1e-5)


def test_gradient_hardly_depends_on_temperature():
    """T² keeps it of one size: (softmax(z/T) - softmax(r/T))·T/N, near (z - r)/(N·K) where T is high."""
    rng = np.random.default_rng(0)
    z, r = (torch.from_numpy(x - x.mean(1, keepdims=True)) for x in rng.normal(size=(2, 8, 10)))
    for temperature in (20, 100):
        student = z.clone().float().requires_grad_()
        distillation_loss(student, r, temperature).backward()
        torch.testing.assert_close(student.grad, ((z - r) / 80).float(), rtol=0.2, atol=2e-3)


def teacher_of(spec):
    (part,) = spec.teacher
    return part.spec


def test_teacher_has_d_cosine_and_smoothing_always(tiny):
    for student in (tiny, label_smoothing(tiny, smoothing=0.1), fp16(no_bias_decay(warmup(tiny, epochs=1)))):
        teacher = teacher_of(distillation(student))
        assert teacher.model == RESNET152.but(variant="D")
        assert isinstance(teacher.schedule.shape, Cosine)
        assert teacher.targets == (Smoothing(smoothing=0.1),)
        assert teacher.schedule.warmup == student.schedule.warmup
        assert (teacher.decay, teacher.precision) == (student.decay, student.precision)
        assert teacher.teacher == ()
        own = {"model": student.model, "schedule": student.schedule, "targets": student.targets}
        assert teacher.but(**own) == student


def test_teacher_is_mixed_where_the_student_is(tiny):
    alone, mixed = (teacher_of(distillation(spec)) for spec in (tiny.but(epochs=120), mixup(tiny.but(epochs=120))))
    assert (alone.mix, alone.epochs) == ((), 120)
    assert (mixed.mix, mixed.epochs) == ((Mixup(alpha=0.2),), 200)
    assert alone.id != mixed.id


def test_student_is_left_as_it_was(tiny):
    taught = distillation(mixup(tiny))
    assert taught.but(teacher=()) == mixup(tiny)
    assert taught.teacher[0].temperature == 20
    assert distillation(tiny, model=tiny.model).teacher[0].spec.model == tiny.model.but(variant="D")


def test_teacher_is_asked_for_once_and_does_not_learn(tiny):
    spec = distillation(tiny.but(epochs=1), model=tiny.model)
    asked = []

    def inner(wanted):
        given = stand_in(wanted)
        asked.append((wanted, given.model))
        before.update({name: value.clone() for name, value in given.model.state_dict().items()})
        return given

    before = {}
    assert train(spec, 0, CPU, inner).result["status"] == "finished"
    ((wanted, teacher),) = asked
    assert (wanted,) == upstream(spec)
    assert not teacher.training
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} moved: running statistics do in training mode"


def test_loss_of_a_real_batch_is_both_losses_added(tiny, live):
    """One step at a rate of almost 0: its loss is ℓ(labels) + T²·ℓ(teacher), to be had by hand."""
    still = tiny.but(batch_size=597, epochs=1, augment=(), optimizer=tiny.optimizer.but(lr=1e-12, per=None))
    taught = still.but(teacher=(Distill(spec=still, temperature=20.0),))
    (plain, _), (both, trace) = live(still), live(taught)
    images = still.data.load()
    x = torch.from_numpy(images.arrays["train"][0]).float()
    x = (x - images.mean[0]) / images.std[0]
    student = both.model.train()
    with torch.no_grad():
        z, r = student(x).double().numpy(), trace.teachers[0].model(x).double().numpy()
    extra = 400 * np.mean(-(softmax(r / 20) * np.log(softmax(z / 20))).sum(1))
    losses = [trained.result["epochs"][0]["loss"] for trained in (plain, both)]
    assert losses[1] - losses[0] == pytest.approx(extra, rel=1e-4)


def packed(bound):
    """Which test images it got right when it was trained, eight a byte."""
    return np.frombuffer(bytes.fromhex(bound.inner.result["correct"]), dtype=np.uint8)


def taught(tiny):
    """A teacher that answered one batch, and the trace of it."""
    net, rng = tiny.model.build(1, 10), np.random.default_rng(0)
    trace = Trace(1, 10, model=net, runner=tiny.precision.on(CPU), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    part = Distill(spec=tiny, temperature=20.0)
    bound = part.bind(stand_in(tiny), 1)
    trace.teachers = (bound,)
    x, y = torch.from_numpy(rng.normal(size=(4, 1, 8, 8))).float(), torch.eye(10)[:4]
    z = net(x)
    trace.saw_pass(z, bound(x, z))
    trace.saw_step(torch.arange(4), [(x, y)])
    return part, bound, trace


FAULTS = ["training mode", "learns", "silent", "mute", "absent", "another", "other images"]


@pytest.mark.parametrize("fault", [*FAULTS, "other specification", "other weights"])
def test_a_teacher_out_of_order_is_caught(fault, tiny):
    part, bound, trace = taught(tiny)
    if fault == "training mode":
        bound.model.train()
    elif fault == "learns":
        bound.model.requires_grad_(True)
    elif fault == "silent":
        trace.lr.append(0.1)
    elif fault == "absent":
        trace.teachers = ()
    elif fault == "another":
        bound.first_answers = [bound.first_answers[0] + 1]
    elif fault == "other images":
        bound.first_images = bound.first_images.flip(0)
        bound.first_answers = [bound.model(bound.first_images)]
    elif fault == "mute":
        bound.calls, bound.first_answers = 0, []
    elif fault == "other specification":
        bound.inner = replace(bound.inner, id="0" * 16)
    elif fault == "other weights":
        bound.inner = replace(bound.inner, result={"correct": (~packed(bound)).tobytes().hex()})
    assert [check.ok for check in part.proof(tiny, trace)].count(False) == (3 if fault == "training mode" else 1)


def test_a_teacher_in_order_is_not(tiny):
    part, _, trace = taught(tiny)
    assert all(check.ok for check in part.proof(tiny, trace))


def test_a_teacher_that_answers_by_its_record_is_right_as_often(tiny):
    part, bound, trace = taught(tiny)
    rows = {check.what: check.seen for check in part.proof(tiny, trace)}
    *_, seen = rows.values()
    assert float(seen.split("top-1 ")[1].removesuffix(" %")) == pytest.approx(
        100 * np.unpackbits(packed(bound))[:300].mean(), abs=0.2
    )
