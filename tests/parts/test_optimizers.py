import numpy as np
import pytest
import torch
from torch import nn

from harness.parts.optimizers import NAG
from tests.parts.test_precision import first_step


@pytest.mark.parametrize(("batch_size", "rate"), [(256, 0.1), (1024, 0.4), (32, 0.0125), (1, 0.000390625)])
def test_rate_grows_with_the_batch(batch_size, rate):
    assert NAG(lr=0.1, per=256).rate(batch_size) == pytest.approx(rate, rel=1e-12)


def test_rate_as_given():
    assert NAG(lr=0.3, per=None).rate(1024) == 0.3


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_by_hand(momentum):
    """v ← μv + g + wd·w; w ← w - η(g + wd·w + μv): the look-ahead form, on two groups of different decay."""
    start, rng = np.array([1.0, -2.0, 3.0]), np.random.default_rng(0)
    weights = [nn.Parameter(torch.tensor(start)) for _ in range(2)]
    groups = [{"params": [weights[0]], "weight_decay": 0.01}, {"params": [weights[1]], "weight_decay": 0.0}]
    optimizer = NAG(lr=0.1, momentum=momentum).build(groups, batch_size=512)
    for decay, weight in zip((0.01, 0.0), weights, strict=True):
        w, v = start.copy(), np.zeros(3)
        for _ in range(5):
            g = rng.normal(size=3)
            optimizer.zero_grad()
            weight.grad = torch.tensor(g)
            optimizer.step()
            g = g + decay * w
            v = momentum * v + g
            w = w - 0.2 * (g + momentum * v)
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-12)


def stepped(tiny, scales, decay=0.01, momentum=0.9, nesterov=True, unscaled=True, skipped=()):
    """A trace of a network whose last parameter was stepped by hand: gradients scaled, some steps left out."""
    rng, trace = np.random.default_rng(1), first_step(scales[0])
    trace.model = nn.Linear(3, 4)
    bias = trace.model.bias
    groups = [{"params": [trace.model.weight], "weight_decay": 0.0}, {"params": [bias], "weight_decay": decay}]
    trace.optimizer = NAG().build(groups, 256)
    trace.lr = [0.1] * len(scales)
    w, v = rng.normal(size=4), np.zeros(4)
    for i, scale in enumerate(scales):
        g = rng.normal(size=4)
        trace.moves.append((torch.tensor(w), torch.tensor(g * scale)))
        if i not in skipped:
            slope = (g if unscaled else g * scale) + decay * w
            v = momentum * v + slope
            w = w - 0.1 * (slope + momentum * v if nesterov else v)
    bias.data = torch.tensor(w)
    return all(check.ok for check in NAG(per=None).proof(tiny, trace))


@pytest.mark.parametrize(
    ("how", "ok"),
    [
        ({}, True),
        ({"skipped": [2]}, False),  # with no scaler no step is left out
        ({"nesterov": False}, False),
        ({"momentum": 0.8}, False),
        ({"scales": [65536] * 5}, True),
        ({"scales": [65536, 32768, 32768, 16384, 16384], "skipped": [0, 2]}, True),
        ({"scales": [65536] * 5, "skipped": [0]}, False),
        ({"scales": [65536] * 5, "unscaled": False}, False),
        ({"scales": [65536] * 5, "momentum": 0.8}, False),
    ],
    ids=str,
)
def test_proof_follows_the_last_parameter(how, ok, tiny):
    assert stepped(tiny, **{"scales": [1] * 5, **how}) == ok


def test_a_diverged_run_need_not_have_reached_its_peak(tiny):
    trace = first_step(1)
    trace.optimizer = NAG().build([{"params": [nn.Parameter(torch.zeros(1))], "weight_decay": 0.0}], 256)
    trace.lr = [0.01, 0.02]
    assert [check.ok for check in NAG(per=None).proof(tiny, trace)] == [False, True]
    trace.diverged = True
    assert [check.ok for check in NAG(per=None).proof(tiny, trace)] == [True, True]
    trace.lr = [0.2]
    assert [check.ok for check in NAG(per=None).proof(tiny, trace)] == [False, True]
