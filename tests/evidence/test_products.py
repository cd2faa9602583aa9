"""What layers multiplied, told from what they gave; against numpy, and against rounding by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.evidence import Products
from harness.evidence.products import LAYERS, Sample, as_due, of_weight
from harness.parts.precision import Runner
from harness.tricks.tf32 import Emulated, TensorRunner

CPU = torch.device("cpu")
PLAIN, RUNNER = Runner(), TensorRunner(CPU)


@pytest.fixture(autouse=True)
def off():
    """Torch's own way is that cuDNN may."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 6, 1),
        nn.Flatten(),
        nn.Linear(6 * 16, 4),
    )


def watched(model, x, runner=PLAIN, times=2):
    found = []
    for time in range(times):
        products = Products(time)
        products.watch(model)
        with runner.forward():
            loss = (model(x) ** 2).sum()
        products.answered()
        loss.backward()
        products.work_out()
        found.append(dict(products.found))
    return found


def test_every_layer_in_turn_and_its_gradient():
    x = drawn(5, 3, 8, 8)
    assert watched(network(), x) == 2 * [{"looked": 2 * LAYERS, "allowed": 0, "plain": 2 * LAYERS}]
    assert watched(network(), x, RUNNER) == 2 * [{"looked": 2 * LAYERS, "allowed": 0, "coarse": 2 * LAYERS}]


@pytest.mark.parametrize("flag", [torch.backends.cudnn, torch.backends.cuda.matmul], ids=["cudnn", "matmul"])
def test_flags_are_noted(flag):
    flag.allow_tf32 = True
    assert watched(network(), drawn(5, 3, 8, 8), times=1) == [{"looked": 4, "allowed": 4, "plain": 4}]


def test_a_pass_that_is_not_watched_is_not_seen():
    """Nor the backward of another pass, as of one that is done a second time, compiled."""
    model, x, products = network(), drawn(5, 3, 8, 8), Products()
    products.watch(model)
    one = model(x).sum()
    products.answered()
    one.backward()
    assert not any(p._backward_hooks for p in model.parameters()), "a compiler would stumble over them"
    model(2 * x).sum().backward()
    products.work_out()
    assert products.found == {"looked": 4, "allowed": 0, "plain": 4}
    model(x).sum().backward()
    products.work_out()
    assert products.found["looked"] == 4


class Twice(nn.Module):
    """One layer, called twice: its gradient is of neither call."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x):
        return self.fc(self.fc(x))


class Standardised(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight - self.weight.mean())


def test_what_is_not_known_is_left_out():
    assert watched(Twice(), drawn(5, 6), times=1) == [{"looked": 2, "allowed": 0, "plain": 2}]
    assert watched(Standardised(6, 4), drawn(5, 6), times=1) == [{}]
    assert watched(nn.Conv2d(3, 3, 3, padding="same"), drawn(2, 3, 8, 8), times=1) == [{}]
    assert watched(nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), drawn(2, 3, 8, 8), times=1) == [{}]
    frozen = nn.Linear(6, 4).requires_grad_(False)
    assert watched(frozen, drawn(5, 6).requires_grad_(), times=1) == [{"looked": 1, "allowed": 0, "plain": 1}]


def test_rows_of_many_places_are_rows():
    """As a transformer's: N x T x C."""
    assert watched(nn.Linear(6, 4), drawn(5, 7, 6), RUNNER, times=1) == [{"looked": 2, "allowed": 0, "coarse": 2}]


def test_a_gradient_is_autograds_in_one_piece_or_many(monkeypatch):
    x, g = drawn(7, 2, 8, 8).double(), drawn(7, 3, 4, 4, seed=1).double()
    weight = torch.zeros(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    nn.functional.conv2d(x, weight, stride=2, padding=1).backward(g)
    for atonce in (2**20, 2 * x[0].numel(), 1):
        monkeypatch.setattr("harness.evidence.products.ATONCE", atonce)
        torch.testing.assert_close(of_weight({"stride": 2, "padding": 1}, weight.shape[2:], x, g), weight.grad)


def by_hand(a, step=0.5):
    """Eleven bits: whole numbers of 2^(e - 10), ties away from 0."""
    a = np.asarray(a, dtype=np.float64)
    unit = 2.0 ** (np.floor(np.log2(np.abs(a))) - 10)
    return np.sign(a) * np.floor(np.abs(a) / unit + step) * unit


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda a: a, "plain"),
        (by_hand, "coarse"),
        (lambda a: by_hand(a, 0.0), "neither"),  # cut off: CUDA's alone
        (lambda a: np.float32(a).astype(np.float16), "coarse"),  # as many bits
        (lambda a: a * (1 + 1e-4), "neither"),
        (lambda a: a + np.nan, "neither"),
    ],
)
def test_numbers_are_told_from_a_product(change, kind):
    a, b = (drawn(*shape).numpy() for shape in ((5, 40), (40, 3)))
    seen = change(a).astype(np.float64) @ change(b).astype(np.float64)
    assert Sample(torch.matmul, *map(torch.from_numpy, (a, b, seen.astype(np.float32)))).kind() == kind


def test_what_would_be_the_same_either_way_is_not_told():
    a, b = (torch.from_numpy(by_hand(drawn(*shape).numpy())).float() for shape in ((5, 40), (40, 3)))
    assert Sample(torch.matmul, a, b, a @ b).kind() == ""
    assert Sample(torch.matmul, 0 * a, b, 0 * a @ b).kind() == ""
    assert Sample(torch.matmul, a + torch.nan, b, a @ b).kind() == ""


def test_sums_that_blur_the_two_are_not_told():
    """A bias that is so great that float32 loses the product's last bits."""
    a, b = drawn(5, 40), drawn(40, 3)
    for bias, kind in ((1.0, "plain"), (1e5, "")):
        assert Sample(torch.matmul, a, b, a @ b + bias, torch.tensor(bias)).kind() == kind


def test_float32s_own_sums_are_near_enough():
    """Of 20,000 products, all above 0, either way."""
    x, w = drawn(2, 20_000).abs(), drawn(4, 20_000, seed=1).abs()
    with Emulated():
        coarse = nn.functional.linear(x, w)
    for seen, kind in ((nn.functional.linear(x, w), "plain"), (coarse, "coarse")):
        assert Sample(nn.functional.linear, x, w, seen).kind() in (kind, "")


@pytest.mark.parametrize(
    ("kind", "found", "native", "ok"),
    [
        ("float32", {"plain": 1, "looked": 2}, False, True),
        ("float32", {"plain": 1, "coarse": 1}, True, False),
        ("float32", {"plain": 1, "neither": 1}, True, True),
        ("float32", {"plain": 1, "neither": 1}, False, False),
        ("tf32", {"coarse": 1, "looked": 2}, False, True),
        ("tf32", {"coarse": 1, "looked": 2}, True, False),
        ("tf32", {"plain": 1, "looked": 2, "allowed": 2}, True, True),
        ("tf32", {"plain": 1, "looked": 2}, False, False),
    ],
)
def test_what_is_due(kind, found, native, ok):
    assert as_due(kind, found, native) == ok
