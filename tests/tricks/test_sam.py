"""SAM: steps against Algorithm 1 walked in numpy's float64, and what a second gradient must leave alone."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness import train as loop
from harness.parts.optimizers import NAG, SGD
from harness.parts.schedules import Piecewise
from harness.spec import Model, assign
from harness.tricks.distillation import distillation
from harness.tricks.fp16 import HalfRunner, fp16
from harness.tricks.mixup import mixup
from harness.tricks.sam import SharpnessAware, sam, sam_offsets
from tests.kit.stops import Plain, Stops, trained, untimed
from tests.mutants.breaking import traced
from tests.test_meta import step  # noqa: F401

CPU = torch.device("cpu")


def linear(tiny, **changes):
    """Three steps of a linear network, which has no batch norm."""
    return tiny.but(model=Plain(), batch_size=199, epochs=1, augment=(), **changes)


# --- the algorithm ----------------------------------------------------------------------------------------------------


def test_offsets_by_hand():
    """Of (3, 0), (0, 4) the norm, over both, is 5."""
    first, second = sam_offsets([torch.tensor([3.0, 0.0]), torch.tensor([[0.0], [4.0]])], 0.05)
    torch.testing.assert_close(first, torch.tensor([0.03, 0.0]))
    torch.testing.assert_close(second, torch.tensor([[0.0], [0.04]]))


def slopes(weights, x, y):
    """The gradient of the mean cross-entropy of Wx + b, in float64."""
    w, b = weights
    z = x @ w.T + b
    p = np.exp(z - z.max(1, keepdims=True))
    gap = (p / p.sum(1, keepdims=True) - np.eye(10)[y]) / len(x)
    return [gap.T @ x, gap.sum(0)]


def walked(spec, rho):
    """Algorithm 1 of Foret et al. 2021 by hand, with L2 decay and Nesterov momentum on top."""
    weights = [p.detach().double().numpy() for p in loop.build(spec, 0, CPU).parameters()]
    moving, mu = [np.zeros_like(w) for w in weights], spec.optimizer.momentum
    for x, y in spec.data.load().train(0, spec.batch_size, (), loop.streams(0), CPU):
        x, y = x.double().numpy().reshape(len(x), -1), y.numpy()
        climbing = slopes(weights, x, y)
        norm = math.sqrt(sum((g**2).sum() for g in climbing))
        above = [w + rho * g / norm for w, g in zip(weights, climbing, strict=True)]
        g = [g + spec.decay.weight * w for g, w in zip(slopes(above, x, y), weights, strict=True)]
        moving = [mu * v + g for v, g in zip(moving, g, strict=True)]
        going = [g + mu * v for g, v in zip(g, moving, strict=True)]
        weights = [w - spec.optimizer.lr * d for w, d in zip(weights, going, strict=True)]
    return weights


@pytest.mark.parametrize("optimizer", [NAG(lr=0.2, per=None), SGD(lr=0.2, momentum=0, per=None)], ids=["NAG", "plain"])
@pytest.mark.parametrize("rho", [0.05, 1.0])
def test_steps_are_those_of_the_algorithm(optimizer, rho, tiny):
    """Weight decay is not climbed, and acts where the weights are."""
    schedule = Piecewise(shape=Piecewise().shape.but(at=()))  # a constant rate
    spec = linear(tiny, optimizer=optimizer, schedule=schedule, decay=tiny.decay.but(weight=0.05))
    done, trace = traced(sam(spec, rho=rho))
    ours = [p.detach().double().numpy() for p in done.model.parameters()]
    wanted, plain = walked(spec, rho), walked(spec, 0.0)
    for own, right, other in zip(ours, wanted, plain, strict=True):
        np.testing.assert_allclose(own, right, rtol=1e-4, atol=1e-6)
        assert np.abs(own - other).max() > 20 * np.abs(own - right).max(), "SAM shows"
    assert len(trace.lr) == 3
    assert done.result["status"] == "finished"


def test_passes_add_up_to_the_batch(tiny):
    whole, parts = traced(sam(linear(tiny))), traced(sam(linear(tiny, microbatch=80)))
    for a, b in zip(whole[0].model.parameters(), parts[0].model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert (whole[1].forwards, parts[1].forwards) == (2 * 3, 2 * 3 * 3)
    assert parts[0].result["status"] == "finished"


def test_twice_the_forwards_are_counted(tiny):
    plain, twice = traced(tiny.but(epochs=1)), traced(sam(tiny.but(epochs=1)))
    assert (plain[1].forwards, twice[1].forwards) == (2, 4)
    assert [len(trace.aways) for _, trace in (plain, twice)] == [0, 2]
    (row,) = [row for row in twice[0].result["evidence"] if row["what"] == "forward passes in training"]
    assert (row["expected"], row["seen"], row["ok"]) == ("4", "4", True)


# --- what it leaves alone ---------------------------------------------------------------------------------------------


def test_batch_norm_remembers_the_first_pass_alone(tiny, monkeypatch):
    """After a step on all images: what a run without SAM remembers, bit for bit; and not what two passes would."""
    spec = tiny.but(batch_size=597, epochs=1)
    plain, ours = traced(spec)[0].model, traced(sam(spec))[0].model
    monkeypatch.setitem(sam.__globals__, "paused_statistics", lambda model: nullcontext())
    naive = traced(sam(spec))[0].model
    seen = dict(plain.named_buffers())
    assert len(seen) >= 9
    for name, value in ours.named_buffers():
        assert torch.equal(value, seen[name]), name
    assert any(not torch.equal(value, seen[name]) for name, value in naive.named_buffers())
    assert all(m.track_running_stats for m in ours.modules() if isinstance(m, nn.BatchNorm2d))
    for a, b in zip(plain.parameters(), ours.parameters(), strict=True):
        assert not torch.equal(a, b)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def backward(model, runner, seed=0):
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(seed))
    with runner.forward():
        loss = nn.functional.cross_entropy(model(x), torch.arange(8) % 3)
    runner.backward(loss)


@pytest.mark.parametrize("scale", [2.0**8, 2.0**16])
def test_the_loss_scale_falls_out(scale):
    """The same weights at either scale, ρ away, but for float16's rounding; they come back bit for bit."""
    model, runner = net(), HalfRunner(CPU)
    runner.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    plain = net()
    plain_loss = nn.functional.cross_entropy(
        plain(torch.randn(8, 6, generator=torch.Generator().manual_seed(0))), torch.arange(8) % 3
    )
    plain_loss.backward()
    norm = math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in plain.parameters()))
    before = [p.detach().clone() for p in model.parameters()]
    backward(model, runner)
    with SharpnessAware(rho=0.05).away(model):
        offsets = [p.detach() - b for p, b in zip(model.parameters(), before, strict=True)]
        assert all(p.grad is None for p in model.parameters())
        assert torch.is_grad_enabled()
    for offset, p in zip(offsets, plain.parameters(), strict=True):
        torch.testing.assert_close(offset, 0.05 * p.grad / norm, rtol=1e-2, atol=2e-5)
    assert math.sqrt(sum(float((o**2).sum()) for o in offsets)) == pytest.approx(0.05, rel=1e-5)
    for p, b in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, b)


