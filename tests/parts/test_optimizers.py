import numpy as np
import pytest
import torch
from torch import nn

from harness.parts.optimizers import NAG


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
