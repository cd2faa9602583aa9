import colorsys

import numpy as np
import pytest
import torch
from matplotlib import colors as colors_of_matplotlib
from PIL import Image
from torchvision.transforms.v2.functional import resized_crop

from harness import Problem
from harness.parts.augment import (
    PAPER,
    ColorJitter,
    Flip,
    PCANoise,
    RandomAreaCrop,
    ScaledCrop,
    Shift,
    hsv_to_rgb,
    mirrored,
    rgb_to_hsv,
)
from harness.parts.data import ImageFolder
from tests.kit.coloured import Coloured
from tests.kit.tiny import BASELINE

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


@pytest.mark.parametrize(("h", "w"), [(32, 32), (21, 17), (8, 64), (1, 3)])
def test_crops_of_a_batch_together_are_those_of_one_by_one(h, w):
    x, crop = images(64, h=h, w=w), RandomAreaCrop(together=True)
    made = crop(x, rng(3))
    torch.testing.assert_close(made, RandomAreaCrop()(x, rng(3)), atol=1e-3, rtol=0)
    np.testing.assert_allclose(made, crop.reference(x.double().numpy(), rng(3)), atol=1e-3)
    assert len(crop.draws(64, h, w, rng(3))[0]) == 64


def test_crops_together_are_of_images_in_memory(tmp_path):
    crop = RandomAreaCrop(together=True)
    colour = BASELINE.but(data=Coloured())
    one, together = (colour.but(augment=(part,)) for part in (RandomAreaCrop(), crop))
    assert together.id != one.id == colour.but(augment=(RandomAreaCrop(together=False),)).id
    crop.check(together)
    for number in range(8):
        path = tmp_path / ("train", "val")[number % 2] / f"{number // 2 % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((80, 80), 50 + number).convert("RGB").save(path)
    photos = together.but(data=ImageFolder(root=tmp_path, size=72))
    with pytest.raises(ValueError, match=r"RandomAreaCrop\(together=True\) is for images in memory"):
        crop.check(photos)


@pytest.mark.parametrize("cut", [(0, 0, 10, 13), (-1, 0, 9, 13), (0, 5, 9, 9), (2, 2, 0, 4), (2, 2, 4, 0)])
def test_a_cut_past_the_edge_is_told(cut):
    class Own(RandomAreaCrop):
        def box(self, height, width, rng):
            return cut

    with pytest.raises(Problem, match="Own.box: a cut is not within its image of 9 x 13 px"):
        Own(together=True)(images(2), rng(0))


def test_a_crop_that_does_it_its_own_way_is_not_asked_to_do_it_together():
    class Own(RandomAreaCrop):
        def __call__(self, x, rng):
            return x

    spec = BASELINE.but(data=Coloured())
    Own().check(spec)
    with pytest.raises(ValueError, match="its own `__call__` has no `draws` beside it"):
        Own(together=True).check(spec)


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


SIZES = np.array([[9, 13], [7, 10], [9, 4], [1, 1], [8, 13]])  # of five images, in a canvas of 9 x 13 px


