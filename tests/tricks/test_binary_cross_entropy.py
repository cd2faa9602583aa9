import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from harness.tricks.binary_cross_entropy import BinaryCrossEntropy, binary_cross_entropy
from harness.tricks.distillation import distillation


def test_by_hand():
    """Logits of 0 say a half of each class: log 2, and a slope of ± 1/2 over N·K."""
    value, slope = BinaryCrossEntropy().reference(np.array([[0.0, 1, 0, 0]]), np.zeros((1, 4)))
    assert value == pytest.approx(math.log(2))
    np.testing.assert_allclose(slope, [[0.125, -0.125, 0.125, 0.125]])


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_what_is_trained_is_the_formula_with_its_gradient(classes):
    rng = np.random.default_rng(0)
    z, y = 3 * rng.standard_normal((8, classes)), rng.dirichlet(np.ones(classes), 8)
    live = torch.from_numpy(z).requires_grad_()
    loss = BinaryCrossEntropy()(live, torch.from_numpy(y))
    loss.backward()
    p = expit(z)
    assert loss.item() == pytest.approx(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean(), rel=1e-10)
    np.testing.assert_allclose(live.grad.numpy(), (p - y) / y.size, rtol=1e-8, atol=1e-12)


def test_the_test_loss_is_the_task_s_whatever_is_trained(tiny, live):
    """At the first logits of either run cross-entropy is some log K; binary cross-entropy starts near log 2."""
    trained, _ = live(binary_cross_entropy(tiny))
    first = trained.result["epochs"][0]
    assert first["loss"] == pytest.approx(math.log(2), abs=0.3)
    assert first["test_loss"] > 1.5


def test_goes_with_a_teacher(tiny, live):
    trained, _ = live(distillation(binary_cross_entropy(tiny), model=tiny.model, tricks=()))
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