def test_weights_come_back_after_an_overflow_and_the_step_is_left_out():
    model, runner = net(), HalfRunner(CPU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    backward(model, runner)
    model[2].weight.grad[0, 0] = float("inf")
    with SharpnessAware(rho=0.05).away(model):
        assert not torch.isfinite(model[2].weight).all()
        backward(model, runner)
    scale = runner.scaler.get_scale()
    runner.step(optimizer)
    assert runner.scaler.get_scale() == scale / 2
    for p, b in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, b)


def test_in_half_precision_the_scaler_updates_once_a_step(tiny, monkeypatch):
    """At a scale of 2³⁰ the first steps overflow: the scale halves with each, and the weights stay."""
    updates = []
    update = torch.amp.GradScaler.update
    monkeypatch.setattr(torch.amp.GradScaler, "update", lambda self, *a: updates.append(update(self, *a)))
    monkeypatch.setitem(fp16.__globals__, "INITIAL_SCALE", 2.0**30)
    spec = sam(fp16(tiny.but(epochs=1)))
    begun = loop.build(spec, 0, CPU)
    done, trace = traced(spec)
    assert len(updates) == trace.runner.steps == 2
    assert trace.runner.scaler.get_scale() == 2.0**28
    for a, b in zip(done.model.parameters(), begun.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [away[2] for away in trace.aways] == [0, 0], "nothing that did not come back"


def test_in_half_precision_it_trains(tiny):
    done, trace = traced(sam(fp16(tiny.but(epochs=2))))
    assert done.result["status"] == "finished"
    assert all(length == pytest.approx(0.05, rel=1e-3) for length, *_ in trace.aways if length == length)


def test_where_the_gradient_is_zero_the_weights_stay():
    model = net()
    for p in model[0].parameters():
        p.grad = torch.zeros_like(p)
    before = [p.detach().clone() for p in model.parameters()]
    with SharpnessAware().away(model):
        for p, b in zip(model.parameters(), before, strict=True):
            assert torch.equal(p, b)


def test_weights_without_a_gradient_are_not_moved():
    model = net()
    model[2].weight.grad = torch.ones_like(model[2].weight)
    still = model[0].weight.detach().clone()
    with SharpnessAware(rho=0.5).away(model):
        assert torch.equal(model[0].weight, still)
        assert float((model[2].weight.detach() - net()[2].weight.detach()).norm()) == pytest.approx(0.5, rel=1e-5)


class Dropping(Model):
    """Pixels are dropped, then a linear layer: what is left of them is the same wherever the weights are."""

    def build(self, channels, classes):
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, classes))


