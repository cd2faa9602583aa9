import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from harness.evidence import Trace
from harness.tricks.label_smoothing import Smoothing, label_smoothing, smooth


def one_hot(labels, classes):
    return nn.functional.one_hot(torch.tensor(labels), classes).float()


def test_by_hand():
    """Eq. 4 at ε = 0.1 and K = 5: 0.9 on the true class and 0.025 on each of the four others."""
    expected = [[0.025, 0.025, 0.9, 0.025, 0.025], [0.9, 0.025, 0.025, 0.025, 0.025]]
    np.testing.assert_allclose(smooth(one_hot([2, 0], 5), 0.1).numpy(), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("eps", "classes"),
    [(0.01, 2), (0.1, 2), (0.5, 2), (0.1, 3), (0.6, 3), (0.01, 10), (0.1, 10), (0.9, 10), (0.1, 1000)],
)
def test_loss_is_torchs_at_the_strength_that_means_the_same(eps, classes):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(16, classes, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(classes, (16,), generator=generator)
    ours = nn.functional.cross_entropy(z, smooth(one_hot(labels.tolist(), classes).double(), eps))
    torchs = nn.functional.cross_entropy(z, labels, label_smoothing=eps * classes / (classes - 1))
    torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("classes", "gap"), [(10, 4.39), (1000, 9.10)])
def test_best_gap_between_logits(classes, gap):
    """log((K - 1)(1 - ε)/ε): at K = 10 it is 4.39, where ε/K on all classes would make it 4.51."""
    target = smooth(one_hot([0], classes), 0.1)[0].double()
    assert (target[0].log() - target[1].log()).item() == pytest.approx(gap, abs=0.005)


def test_mixed_targets_are_smoothed_each_in_its_share():
    mixed = 0.3 * one_hot([1], 4) + 0.7 * one_hot([3], 4)
    by_parts = 0.3 * smooth(one_hot([1], 4), 0.2) + 0.7 * smooth(one_hot([3], 4), 0.2)
    torch.testing.assert_close(smooth(mixed, 0.2), by_parts)
    assert smooth(mixed, 0.2).sum().item() == pytest.approx(1)


def test_is_once_in_its_slot_and_replaced_by_another_strength(tiny):
    assert label_smoothing(tiny).targets == (Smoothing(smoothing=0.1),)
    assert label_smoothing(label_smoothing(tiny), smoothing=0.2).targets == (Smoothing(smoothing=0.2),)
    with pytest.raises(ValueError, match="less than 1"):
        label_smoothing(tiny, smoothing=1)


@pytest.mark.parametrize("others", [0.1 / 10, 0.0])
def test_other_targets_are_caught(others, tiny):
    """ε/K on all classes, as libraries do it, and none at all."""
    labels = torch.arange(10)
    hard = one_hot(labels.tolist(), 10)
    fed = hard * (1 - 10 * others) + others
    rows = Smoothing(smoothing=0.1).proof(tiny, Trace(1, 10, fed=[(labels, fed, fed)]))
    assert [check.ok for check in rows] == [False, False, False]
    right = hard * 0.9 + (1 - hard) * 0.1 / 9
    rows = Smoothing(smoothing=0.1).proof(tiny, Trace(1, 10, fed=[(labels, right, right)]))
    assert [check.ok for check in rows] == [True, True, True]


def test_entropy_is_scipys(tiny):
    right = one_hot([3], 10) * 0.9 + (1 - one_hot([3], 10)) * 0.1 / 9
    *_, row = Smoothing(smoothing=0.1).proof(tiny, Trace(1, 10, fed=[(torch.tensor([3]), right, right)]))
    assert row.expected == row.seen == f"{stats.entropy([0.9] + [0.1 / 9] * 9):.4f}"
