from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import TrivialAugmentWide

from harness.tricks.trivial_augment import MOST, TrivialAugment, trivial_augment

rng = np.random.default_rng


def images(n=40, c=3, h=32, w=32):
    return torch.from_numpy(rng(0).integers(0, 256, size=(n, c, h, w)).astype(np.float32))


@pytest.fixture
def drawing(monkeypatch):
    """Gives torch's random numbers the draws of a stream."""

    def by(draw):
        monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor(int(draw.integers(high))))
        monkeypatch.setattr(torch, "rand", lambda size: torch.tensor(draw.random(), dtype=torch.float64))

    return by


@pytest.mark.parametrize("channels", [1, 3])
def test_as_torchvisions_by_the_same_draws(channels, drawing):
    x = images(200, channels, 24, 32)
    ours = TrivialAugment()(x, rng(1))
    drawing(rng(1))
    theirs = TrivialAugmentWide()
    for image, made in zip(x, ours, strict=True):
        pixels = image.byte().permute(1, 2, 0).numpy()
        due = theirs(Image.fromarray(pixels[..., 0] if channels == 1 else pixels))
        np.testing.assert_array_equal(made.permute(1, 2, 0).numpy(), np.asarray(due).reshape(pixels.shape))
    assert not torch.equal(ours, x)


def test_the_space_is_torchvisions():
    assert tuple(MOST) == tuple(TrivialAugmentWide._AUGMENTATION_SPACE)


@pytest.mark.parametrize("bins", [2, 31])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_second_writing_does_the_same(channels, bins):
    x = images(150, channels)
    part = TrivialAugment(bins=bins)
    np.testing.assert_array_equal(part(x, rng(3)).numpy(), part.reference(x.double().numpy(), rng(3)))


def test_every_operation_strength_and_side_comes_alike():
    draw = rng(0)
    seen = [op for _ in range(14_000) for op in TrivialAugment().drawn(32, 32, draw)]
    counts = Counter(name for name, _ in seen)
    assert counts.keys() == MOST.keys()
    assert all(880 < count < 1120 for count in counts.values())
    turns = [by for name, by in seen if name == "Rotate"]
    assert len(set(map(abs, turns))) == 31
    assert 0.45 < np.mean([by < 0 for by in turns if by]) < 0.55
    assert np.mean(np.abs(turns)) == pytest.approx(67.5, abs=5)
    assert {by for name, by in seen if name == "Posterize"} == {2, 3, 4, 5, 6, 7, 8}


def test_pixels_are_rounded_first_and_the_input_is_left():
    x = images(3) + 0.25
    made = TrivialAugment()(x, rng(0))
    assert torch.equal(made, made.round())
    assert torch.equal(x, images(3) + 0.25)


def test_grey_images_will_do(tiny):
    trivial_augment(tiny).agree()