@pytest.mark.parametrize("microbatch", [None, 120])
def test_both_passes_drop_the_same(tiny, microbatch, monkeypatch):
    """As in the authors' program, where both get one key: under another dropout it would be another loss."""
    left, build = [], loop.build

    def watched(*args):
        model = build(*args)
        model[1].register_forward_hook(lambda module, args, out: left.append(out) if module.training else None)
        return model

    monkeypatch.setattr(loop, "build", watched)
    traced(sam(linear(tiny, microbatch=microbatch).but(model=Dropping())))
    passes = 1 if microbatch is None else 2
    assert len(left) == 2 * passes * 3
    steps = [left[i : i + 2 * passes] for i in range(0, len(left), 2 * passes)]
    for seen in steps:
        for first, second in zip(seen[:passes], seen[passes:], strict=True):
            assert torch.equal(first, second)
    assert not torch.equal(steps[0][0] == 0, steps[1][0] == 0)


def test_weights_stay_channels_last(tiny):
    """Where they go, and when they are back: else every layer would reorder its images."""
    model = loop.placed(tiny.model.build(1, 10), CPU)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1) and m.in_channels > 1]
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    assert convs

    def ordered():
        return all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convs)

    model(x).logsumexp(1).sum().backward()
    with SharpnessAware().away(model):
        assert ordered()
        model(x).logsumexp(1).sum().backward()
    assert ordered()
    assert all(conv.weight.grad.is_contiguous(memory_format=torch.channels_last) for conv in convs)


# --- beside the rest of the harness -----------------------------------------------------------------------------------


def test_a_teacher_is_asked_at_both_passes(tiny):
    spec = sam(distillation(tiny.but(epochs=1), model=tiny.model))
    done, trace = traced(spec)
    assert trace.teachers[0].calls == trace.forwards == 4
    assert [row for row in done.result["evidence"] if not row["ok"]] == []
    assert done.result["status"] == "finished"


def mixed(tiny):
    return sam(fp16(mixup(tiny.but(epochs=2, microbatch=100), epochs=1)))


@pytest.mark.parametrize("change", [mixed, lambda tiny: sam(tiny.but(model=Dropping(), epochs=2))], ids=["all", "drop"])
@pytest.mark.parametrize("at", [1, 2, 4], ids=str)
def test_stopped_and_gone_on_is_as_if_never_stopped(tiny, at, change):
    spec = change(tiny)
    whole, keeper = trained(spec), Stops([at])
    with pytest.raises(KeyboardInterrupt):
        trained(spec, keeper=keeper)
    keeper.at = set()
    torch.manual_seed(9)
    done = trained(spec, keeper=keeper)
    assert untimed(done.result) == untimed(whole.result)
    for name in ("evidence", "correct", "metrics", "status", "seen"):
        assert done.result[name] == whole.result[name]
    for (name, a), b in zip(done.model.state_dict().items(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("tricks", [(sam,), (fp16, sam)], ids=["float32", "half"])
def test_a_step_makes_no_tensor_elsewhere(tricks, step):  # noqa: F811
    places = step(*tricks)
    assert not places.elsewhere
    assert not places.moved


@pytest.mark.parametrize("rho", [0, -0.05, math.nan, math.inf])
def test_rho_must_be_above_0(rho, tiny):
    with pytest.raises(Problem, match=r"ascent\.rho") as problem:
        assign(sam(tiny), "ascent.rho", rho)
    assert "\n" not in str(problem.value)
