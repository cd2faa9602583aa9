import os
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness.parts.augment import PAPER, Flip, OnPixels, RandomAreaCrop
from harness.parts.data import (
    ImageFolder,
    centred,
    cut_out,
    gathered,
)
from harness.parts.data.reading import opened
from harness.rng import streams
from tests.kit.folders import CPU, batches, picture, pixels, smooth


def test_test_photos_are_cut_as_torchvision_cuts():
    image = picture((120, 120, 120), 140, 112)
    edge = transforms_of(84 * 256 // 224)
    assert np.array_equal(np.asarray(centred(image, 84)), np.asarray(edge(image)))


def transforms_of(edge):
    from torchvision import transforms

    return transforms.Compose([transforms.Resize(edge), transforms.CenterCrop(84)])


def test_photo_batches_do_not_depend_on_the_number_of_decoders(tree, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)  # no warning on one core
    images = ImageFolder(root=tree, size=72).load()
    served = []
    for count in ("1", "2", "0"):
        monkeypatch.setenv("HARNESS_DECODERS", count)
        served.append([*batches(images, augment=PAPER), *images.test(4, CPU)])
        after = images.train(0, 4, PAPER, streams(0), CPU, until=2)
        served.append([*islice(after, 3), *images.test(4, CPU)])
        assert all(torch.equal(x, z) for (x, _), (z, _) in zip(after, batches(images, 4, 1, PAPER), strict=True))
    assert [len(y) for _, y in served[0]] == [4, 4, 4, 4, 2]
    for (x, y), *others in zip(*served, strict=True):
        assert all(torch.equal(x, again) and torch.equal(y, labels) for again, labels in others)
    (first, _), (later, _) = batches(images, 12, 0, PAPER)[0], batches(images, 12, 1, PAPER)[0]
    assert not torch.equal(first, later)


def test_photos_are_cut_from_the_whole_image(tree):
    """A crop of all of it, then of its left quarter, against Pillow."""

    class Left(RandomAreaCrop):
        def box(self, height, width, rng):
            return 0, 0, height, width // 4

    images = ImageFolder(root=tree, size=72).load()
    x, y = batches(images, 12, augment=(Left(),))[0]
    files = [path for name in ("cat", "dog") for path in sorted((tree / "train" / name).iterdir())]
    expected = [
        Image.open(file).convert("RGB").resize((72, 72), Image.Resampling.BILINEAR, (0, 0, 22, 80)) for file in files
    ]
    ours = sorted(np.rint(image.permute(1, 2, 0).numpy()).astype(np.uint8).tobytes() for image in pixels(images, x))
    assert ours == sorted(np.asarray(image).tobytes() for image in expected)
    assert len(y) == 12


def test_a_batch_of_photos_is_its_crops_and_then_each_part_by_its_own_stream(tree):
    """Whoever does which part of the work: by hand, all in this process."""
    images, rng = ImageFolder(root=tree, size=72).load(), streams(3)
    for number, (x, y) in enumerate(batches(images, 4, 2, PAPER, seed=3)):
        chosen = rng("order", 2).permutation(12)[4 * number : 4 * number + 4]
        draw, crops = rng("augment", "RandomAreaCrop", 2, number), []
        for i in chosen:
            image = Image.open(tree / images.files["train"][i][0]).convert("RGB")
            t, l, h, w = PAPER[0].box(image.height, image.width, draw)
            cut = image.resize((72, 72), Image.Resampling.BILINEAR, (l, t, l + w, t + h))
            crops.append(np.array(cut).transpose(2, 0, 1))
        expected = torch.from_numpy(np.stack(crops)).float()
        for part in PAPER[1:]:
            expected = part(expected, rng("augment", type(part).__name__, 2, number))
        torch.testing.assert_close(pixels(images, x), expected, atol=1e-3, rtol=0)
        assert y.tolist() == [images.files["train"][i][1] for i in chosen]


class Darker(OnPixels):
    """Takes some shades away, one more or less by its draw."""

    by: int = 1

    def on_pixels(self, images, rng):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (72, 72, 3)
        return images - np.uint8(self.by) - rng.integers(0, 2, (len(images), 1, 1, 1), dtype=np.uint8)


@pytest.mark.parametrize("decoders", ["0", "1"])
def test_parts_on_pixels_come_after_the_crop_and_before_the_others(tree, decoders, monkeypatch):
    """Each by its own stream, two of a kind too; by hand, in this process."""
    monkeypatch.setenv("HARNESS_DECODERS", decoders)
    images, rng = ImageFolder(root=tree, size=72).load(), streams(3)
    parts = (PAPER[2], Darker(by=1), PAPER[0], Flip(), Darker(by=3))
    for number, (x, y) in enumerate(batches(images, 4, 2, parts, seed=3)):
        chosen = rng("order", 2).permutation(12)[4 * number : 4 * number + 4]
        draw, crops = rng("augment", "RandomAreaCrop", 2, number), []
        for i in chosen:
            image = Image.open(tree / images.files["train"][i][0]).convert("RGB")
            t, l, h, w = PAPER[0].box(image.height, image.width, draw)
            crops.append(np.array(image.resize((72, 72), Image.Resampling.BILINEAR, (l, t, l + w, t + h))))
        made = np.stack(crops)
        for by, again in ((1, ()), (3, (1,))):
            less = rng("augment", "Darker", 2, number, *again).integers(0, 2, (4, 1, 1, 1), dtype=np.uint8)
            made = made - np.uint8(by) - less
        expected = torch.from_numpy(made).permute(0, 3, 1, 2).float()
        expected = parts[0](expected, rng("augment", "ColorJitter", 2, number))
        expected = Flip()(expected, rng("augment", "Flip", 2, number))
        torch.testing.assert_close(pixels(images, x), expected, atol=1e-3, rtol=0)
        assert y.tolist() == [images.files["train"][i][1] for i in chosen]


def test_a_second_crop_of_photos_is_done_too(tree):
    class Top(RandomAreaCrop):
        def box(self, height, width, rng):
            return 0, 0, height // 2, width

    Image.fromarray(np.arange(160, dtype=np.uint8).repeat(160).reshape(160, 160)).save(tree / "train/cat/0.jpg")
    images = ImageFolder(root=tree, size=80).load()
    for augment, most in (((), 160), ((Top(),), 80), ((Top(), Top()), 40), ((Flip(), Top(), Top(), Top()), 20)):
        x = torch.cat([x for x, _ in batches(images, 4, augment=augment)])
        shades = pixels(images, x)
        grey = [image for image in shades if (image[0] - image[2]).abs().max() < 1]
        assert len(grey) == 1
        assert grey[0].max().item() == pytest.approx(most, abs=3)


class Given(RandomAreaCrop):
    at: tuple[int, int, int, int]

    def box(self, height, width, rng):
        return self.at


@pytest.mark.parametrize(
    ("at", "by"),  # top, left, height, width of a crop of an 803 x 1005 image, brought to 72 px
    [
        ((0, 0, 803, 1005), 8),
        ((101, 37, 576, 576), 8),
        ((101, 37, 575, 800), 4),
        ((227, 429, 576, 576), 8),
        ((5, 3, 288, 287), 2),
        ((659, 861, 144, 144), 2),
        ((7, 9, 143, 900), 1),
        ((7, 9, 20, 20), 1),
    ],
)
def test_a_jpeg_is_decoded_at_the_least_size_that_has_the_pixels(tmp_path, at, by):
    smooth(1005, 803).save(tmp_path / "smooth.jpg", quality=98, subsampling=0)
    image = opened(tmp_path / "smooth.jpg")
    ours = np.asarray(cut_out(image, 72, Given(at=at), np.random.default_rng()), float)
    assert image.size == (-(-1005 // by), -(-803 // by))
    top, left, h, w = at
    whole = Image.open(tmp_path / "smooth.jpg").convert("RGB")
    box = (left, top, left + w, top + h)
    expected = np.asarray(whole.resize((72, 72), Image.Resampling.BILINEAR, box), float)
    assert np.abs(ours - expected).mean() < 0.6  # levels of 255
    assert np.abs(ours - expected).max() < 8
    if h > 500:  # half a pixel beside it would differ by more
        shifted = [side + by / 2 for side in box[:2]] + [*box[2:]]
        beside = np.asarray(whole.resize((72, 72), Image.Resampling.BILINEAR, np.clip(shifted, 0, 1005)), float)
        assert np.abs(ours - expected).mean() < np.abs(ours - beside).mean()


@pytest.mark.parametrize(
    ("width", "height", "by"), [(1005, 803, 8), (700, 656, 8), (655, 700, 4), (900, 327, 2), (163, 500, 1)]
)
def test_test_images_are_decoded_at_no_less_than_their_short_edge(tmp_path, width, height, by):
    """72 px of 82: by 8 from 656 px on."""
    smooth(width, height).save(tmp_path / "smooth.jpg", quality=98, subsampling=0)
    image = opened(tmp_path / "smooth.jpg")
    ours = np.asarray(centred(image, 72), float)
    assert image.size == (-(-width // by), -(-height // by))
    whole = np.asarray(centred(Image.open(tmp_path / "smooth.jpg").convert("RGB"), 72), float)
    assert np.abs(ours - whole).mean() < 0.6


def test_other_formats_and_images_in_memory_are_decoded_whole(tmp_path):
    smooth(1005, 803).save(tmp_path / "smooth.png")
    image = opened(tmp_path / "smooth.png")
    cut_out(image, 72, None, None)
    assert image.size == (1005, 803)
    smooth(1005, 803).save(tmp_path / "smooth.jpg")
    look = gathered.Look(8, (0, 0, 0), (1, 1, 1))
    small = gathered._decoded(tmp_path, look, "some", [("smooth.jpg", 0)])  # as they always were
    whole = Image.open(tmp_path / "smooth.jpg").resize((10, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(small[0], np.asarray(whole.crop((1, 0, 9, 8))).transpose(2, 0, 1))


def test_photos_and_small_images_differ_in_how_they_are_decoded(tmp_path):
    settings = [ImageFolder(root=tmp_path, size=size).settings() for size in (64, 65)]
    assert "decoding" not in settings[0]
    assert settings[1]["decoding"] == 2


def test_squashed_test_images_are_decoded_at_no_less_than_their_size(tmp_path):
    """As training images are, from the whole: 803 px by 8 are more than 72."""
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        smooth(1005, 803).save(tmp_path / name / "smooth.jpg", quality=98, subsampling=0)
    images = ImageFolder(root=tmp_path, size=72, fit="squash").load()
    x, again = next(images.test(2, CPU))[0], batches(images, 2)[0][0]
    assert torch.equal(x, again)
    whole = Image.open(tmp_path / "val/a/smooth.jpg").resize((72, 72), Image.Resampling.BILINEAR)
    off = np.abs(pixels(images, x)[0].permute(1, 2, 0).numpy() - np.asarray(whole, float))
    assert off.mean() < 0.6


def test_an_image_one_pixel_wide_is_cut_too(tmp_path):
    Image.new("RGB", (1, 9), (200, 0, 0)).save(tmp_path / "thin.png")
    for cut in (
        cut_out(opened(tmp_path / "thin.png"), 72, PAPER[0], np.random.default_rng(0)),
        centred(opened(tmp_path / "thin.png"), 72),
    ):
        assert cut.size == (72, 72)
        assert np.unique(np.asarray(cut).reshape(-1, 3), axis=0).tolist() == [[200, 0, 0]]


def test_an_image_that_breaks_later_is_named(tree):
    images = ImageFolder(root=tree, size=72).load()
    (tree / "train/cat/0.jpg").write_bytes(b"no image")
    with pytest.raises(Problem, match=r"train/cat/0\.jpg does not decode") as caught:
        batches(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_photos_are_cut_before_the_other_parts_wherever_the_crop_stands(tree, place):
    class Top(RandomAreaCrop):
        def box(self, height, width, rng):
            return 0, 0, height // 2, width

    others = list(PAPER[1:3])
    images = ImageFolder(root=tree, size=72).load()
    first, moved = [Top(), *others], [*others[:place], Top(), *others[place:]]
    for (x, y), (again, labels) in zip(batches(images, augment=first), batches(images, augment=moved), strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, labels)
