import colorsys

import numpy as np
import pytest
import torch
from matplotlib import colors as colors_of_matplotlib
from torchvision.transforms.v2.functional import resized_crop

from harness import Problem
from harness.parts.augment import PAPER, ColorJitter, Flip, PCANoise, RandomAreaCrop, Shift, hsv_to_rgb, rgb_to_hsv

rng = np.random.default_rng


def images(n, c=3, h=9, w=13, seed=0):
    return torch.from_numpy(rng(seed).uniform(0, 255, size=(n, c, h, w)).astype(np.float32))


@pytest.mark.parametrize("pixels", [1, 2])
def test_shift_moves_by_up_to_its_pixels(pixels):
    x = images(400)
    moved, seen = Shift(pixels=pixels)(x, rng(1)).numpy(), []
    for image, out in zip(x.numpy(), moved, strict=True):
        fits = []
        for dy in range(-pixels - 1, pixels + 2):
            for dx in range(-pixels - 1, pixels + 2):
                expected = np.zeros_like(image)
                for row in range(9):
                    for column in range(13):
                        if 0 <= row + dy < 9 and 0 <= column + dx < 13:
                            expected[:, row, column] = image[:, row + dy, column + dx]
                if np.array_equal(out, expected):
                    fits.append((dy, dx))
        assert len(fits) == 1
        seen += fits
    sides = range(-pixels, pixels + 1)
    assert set(seen) == {(dy, dx) for dy in sides for dx in sides}
    assert max(seen.count(way) for way in set(seen)) < 3 * 400 / len(set(seen))


