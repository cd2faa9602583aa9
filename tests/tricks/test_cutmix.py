import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import CutMix as Torchvision

from harness.tricks.cutmix import CutMix, cutmix, cutmix_batch
from harness.tricks.mixup import mixup

rng = np.random.default_rng


class Rolled:
    """Our draws, but that the partner of each image is the one before it, as torchvision's is."""

    def __init__(self, seed):
        self.own = rng(seed)
        self.beta, self.integers = self.own.beta, self.own.integers

    def permutation(self, n):
        return np.roll(np.arange(n), 1)


def batch(n=6, height=9, width=13, classes=5):
    x = torch.from_numpy(rng(0).normal(size=(n, 3, height, width)))
    return x, torch.from_numpy(rng(1).dirichlet(np.ones(classes), size=n))


@pytest.mark.parametrize("seed", range(40))
def test_as_torchvisions_by_the_same_draws(seed, monkeypatch):
    x, y = batch()
    ours, again, theirs = Rolled(seed), Rolled(seed), Torchvision(alpha=0.7, num_classes=None)
    monkeypatch.setattr(theirs, "_dist", type("Drawn", (), {"sample": lambda self, shape: again.beta(0.7, 0.7)})())
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor([int(again.integers(high))]))
    due_x, due_y = theirs(x, y)
    mixed_x, mixed_y = CutMix(alpha=0.7)(x, y, ours)
    assert torch.equal(mixed_x, due_x)
    torch.testing.assert_close(mixed_y, due_y)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("shape", [(8, 8), (9, 13), (1, 1), (40, 5)])
def test_the_second_writing_does_the_same(alpha, shape):
    x, y = batch(5, *shape)
    for seed in range(30):
        ours, due = CutMix(alpha=alpha)(x, y, rng(seed)), CutMix(alpha=alpha).reference(x.numpy(), y.numpy(), rng(seed))
        for mine, other in zip(ours, due, strict=True):
            np.testing.assert_allclose(mine.numpy(), other, atol=1e-12)


def test_a_box_by_hand():
    x, y = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 4, 5), torch.eye(2)
    mixed_x, mixed_y = cutmix_batch(x, y, (0, 3, 2, 5), torch.tensor([1, 0]))
    assert mixed_x[0, 0].tolist() == [[0, 0, 0, 1, 1]] * 2 + [[0] * 5] * 2
    assert mixed_x[1, 0].tolist() == [[1, 1, 1, 0, 0]] * 2 + [[1] * 5] * 2
    torch.testing.assert_close(mixed_y, torch.tensor([[0.8, 0.2], [0.2, 0.8]]))
    assert x[0].sum() == 0, "the input is left as it was"


def test_boxes_are_of_the_area_that_was_drawn_where_no_border_cuts_them():
    """At 400 px rounding is 1 % of a side: whole boxes have area 1 - λ, λ uniform at α = 1."""
    areas, cut = [], 0
    for seed in range(600):
        inside, _ = CutMix().drawn(2, 400, 400, rng(seed))
        lam = rng(seed).beta(1, 1)
        cut += inside.mean() < 1 - lam - 0.02
        assert inside.mean() <= 1 - lam + 1e-9
        areas.append(1 - lam)
    assert stats.kstest(areas, "uniform").pvalue > 0.01
    assert 200 < cut < 590


def test_one_trick_once(tiny):
    assert cutmix(cutmix(tiny), alpha=0.5).mix == (CutMix(alpha=0.5),)
    assert cutmix(tiny).epochs == tiny.epochs


def test_both_mixers_stand_in_one_stack_and_each_is_told_from_the_other(tiny, live):
    for spec in (cutmix(mixup(tiny, epochs=1)), mixup(cutmix(tiny), epochs=1)):
        trained, trace = live(spec)
        assert [row for row in trained.result["evidence"] if not row["ok"]] == []
        spoke = {row["part"] for row in trained.result["evidence"]}
        assert spoke >= {"Mixup", "CutMix"}
    assert len(trace.fed[0]) == 4, "labels, and targets before, between and after"


@pytest.mark.parametrize("fault", ["targets", "images", "area", "corner"])
def test_own_evidence_catches_half_a_cutmix(fault, tiny, live):
    class Faulty(CutMix):
        def __call__(self, x, y, rng):
            mixed_x, mixed_y = super().__call__(x, y, rng)
            if fault == "targets":
                return x, mixed_y
            if fault == "images":
                return mixed_x, y
            if fault == "area":
                return mixed_x, torch.lerp(mixed_y, y, 0.01)
            mixed_x[:, :, -1, -1] = x.flip(0)[:, :, -1, -1]
            return mixed_x, mixed_y

    trained, _ = live(tiny.but(mix=(Faulty(),)))
    assert trained.result["status"] == "refused"
    assert any(row["part"] == "Faulty" and not row["ok"] for row in trained.result["evidence"])
