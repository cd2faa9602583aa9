from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.evidence import Trace
from harness.parts.precision import FP32


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


def test_tensor_float_32_is_off():
    torch.backends.cudnn.allow_tf32 = True
    FP32().on(torch.device("cpu"))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


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
    trace.auditor = SimpleNamespace(found=[{"unrounded": share} for share in unrounded])
    assert all(check.ok for check in FP32().proof(tiny, trace)) == ok
