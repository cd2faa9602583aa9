import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from harness.evidence import Trace, held_by
from harness.parts.optimizers import NAG
from harness.parts.precision import Round, Runner
from harness.tricks.fp16 import FP16, HalfRunner, fp16

CPU = torch.device("cpu")


def test_rounds_value_and_gradient_as_numpy_does():
    """Ordinary numbers, numbers that float16 holds only roughly or not at all, and ties."""
    rng = np.random.default_rng(0)
    special = [0, 1e-8, 6e-8, 6e-5, 1 + 2**-11, 1 + 3 * 2**-11, 65504, 65519, 65520, 1e6, -1e6]
    numbers = np.array([*special, *(rng.normal(size=200) * 10.0 ** rng.integers(-7, 5, 200))], dtype=np.float32)
    x = torch.from_numpy(numbers).requires_grad_()
    out = Round.apply(x, "float16")
    out.backward(torch.from_numpy(numbers[::-1].copy()))
    with np.errstate(over="ignore"):
        half = numbers.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(out.detach().numpy(), half)
    np.testing.assert_array_equal(x.grad.numpy(), half[::-1])
    assert out.dtype == x.grad.dtype == torch.float32
    assert np.isinf(half).any()
    assert (half != numbers).mean() > 0.9


def test_linear_and_conv_round_weight_output_and_gradients():
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 5), (3, 5)))
    weight = nn.Parameter(torch.from_numpy(w))
    with HalfRunner(CPU).forward():
        out = nn.functional.linear(torch.from_numpy(x), weight)
    half = w.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(out.detach().numpy(), x @ half.T, rtol=2**-10)
    np.testing.assert_array_equal(out.detach().numpy(), out.detach().numpy().astype(np.float16))
    out.sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), weight.grad.numpy().astype(np.float16))
    np.testing.assert_allclose(weight.grad.numpy(), np.tile(x.sum(0), (3, 1)), rtol=2**-10)

    conv = nn.Conv2d(2, 3, 3)
    with HalfRunner(CPU).forward():
        emulated = conv(torch.ones(1, 2, 5, 5))
    exact = conv(torch.ones(1, 2, 5, 5))
    assert torch.equal(emulated, emulated.half().float())
    assert not torch.equal(exact, emulated)
    assert torch.equal(exact, conv(torch.ones(1, 2, 5, 5))), "outside of it nothing is rounded"


def small():
    torch.manual_seed(0)
    front = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
    return nn.Sequential(*front, nn.Flatten(), nn.Linear(32, 4))


def losses(runner, context, lr=0.2):
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(64, 1, 8, 8, generator=generator), torch.randint(4, (64,), generator=generator)
    seen = []
    for _ in range(10):
        with context():
            z = net(x)
            loss = nn.functional.cross_entropy(z.float(), y)
        runner.backward(loss)
        runner.step(optimizer)
        seen.append(loss.item())
    return np.array(seen), net


def test_ten_steps_are_those_of_autocast():
    """Within 5e-4 of native float16 at each step; bfloat16, of eight bits, is ten times farther from float32."""
    runner = HalfRunner(CPU)
    emulated, net = losses(runner, runner.forward)
    native, _ = losses(HalfRunner(CPU), lambda: torch.autocast("cpu", torch.float16))
    coarse, _ = losses(Runner(), lambda: torch.autocast("cpu", torch.bfloat16))
    exact, _ = losses(Runner(), Runner().forward)
    assert np.abs(emulated - native).max() < 5e-4
    assert 0 < np.abs(emulated - exact).max() < np.abs(coarse - exact).max() / 3
    assert exact[0] - exact[-1] > 0.1, "it learns, so that steps matter"
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def one_weight(momentum=0.9):
    weight = nn.Parameter(torch.tensor([2.0]))
    return weight, NAG(momentum=momentum).build([{"params": [weight], "weight_decay": 0.0}], 256)


def test_a_tiny_gradient_survives_by_the_loss_scale():
    """1e-9 is less than half of the least float16, 6e-8; 65,536 times as much is not."""
    gradients = {}
    for scaled in (True, False):
        weight, _optimizer = one_weight()
        runner = HalfRunner(CPU)
        if not scaled:
            runner.scaler = torch.amp.GradScaler("cpu", enabled=False)
        with runner.forward():
            loss = nn.functional.linear(torch.ones(1, 1), weight[None]).sum() * 1e-9
        runner.scaler.scale(loss).backward()
        gradients[scaled] = weight.grad.item() / runner.scaler.get_scale()
    assert gradients[True] == pytest.approx(1e-9, rel=1e-3)
    assert gradients[False] == 0


def test_the_scale_does_not_reach_the_weights():
    weight, optimizer = one_weight(momentum=0)
    runner = HalfRunner(CPU)
    runner.backward((3 * weight).sum())
    runner.step(optimizer)
    assert weight.item() == pytest.approx(2 - 0.1 * 3, rel=1e-6)
    assert weight.grad is None


def test_overflow_skips_the_step_and_halves_the_scale():
    weight, optimizer = one_weight()
    runner = HalfRunner(CPU)
    runner.backward((3 * weight).sum())
    runner.step(optimizer)
    before, scale = weight.item(), runner.scaler.get_scale()
    runner.backward((float("inf") * weight).sum())
    runner.step(optimizer)
    assert weight.item() == before
    assert runner.scaler.get_scale() == scale / 2
    assert weight.grad is None
    runner.backward((3 * weight).sum())
    runner.step(optimizer)
    momentum = 3 + 0.9 * 3
    assert weight.item() == pytest.approx(before - 0.1 * (3 + 0.9 * momentum), rel=1e-5)
    assert runner.steps == 3