def test_flip_mirrors_half():
    x = images(1000)
    flipped = Flip()(x, rng(0)).numpy()
    mirrored = [np.array_equal(out, image[:, :, ::-1]) for image, out in zip(x.numpy(), flipped, strict=True)]
    kept = [np.array_equal(out, image) for image, out in zip(x.numpy(), flipped, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 450 < sum(mirrored) < 550


@pytest.mark.parametrize(("height", "width"), [(301, 447), (97, 61), (33, 33), (5, 200), (200, 5), (1, 1), (2, 3)])
def test_crop_boxes(height, width):
    crop, generator = RandomAreaCrop(), rng(0)
    boxes = [crop.box(height, width, generator) for _ in range(2000)]
    for top, left, h, w in boxes:
        assert 0 <= top <= top + h <= height
        assert 0 <= left <= left + w <= width
        assert h > 0
        assert w > 0
        # rounding a side to whole pixels moves it by up to a half
        assert (h + 0.5) * (w + 0.5) >= 0.08 * height * width or min(height, width) < 10
        assert (w + 0.5) / (h - 0.5) >= 3 / 4
        assert (w - 0.5) / (h + 0.5) <= 4 / 3
    if min(height, width) > 30:
        areas = np.array([h * w / (height * width) for _, _, h, w in boxes])
        assert areas.min() < 0.1
        assert areas.max() > 0.8
        assert len({(top, left) for top, left, _, _ in boxes}) > 300
        ratios = np.log([w / h for _, _, h, w in boxes])
        assert ratios.min() < np.log(0.8)
        assert ratios.max() > np.log(1.25)


def test_crop_of_too_long_an_image_is_its_centre():
    top, left, h, w = RandomAreaCrop(area=(0.9, 1.0)).box(30, 300, rng(0))
    assert (top, left, h, w) == (0, 130, 30, 40)


def test_crop_cuts_and_brings_back_to_size():
    crop, x = RandomAreaCrop(), images(8, h=21, w=17)
    boxes = [crop.box(21, 17, generator) for generator in [rng(3)] for _ in range(8)]
    expected = [resized_crop(image, *box, size=[21, 17], antialias=True) for image, box in zip(x, boxes, strict=True)]
    torch.testing.assert_close(crop(x, rng(3)), torch.stack(expected))
    assert len(set(boxes)) == 8


def test_hue_saturation_value_as_colorsys():
    grid = np.linspace(0, 1, 6)
    colours = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3)  # greys, black, white and pure colours too
    x = torch.from_numpy(colours)[:, :, None, None]
    ours = torch.stack(rgb_to_hsv(x), 1)[:, :, 0, 0].numpy()
    theirs = np.array([colorsys.rgb_to_hsv(*colour) for colour in colours])
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    back = hsv_to_rgb(*(torch.from_numpy(theirs[:, i, None, None]) for i in range(3)))
    np.testing.assert_allclose(back[:, :, 0, 0].numpy(), colours, atol=1e-12)


def test_jitter_by_one_is_the_identity():
    x = images(20)
    torch.testing.assert_close(ColorJitter(low=1, high=1)(x, rng(0)), x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("by", [0.6, 1.4])
def test_jitter_scales_hue_saturation_and_value(by):
    x = images(6, h=2, w=2)
    out = ColorJitter(low=by, high=by)(x, rng(0)).numpy()
    for n, row, column in np.ndindex(6, 2, 2):
        h, s, v = colorsys.rgb_to_hsv(*(x.numpy()[n, :, row, column].astype(float) / 255))
        expected = 255 * np.array(colorsys.hsv_to_rgb(h * by % 1, min(s * by, 1), min(v * by, 1)))
        np.testing.assert_allclose(out[n, :, row, column], expected, atol=1e-3)


@pytest.mark.parametrize("side", [8, 150, 300])
def test_jitter_of_batches_of_any_size_is_by_the_draws_of_each_image(side):
    """Beside matplotlib's conversion, where a piece is all images, two of the five, and one."""
    x = images(5, h=side, w=side)
    by = rng(2).uniform(0.6, 1.4, size=(3, 5))
    for n, image in enumerate(x.double().numpy().transpose(0, 2, 3, 1)):
        hsv = colors_of_matplotlib.rgb_to_hsv(image / 255)
        hsv = np.stack([hsv[..., 0] * by[0, n] % 1, *(np.minimum(hsv[..., i] * by[i, n], 1) for i in (1, 2))], -1)
        expected = 255 * colors_of_matplotlib.hsv_to_rgb(hsv).transpose(2, 0, 1)
        np.testing.assert_allclose(ColorJitter()(x, rng(2))[n].numpy(), expected, atol=0.02)


def test_jitter_draws_for_each_image_in_its_range():
    grey = torch.full((2000, 3, 1, 1), 100.0)  # no hue, no saturation: what is left is brightness
    factors = ColorJitter()(grey, rng(0))[:, 0, 0, 0].numpy() / 100
    assert 0.6 <= factors.min() < 0.61
    assert 1.39 < factors.max() <= 1.4001
    assert factors.mean() == pytest.approx(1, abs=0.02)
    assert len(set(factors.round(6))) > 1900


def test_pca_noise_has_the_eigenvalues_spread():
    """Along each principal component: mean 0, s.d. 0.1 times its eigenvalue; the same in all pixels of an image."""
    x = images(20_000, h=1, w=2)
    noise = (PCANoise()(x, rng(0)) - x).double().numpy()
    np.testing.assert_allclose(noise[..., 0], noise[..., 1], atol=1e-4)
    covariance = np.cov(noise[:, :, 0, 0].T)
    values, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(np.sqrt(values[::-1]), 0.1 * np.array([55.46, 4.794, 1.148]), rtol=0.03)
    first = vectors[:, -1] * np.sign(vectors[0, -1])
    np.testing.assert_allclose(first, [0.5675, 0.5808, 0.5836], atol=2e-3)  # brightness, nearly
    assert abs(noise.mean((0, 2, 3))).max() < 4 * 5.546 / np.sqrt(20_000)


@pytest.mark.parametrize("part", PAPER, ids=lambda part: type(part).__name__)
def test_a_part_is_its_generator_and_keeps_the_shape(part):
    x = images(12)
    before = x.clone()
    one, again, other = (part(x, rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(x, before), "the input is left as it was"
    assert one.shape == x.shape
    assert one.dtype == x.dtype
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("part", [ColorJitter(), PCANoise()])
def test_colour_needs_colours(part, tiny):
    tiny.agree()
    with pytest.raises(Problem, match=f"{type(part).__name__} needs RGB images"):
        tiny.but(augment=(part,)).agree()
