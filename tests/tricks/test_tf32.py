import numpy as np
import pytest
import torch
from torch import nn

from harness import Problem
from harness.evidence import held_by, rounded
from harness.evidence.numbers import to_tf32
from harness.tricks.bf16 import bf16
from harness.tricks.fp16 import fp16
from harness.tricks.tf32 import TF32, TensorRunner, tf32, tf32_rounded

CPU = torch.device("cpu")
RUNNER = TensorRunner(CPU)


def by_hand(a):
    """Whole numbers of 2^(e - 10), ties away from 0; in float64."""
    a = np.asarray(a, dtype=np.float64)
    unit = 2.0 ** (np.floor(np.log2(np.abs(a))) - 10)
    return np.sign(a) * np.floor(np.abs(a) / unit + 0.5) * unit


def numbers():
    """Ties, numbers beyond float16's range, a carry into the next power of two."""
    rng = np.random.default_rng(0)
    special = [1 + 2**-11, -(1 + 2**-11), 1 + 3 * 2**-11, 1 + 2**-12, 2 - 2**-20, 1e6, 1e-20, -3e38, 65520]
    return np.array([*special, *(rng.normal(size=500) * 10.0 ** rng.integers(-30, 30, 500))], dtype=np.float32)


@pytest.mark.parametrize(
    "function", [tf32_rounded, to_tf32, lambda x: rounded(x, "tf32")], ids=["live", "again", "by name"]
)
def test_rounds_as_by_hand(function):
    x = torch.from_numpy(numbers())
    np.testing.assert_array_equal(function(x).numpy(), by_hand(numbers()))
    assert function(x)[0] == 1 + 2**-10, "a tie goes away from 0; to even it would be 1"
    odd = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])
    torch.testing.assert_close(function(odd), odd, rtol=0, atol=0, equal_nan=True)
    assert held_by(function(x), "tf32")
    assert not held_by(x, "tf32")


def test_cut_off_by_hand():
    a = numbers().astype(np.float64)
    unit = 2.0 ** (np.floor(np.log2(np.abs(a))) - 10)
    np.testing.assert_array_equal(to_tf32(torch.from_numpy(numbers()), nearest=False).numpy(), np.fix(a / unit) * unit)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_convolution_and_its_gradients_by_hand(layout):
    """Rounded: input, weight, the gradient that comes. Not rounded: what comes of them, and the bias's gradient."""
    rng = np.random.default_rng(0)
    shapes = (3, 6, 7, 7), (4, 3, 3, 3), (4,), (3, 4, 4, 4)
    x, w, b, g = (torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for shape in shapes)
    x = x.contiguous(memory_format=layout)
    live = [t.clone().requires_grad_() for t in (x, w, b)]
    with RUNNER.forward():
        out = conv(*live)
    RUNNER.backward((out * g).sum())
    near = [torch.from_numpy(by_hand(t.numpy())).requires_grad_() for t in (x, w)]
    due = conv(*near, b.double())  # type: ignore[call-arg]
    due.backward(torch.from_numpy(by_hand(g.numpy())))
    for seen, right in ((out, due), (live[0].grad, near[0].grad), (live[1].grad, near[1].grad)):
        assert seen.dtype == torch.float32
        torch.testing.assert_close(seen.double(), right, rtol=1e-5, atol=1e-5)
        assert not held_by(seen, "tf32")
    torch.testing.assert_close(live[2].grad.double(), g.double().sum((0, 2, 3)), rtol=1e-6, atol=1e-6)
    assert (conv(x, w, b).double() - due).abs().max() > 1e-4, "float32 is far from it"


def conv(x, w, b):
    return nn.functional.conv2d(x, w, b, stride=2, padding=1, groups=2)


def test_a_linear_layer_by_hand():
    rng = np.random.default_rng(0)
    x, w, b, g = (torch.from_numpy(rng.normal(size=s).astype(np.float32)) for s in ((3, 2, 8), (5, 8), (5,), (3, 2, 5)))
    layer = nn.Linear(8, 5)
    layer.load_state_dict({"weight": w, "bias": b})
    x.requires_grad_()
    with RUNNER.forward():
        out = layer(x)
    (out * g).sum().backward()
    nx, nw, ng = (by_hand(t.detach().numpy()) for t in (x, w, g))
    np.testing.assert_allclose(out.detach().numpy(), nx @ nw.T + b.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), ng @ nw, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.einsum("nto,nti->oi", ng, nx), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.bias.grad.numpy(), g.double().sum((0, 1)).numpy(), rtol=1e-5, atol=1e-6)


def test_relu_may_change_an_output_in_place():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 1))
    with RUNNER.forward():
        loss = net(torch.ones(2, 4)).sum()
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())


def test_float32s_range_is_kept():
    """1e-30 is 0 in float16; it is not here, forward and backward."""
    weight = nn.Parameter(torch.ones(1, 1))
    with RUNNER.forward():
        loss = nn.functional.linear(torch.full((1, 1), 1e-30), weight).sum()
    RUNNER.backward(loss)
    assert loss.item() == pytest.approx(1e-30, rel=2**-11)
    assert weight.grad.item() == pytest.approx(1e-30, rel=2**-11)
    assert RUNNER.state() == {}


@pytest.mark.parametrize(("one", "other"), [(tf32, fp16), (fp16, tf32), (tf32, bf16), (bf16, tf32)])
def test_two_precisions_are_refused_in_a_line(one, other, tiny):
    with pytest.raises(Problem, match="is there already: leave one of the two tricks out, or have them as branches"):
        one(other(tiny))
    assert one(one(tiny)) == one(tiny)


def test_a_whole_training_is_float32_but_for_its_products(tiny, live):
    trained, trace = live(tf32(tiny))
    assert trained.result["status"] == "finished"
    assert trained.result["precision"] == {"name": "TF32", "emulated": True}
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert set(trace.outputs.values()) == set(trace.gradients.values()) == {"float32"}
    [row] = [row for row in trained.result["evidence"] if row["part"] == "TF32" and row["expected"] == "all"]
    coarse, told = map(int, row["seen"].split(" of "))
    assert coarse == told >= 10
    assert trained.result["opinions"]["TF32"] == "second opinion"
    plain, other = live(tiny)
    gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(trained.result["epochs"], plain.result["epochs"], strict=True)]
    assert 0 < max(gaps) < 0.1
    assert not all(check.ok for check in TF32().proof(tf32(tiny), other)), "a run in float32"
    assert not all(check.ok for check in tiny.precision.proof(tiny, trace)), "and one in TF32 that says float32"
