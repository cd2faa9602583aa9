from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.evidence import Trace
from harness.parts.precision import FP32, multiplied
from harness.tricks.bf16 import BF16
from harness.tricks.fp16 import FP16
from harness.tricks.tf32 import TF32


def test_runs_in_float32_and_clears_gradients():
    runner = FP32().on(torch.device("cpu"))
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with runner.forward():
        loss = nn.functional.linear(torch.tensor([[1.0001]]), weight[None]).sum()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(2.0002, rel=1e-7), "float16 would make it 2"
    runner.backward(loss)
    runner.step(optimizer)
    assert weight.item() == pytest.approx(2 - 0.5 * 1.0001, rel=1e-7)
    assert weight.grad is None


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def flags():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("part", [FP32(), FP16(), BF16(), TF32()], ids=lambda part: type(part).__name__)
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_tf32_is_off_whatever_ran_before(part, device):
    """And is on within TF32's own forward and backward on CUDA alone."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    runner = part.on(device)
    assert flags() == (False, False)
    seen, native = [], isinstance(part, TF32) and device == CUDA
    loss = SimpleNamespace(backward=lambda: seen.append(flags()))
    if isinstance(part, TF32):
        with runner.forward():
            seen.append(flags())
        runner.backward(loss)
        assert seen == 2 * [(native, native)]
    assert flags() == (False, False)


def test_an_error_in_a_forward_leaves_tf32_off():
    runner = TF32().on(CUDA)
    with pytest.raises(ZeroDivisionError, match="True, True"), runner.forward():
        raise ZeroDivisionError(flags())
    assert flags() == (False, False)


def seeing(found, device=CPU):
    return SimpleNamespace(found=found, replay=SimpleNamespace(device=device))


ALL = {"plain": 4.0, "looked": 5.0}  # of one it cannot be told
ROUNDED = {"coarse": 4.0, "looked": 5.0}


@pytest.mark.parametrize(
    ("part", "device", "found", "ok"),
    [
        (FP32(), CPU, [ALL, ALL], True),
        (FP32(), CUDA, [ALL, ALL], True),
        (FP32(), CPU, [ALL, ALL | {"coarse": 1.0}], False),
        (FP32(), CPU, [ALL, ALL | {"neither": 1.0}], False),
        (FP32(), CUDA, [ALL, ALL | {"neither": 1.0}], True),  # Winograd's, say
        (FP32(), CUDA, [ALL, ALL | {"allowed": 1.0}], False),  # and no layer took it
        (FP32(), CPU, [{"looked": 5.0}], True),  # a dead network
        (TF32(), CPU, [ROUNDED, ROUNDED], True),
        (TF32(), CPU, [ROUNDED, ALL], False),
        (TF32(), CPU, [ROUNDED, ROUNDED | {"neither": 1.0}], False),
        (TF32(), CPU, [{"looked": 5.0}], False),
        (TF32(), CPU, [ROUNDED | {"allowed": 5.0}], False),
        (
            TF32(),
            CUDA,
            [ALL | {"coarse": 1.0, "allowed": 5.0}, ALL | {"allowed": 5.0}],
            True,
        ),  # each kernel as it likes
        (TF32(), CUDA, [ALL | {"allowed": 5.0}], False),  # a device that has none
        (TF32(), CUDA, [ROUNDED | {"allowed": 4.0}], False),
        (TF32(), CUDA, [], False),
    ],
)
def test_proof_sees_which_numbers_were_multiplied(part, device, found, ok, tiny):
    trace = Trace(1, 10)
    trace.auditor = seeing([gaps | {"unrounded": 1.0} for gaps in found], device)
    assert all(check.ok for check in part.proof(tiny, trace) if "step 1" not in check.what) == ok
    trace.diverged = True
    assert next(iter(multiplied(part.kind, trace))).ok


@pytest.mark.parametrize(
    ("outputs", "gradients", "unrounded", "ok"),
    [
        ("float32 float16", "float32 float32", [1, 0.5], True),
        ("float16 float16", "float32 float32", [1, 1], False),
        ("float32 float32", "float16 float16", [1, 1], False),
        ("float32 float32", "float32 float32", [1, 0], False),  # later on
    ],
)
def test_proof_sees_a_network_that_ran_in_half(outputs, gradients, unrounded, ok, tiny):
    seen = {"outputs": outputs, "gradients": gradients}
    trace = Trace(1, 10, **{what: dict(enumerate(kinds.split())) for what, kinds in seen.items()})
    trace.auditor = seeing([{"unrounded": share} for share in unrounded])
    assert all(check.ok for check in FP32().proof(tiny, trace)) == ok