def padded():
    x = images(5)
    for image, (height, width) in zip(x, SIZES, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return x


def test_flip_mirrors_boxes_with_their_images():
    """Within the width of each; rows that pad stay empty; the coins are those of images alone."""
    boxes = torch.tensor([[[2, 1, 2, 3.5, 8, 1], [1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]]).repeat(5, 1, 1)
    seen = set()
    for seed in range(8):
        coins, x = rng(seed).random(5) < 0.5, padded()
        flipped, moved = Flip().pair(x.clone(), boxes.clone(), SIZES, rng(seed))
        for i, (height, width) in enumerate(SIZES):
            image = x[i, :, :height, :width].numpy()
            due = np.zeros((3, 9, 13), np.float32)
            due[:, :height, :width] = image[:, :, ::-1] if coins[i] else image
            np.testing.assert_array_equal(flipped[i].numpy(), due)
            left = [[2, width - 3.5, 2, width - 1, 8, 1], [1, width - 1, 0, width, 1, 0], [0] * 6]
            assert moved[i].tolist() == (left if coins[i] else boxes[i].tolist())
        seen |= {(i, bool(coin)) for i, coin in enumerate(coins)}
        images_again, boxes_again = Flip().reference_pair(x.double().numpy(), boxes.double().numpy(), SIZES, rng(seed))
        np.testing.assert_allclose(images_again, flipped)
        np.testing.assert_allclose(boxes_again, moved)
    assert len(seen) == 10


def test_flip_mirrors_masks_with_their_images():
    masks = torch.from_numpy(rng(3).integers(-1, 4, (5, 9, 13)))
    for mask, (height, width) in zip(masks, SIZES, strict=True):
        mask[height:], mask[:, width:] = -1, -1
    for seed in range(4):
        coins = rng(seed).random(5) < 0.5
        _, moved = Flip().pair(padded(), masks.clone(), SIZES, rng(seed))
        for i, (height, width) in enumerate(SIZES):
            due = np.full((9, 13), -1)
            due[:height, :width] = np.fliplr(masks[i, :height, :width]) if coins[i] else masks[i, :height, :width]
            np.testing.assert_array_equal(moved[i], due)
        again = Flip().reference_pair(padded().double().numpy(), masks.numpy(), SIZES, rng(seed))[1]
        np.testing.assert_array_equal(again, moved)


def test_parts_that_leave_pixels_in_their_places_leave_what_is_known_of_them():
    boxes = torch.rand(5, 2, 6)
    for part in (ColorJitter(), PCANoise()):
        assert not part.moves
        x, y = part.pair(padded(), boxes, SIZES, rng(2))
        assert torch.equal(x, part(padded(), rng(2)))
        assert torch.equal(y, boxes)
    assert all(kind.moves for kind in (Flip, Shift, RandomAreaCrop, ScaledCrop)), "and so does what does not say"


@pytest.mark.parametrize(("height", "width"), [(301, 447), (61, 97), (33, 33), (5, 200), (500, 7)])
def test_scaled_crops(height, width):
    """Short sides of half to twice 100 px, evenly; a cut of 80 px anywhere in it, or all there is."""
    crop, draw, again = ScaledCrop(size=80, scale=(0.5, 2.0)), rng(0), rng(0)
    cuts = [crop.cut(height, width, 100, draw) for _ in range(1500)]
    for cut in cuts:
        assert crop.reference(height, width, 100, again) == cut
        short = min(cut.tall, cut.wide)
        assert 50 <= short <= 200
        assert abs(cut.tall - short * height / min(height, width)) <= 0.5
        assert abs(cut.wide - short * width / min(height, width)) <= 0.5
        assert (cut.height, cut.width) == (min(80, cut.tall), min(80, cut.wide))
        assert 0 <= cut.top <= cut.tall - cut.height
        assert 0 <= cut.left <= cut.wide - cut.width
    shorts = np.array([min(cut.tall, cut.wide) for cut in cuts])
    assert np.abs(np.quantile(shorts, [0.25, 0.5, 0.75]) - [87.5, 125, 162.5]).max() < 8
    roomy = [cut for cut in cuts if min(cut.tall, cut.wide) > 100]
    for place, free in (("top", "tall"), ("left", "wide")):
        share = np.array([getattr(cut, place) / (getattr(cut, free) - 80) for cut in roomy])
        assert share.min() < 0.02
        assert share.max() > 0.98
        assert 0.45 < share.mean() < 0.55
    assert ScaledCrop().size == 480


def test_a_scaled_crop_cannot_be_called():
    with pytest.raises(Problem, match="cuts images while they are decoded"):
        ScaledCrop()(images(2), rng(0))


def test_one_photo_at_a_time_is_mirrored_as_a_batch_is():
    x, flip = images(5), torch.tensor([True, False, True, True, False])[:, None, None, None]
    alone = torch.cat([mirrored(*pair) for pair in zip(x.split(1), flip.split(1), strict=True)])
    assert torch.equal(alone, mirrored(x, flip))
    assert torch.equal(alone[0], x[0].flip(2))
    assert torch.equal(alone[1], x[1])
    assert mirrored(x[:1].to("meta"), flip[:1].to("meta")).shape == (1, 3, 9, 13)
