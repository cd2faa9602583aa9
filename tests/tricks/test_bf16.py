import warnings

import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness.evidence import held_by
from harness.parts.precision import Round
from harness.tricks.bf16 import BrainRunner, bf16
from harness.tricks.fp16 import fp16

CPU = torch.device("cpu")


def by_hand(a):
    """Bfloat16 in numpy: the upper 16 bits of float32, rounded to the nearest, ties to an even last bit."""
    bits = np.asarray(a, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def test_rounds_value_and_gradient_as_numpy_does():
    """Numbers beyond float16's range are held, and ties go to the even side."""
    rng = np.random.default_rng(0)
    special = [0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-9, 65520, 1e6, 1e-20, -3e38]
    numbers = np.array([*special, *(rng.normal(size=200) * 10.0 ** rng.integers(-20, 20, 200))], dtype=np.float32)
    x = torch.from_numpy(numbers).requires_grad_()
    out = Round.apply(x, "bfloat16")
    out.backward(torch.from_numpy(numbers[::-1].copy()))
    np.testing.assert_array_equal(out.detach().numpy(), by_hand(numbers))
    np.testing.assert_array_equal(x.grad.numpy(), by_hand(numbers[::-1]))
    assert (by_hand(numbers) != numbers).mean() > 0.9
    assert held_by(out, "bfloat16")
    assert not held_by(x, "bfloat16")


def test_a_layer_is_torchs_own_in_bfloat16():
    """Weight, output and gradients are those of torch's native bfloat16 kernel, to its last bit."""
    rng = np.random.default_rng(0)
    x, w = (torch.from_numpy(by_hand(rng.normal(size=shape))) for shape in ((4, 5), (3, 5)))
    weight, native = nn.Parameter(w + 1e-4), nn.Parameter(w + 1e-4)
    with BrainRunner(CPU).forward():
        out = nn.functional.linear(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        due = nn.functional.linear(x, native)
    assert due.dtype == torch.bfloat16
    torch.testing.assert_close(out, due.float(), rtol=2**-7, atol=0)
    assert held_by(out, "bfloat16")
    out.sum().backward()
    due.sum().backward()
    torch.testing.assert_close(weight.grad, native.grad, rtol=2**-7, atol=0)
    assert held_by(weight.grad, "bfloat16")


def test_on_cuda_it_is_autocast():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may be no card here
        context = BrainRunner(torch.device("cuda")).forward()
    assert (context.device, context.fast_dtype) == ("cuda", torch.bfloat16)
    assert not BrainRunner(torch.device("cuda")).emulated


def test_a_tiny_gradient_survives_without_a_loss_scale():
    """1e-9 is less than half of the least float16; bfloat16 holds it, to eight bits."""
    weight = nn.Parameter(torch.ones(1, 1))
    runner = BrainRunner(CPU)
    with runner.forward():
        loss = nn.functional.linear(torch.ones(1, 1), weight).sum() * 1e-9
    runner.backward(loss)
    assert weight.grad.item() == pytest.approx(1e-9, rel=2**-8)
    assert runner.state() == {}


@pytest.mark.parametrize(("one", "other"), [(bf16, fp16), (fp16, bf16)])
def test_two_precisions_are_refused_in_a_line(one, other, tiny):
    with pytest.raises(Problem, match="is there already: leave one of the two tricks out, or have them as branches"):
        one(other(tiny))
    assert one(one(tiny)) == one(tiny)


def test_a_whole_training_has_float32_masters_and_bfloat16_outputs(tiny, live):
    trained, trace = live(bf16(tiny))
    assert trained.result["status"] == "finished"
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert trained.result["precision"] == {"name": "BF16", "emulated": True}
    assert set(trace.outputs.values()) == set(trace.gradients.values()) == {"bfloat16"}
    plain, _ = live(tiny)
    gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(trained.result["epochs"], plain.result["epochs"], strict=True)]
    assert 0 < max(gaps) < 0.2
