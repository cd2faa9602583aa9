import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image
from torchvision.transforms.v2 import AugMix as Torchvision

from harness import Problem
from harness.tricks.augmix import MOST, PAPERS, AugMix, augmix
from tests.tricks.test_trivial_augment import images

rng = np.random.default_rng
KINDS = [
    ({}, {}),
    ({"severity": 10, "chains": 2, "depth": 2}, {"severity": 10, "mixture_width": 2, "chain_depth": 2}),
    ({"alpha": 0.3, "all_operations": False}, {"alpha": 0.3, "all_ops": False}),
]


@pytest.fixture
def theirs(monkeypatch):
    """torchvision's, by the draws of a stream, and its operations on Pillow's images, as ours are."""

    def made(draw, **fields):
        randint = lambda high, size, low=0: torch.tensor(int(draw.integers(low, high)))  # noqa: E731
        monkeypatch.setattr(torch, "randint", randint)
        monkeypatch.setattr(torch, "rand", lambda size: torch.tensor(draw.random(), dtype=torch.float64))
        part = Torchvision(interpolation=F.InterpolationMode.NEAREST, **fields)
        apply = part._apply_image_or_video_transform

        def by_pillow(image, name, magnitude, **how):
            if name == "Posterize" and magnitude < 1:  # Pillow refuses it, and of tensors it is black
                return apply(image, name, magnitude, **how)
            return F.pil_to_tensor(apply(F.to_pil_image(image[0]), name, magnitude, **how))[None]

        monkeypatch.setattr(part, "_apply_image_or_video_transform", by_pillow)
        drawn = lambda shares: torch.from_numpy(draw.dirichlet(shares[0].double().numpy()))[None]  # noqa: E731
        monkeypatch.setattr(part, "_sample_dirichlet", drawn)
        return part

    return made


@pytest.mark.parametrize(("fields", "named"), KINDS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_as_torchvisions_by_the_same_draws(channels, fields, named, theirs):
    """Which cuts off what is behind the point, where ours is rounded."""
    x = images(60, channels, 24, 33)
    ours, part = AugMix(**fields)(x, rng(1)), theirs(rng(1), **named)
    off = []
    for image, made in zip(x, ours, strict=True):
        pixels = image.byte().permute(1, 2, 0).numpy()
        due = np.asarray(part(Image.fromarray(pixels[..., 0] if channels == 1 else pixels))).reshape(pixels.shape)
        off.append(made.permute(1, 2, 0).numpy() - due.astype(float))
    assert set(np.unique(off)) == {0, 1}
    assert np.mean(off) == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(ours, x)


def test_space_and_defaults_are_torchvisions():
    assert tuple(MOST) == tuple(Torchvision._PARTIAL_AUGMENTATION_SPACE) + tuple(MOST)[PAPERS:]
    assert MOST.keys() == Torchvision._AUGMENTATION_SPACE.keys()
    ours, there = AugMix(), Torchvision()
    assert (ours.severity, ours.chains, ours.depth or -1, ours.alpha, ours.all_operations, ours.bins) == (
        *(there.severity, there.mixture_width, there.chain_depth, there.alpha, there.all_ops),
        there._PARAMETER_MAX,
    )


@pytest.mark.parametrize("fields", [*(fields for fields, _ in KINDS), {"bins": 2, "severity": 2}], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_second_writing_does_the_same(channels, fields):
    x, part = images(60, channels, 20, 32), AugMix(**fields)
    np.testing.assert_array_equal(part(x, rng(3)).numpy(), part.reference(x.double().numpy(), rng(3)))


def test_a_white_image_stays_white_where_nothing_is_moved(monkeypatch):
    """Shares are one together: .3 · 255 + .7 · 255 is 255, and not what is below it, cut off."""
    monkeypatch.setattr(AugMix, "drawn", lambda self, height, width, rng: [("Equalize", 0.0)])
    white = torch.full((50, 3, 8, 8), 255.0)
    assert torch.equal(AugMix()(white, rng(0)), white)


def test_a_severity_that_there_is_not_is_said(tiny):
    with pytest.raises(Problem, match="AugMix's severity=11 is above bins=10"):
        augmix(tiny, severity=11).agree()
    assert augmix(augmix(tiny), severity=5).augment[-1] == AugMix(severity=5)