def test_overflow_in_the_first_step_leaves_no_momentum(monkeypatch):
    """The scale starts high, so that the first step is the likeliest to be skipped; fresh memory may hold anything."""
    monkeypatch.setattr(torch, "empty_like", lambda like, **options: torch.full_like(like, 1e6, **options))
    weight, optimizer = one_weight()
    runner = HalfRunner(CPU)
    runner.backward((float("inf") * weight).sum())
    runner.step(optimizer)
    assert weight.item() == 2
    runner.backward((3 * weight).sum())
    runner.step(optimizer)
    assert weight.item() == pytest.approx(2 - 0.1 * (3 + 0.9 * 3), rel=1e-5)


def test_emulated_on_a_cpu_and_native_on_cuda():
    assert HalfRunner(CPU).emulated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no such device, torch says so
        runner = FP16().on(torch.device("cuda"))
        context = runner.forward()
    assert not runner.emulated
    assert isinstance(context, torch.autocast)
    assert (context.device, context.fast_dtype) == ("cuda", torch.float16)


def test_a_whole_training_has_float32_masters_and_half_outputs(tiny, live):
    trained, trace = live(fp16(tiny))
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert trained.result["precision"] == {"name": "FP16", "emulated": True}
    assert set(trace.outputs.values()) == {"float16"}
    assert trace.runner.steps == 12
    plain, _ = live(tiny)
    gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(trained.result["epochs"], plain.result["epochs"], strict=True)]
    assert 0 < max(gaps) < 0.05


FAULTS = ["half masters", "rounded masters", "an output", "a gradient", "unscaled", "never stepped", "scale of 1"]
FAULTS += ["unscaled later", "an output later"]


@pytest.mark.parametrize("fault", FAULTS)
def test_half_a_half_is_caught(fault, tiny):
    net, runner = small(), HalfRunner(CPU)
    halves = {"0": "float16", "5": "float16"}
    trace = Trace(1, 4, model=net, runner=runner, outputs=halves, gradients={**halves}, lr=[0.1])
    trace.auditor = SimpleNamespace(found=[{"scale": 65536.0, "unrounded": 0.0}])
    weight, optimizer = one_weight()
    runner.backward(weight.sum())
    runner.step(optimizer)
    assert all(check.ok for check in FP16().proof(tiny, trace))
    if fault == "half masters":
        net[5].half()
    elif fault == "rounded masters":
        for p in net.parameters():
            p.data = p.data.half().float()
    elif fault == "an output":
        trace.outputs["5"] = "float32"
    elif fault == "unscaled":
        trace.auditor.found[0]["scale"] = 1.0
    elif fault == "unscaled later":
        trace.auditor.found.append({"scale": 1.0, "unrounded": 0.0})
    elif fault == "an output later":
        trace.auditor.found.append({"scale": 65536.0, "unrounded": 0.1})
    elif fault == "a gradient":
        trace.gradients["5"] = "float32"
    elif fault == "never stepped":
        runner.steps = 0
    elif fault == "scale of 1":
        runner.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    assert not all(check.ok for check in FP16().proof(tiny, trace))


def test_a_scale_that_came_back_to_its_start_was_updated(tiny):
    """After 2,000 steps it doubles, and where the next one overflows it is 65,536 again, with none counted since."""
    trace = Trace(1, 4, model=small(), runner=HalfRunner(CPU), outputs={"0": "float16"}, gradients={"0": "float16"})
    weight, optimizer = one_weight()
    trace.runner.scaler.set_growth_interval(5)
    for _ in range(5):
        trace.runner.backward(weight.sum())
        trace.runner.step(optimizer)
    assert trace.runner.scaler.get_scale() == 2 * 65536
    trace.runner.backward((float("inf") * weight).sum())
    trace.runner.step(optimizer)
    assert trace.runner.scaler.get_scale() == 65536
    trace.lr = [0.1] * 6
    assert all(check.ok for check in FP16().proof(tiny, trace))


def test_what_float16_holds():
    """As numpy says, number by number."""
    rng = np.random.default_rng(0)
    special = [0, 1, -0.5, 1e-8, 6e-8, 2**-24, 65504, 65520, 1e6, np.inf, 1 + 2**-10, 1 + 2**-11]
    for number in np.array([*special, *rng.normal(size=20), *rng.normal(size=20).astype(np.float16)], dtype=np.float32):
        with np.errstate(over="ignore"):
            assert held_by(torch.tensor([0.5, number]), "float16") == (np.float32(np.float16(number)) == number)
    assert held_by(torch.tensor([float("nan"), 1.0]), "float16")
    assert not held_by(torch.tensor([float("nan"), 1.0001]), "float16")


def test_a_first_step_that_overflows_to_nan_is_still_float16s():
    """It is left out, and the run goes on; all of its gradients may be nan."""
    trace, weight = Trace(1, 10), nn.Parameter(torch.zeros(64))
    trace._note_gradient_of("w", weight)
    (weight * float("nan")).sum().backward()
    assert trace.gradients == {"w": "float16"}
