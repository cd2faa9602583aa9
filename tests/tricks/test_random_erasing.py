import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import RandomErasing as Torchvision

from harness import Problem
from harness.tricks.random_erasing import RandomErasing, random_erasing
from tests.kit.coloured import Coloured

rng = np.random.default_rng


def images(n=12, c=3, h=9, w=13):
    return torch.from_numpy(rng(0).uniform(1, 255, size=(n, c, h, w)).astype(np.float32))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shape", [(9, 13), (32, 32), (3, 40)])
def test_as_torchvisions_by_the_same_draws(seed, shape, monkeypatch):
    x, draw = images(6, 3, *shape), rng(seed)
    monkeypatch.setattr(torch, "rand", lambda *size: torch.tensor([draw.random()], dtype=torch.float64))
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, a, b: self.fill_(draw.uniform(float(a), float(b))))
    monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.tensor(int(draw.integers(low, high))))
    due = torch.stack([Torchvision(p=0.5, value=(7, 8, 9))(image) for image in x])
    assert torch.equal(RandomErasing(value=(7, 8, 9))(x, rng(seed)), due)
    assert shape[0] < 9 or not torch.equal(due, x), "in 3 rows few rectangles fit"


def test_the_defaults_are_torchvisions():
    ours, theirs = RandomErasing(), Torchvision()
    assert (ours.p, ours.scale, ours.ratio, list(ours.value)) == (theirs.p, theirs.scale, theirs.ratio, theirs.value)


@pytest.mark.parametrize("part", [RandomErasing(), RandomErasing(p=1, value=(1, 2, 3), scale=(0.5, 0.9))])
@pytest.mark.parametrize("shape", [(9, 13), (2, 2), (3, 40)])
def test_the_second_writing_does_the_same(part, shape):
    x = images(40, 3, *shape)
    for seed in range(5):
        np.testing.assert_array_equal(part(x, rng(seed)).numpy(), part.reference(x.numpy(), rng(seed)))


def test_half_of_the_images_and_of_these_2_to_33_percent():
    x = torch.ones(2000, 1, 40, 40)
    made = RandomErasing()(x, rng(0))
    shares = 1 - made.mean((1, 2, 3)).numpy()
    assert 0.45 < (shares > 0).mean() < 0.55
    erased = shares[shares > 0]
    assert 0.015 < erased.min() < 0.03
    assert 0.31 < erased.max() < 0.35
    assert erased.mean() == pytest.approx(0.175, abs=0.01)
    assert bool((x == 1).all()), "the input is left as it was"


def test_channels_that_do_not_fit_are_said(tiny):
    with pytest.raises(Problem, match="RandomErasing has 3 values, and images of Digits have 1 channels"):
        random_erasing(tiny, value=(1, 2, 3)).agree()
    random_erasing(tiny.but(data=Coloured()), value=(1, 2, 3)).agree()


@pytest.mark.parametrize("fault", ["none", "colour", "place"])
def test_own_evidence_looks_at_the_colour(fault, tiny, live):
    class Faulty(RandomErasing):
        def __call__(self, x, rng):
            made = super().__call__(x, rng)
            return {"none": made, "colour": torch.where(made != x, made + 5, made), "place": made.roll(1, 3)}[fault]

    trained, _ = live(tiny.but(augment=(*tiny.augment, Faulty(p=1, value=(40.0,)))))
    own = [row["ok"] for row in trained.result["evidence"] if row["part"] == "Faulty"]
    assert own == [fault == "none"]
    assert trained.result["status"] == ("finished" if fault == "none" else "refused")
