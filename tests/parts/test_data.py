import os
import shutil
import struct
import urllib.error
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from experiments.digits import BASELINE
from harness import Problem
from harness.evidence import Trace
from harness.parts import data
from harness.parts.augment import PAPER, Flip, OnPixels, RandomAreaCrop
from harness.parts.data import (
    Digits,
    ImageFolder,
    Places365,
    Torchvision,
    centred,
    cut_out,
    folders,
    in_memory,
    reading,
)
from harness.parts.data.reading import opened, rgb
from harness.rng import streams
from harness.spec import plain
from tests.kit import photos

CPU = torch.device("cpu")
COLOURS = {"cat": (250, 0, 0), "dog": (0, 0, 250)}


def picture(colour, width=90, height=80, seed=0):
    """An image of one colour, plus a little noise, so that crops of it differ."""
    noise = np.random.default_rng(seed).integers(-5, 6, size=(height, width, 3))
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def tree(tmp_path):
    """train/ of 12 and val/ of 6 images in two classes, jpg and png."""
    root = tmp_path / "pets"
    for part, count in (("train", 6), ("val", 3)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                picture(colour, seed=i).save(root / part / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    return root


def read_anew(root, size=8):
    """As another process would: this one keeps what it has loaded."""
    folders._loaded.cache_clear()
    return ImageFolder(root=root, size=size).load()


def batches(images, batch_size=4, epoch=0, augment=(), seed=0):
    return list(images.train(epoch, batch_size, augment, streams(seed), CPU))


def pixels(images, x):
    return x * torch.tensor(images.std).view(-1, 1, 1) + torch.tensor(images.mean).view(-1, 1, 1)


# --- batches --------------------------------------------------------------------------------------------------------


def numbered(n):
    """`n` images of 2 x 2 pixels, each filled with its own number, that is its label modulo 10."""
    x = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    return in_memory({"train": (x, np.arange(n) % 10), "test": (x[:7], np.arange(7))}, tuple("0123456789"))


@pytest.mark.parametrize("batch_size", [1, 5, 7, 24, 25])
def test_an_epoch_has_each_image_at_most_once_and_full_batches_only(batch_size):
    images, orders = numbered(24), []
    for epoch in range(3):
        served = batches(images, batch_size, epoch)
        assert len(served) == 24 // batch_size
        assert all(len(y) == batch_size for _, y in served)
        numbers = [round(v) for x, _ in served for v in pixels(images, x)[:, 0, 0, 0].tolist()]
        labels = [label for _, y in served for label in y.tolist()]
        assert len(set(numbers)) == len(numbers) == batch_size * len(served)
        assert labels == [number % 10 for number in numbers]
        orders.append(numbers)
    if batch_size in (5, 7):
        assert all(one != other for one, other in pairwise(orders))
        assert orders[2] != list(range(len(orders[2])))


def test_order_is_its_seed():
    images = numbered(24)
    labels = [torch.cat([y for _, y in batches(images, 8, 0, seed=seed)]).tolist() for seed in (0, 0, 1)]
    assert labels[0] == labels[1] != labels[2]


def test_test_images_come_in_order_and_all():
    images = numbered(24)
    served = list(images.test(3, CPU))
    assert [len(y) for _, y in served] == [3, 3, 1]
    assert torch.cat([y for _, y in served]).tolist() == list(range(7))
    assert [round(v) for x, _ in served for v in pixels(images, x)[:, 0, 0, 0].tolist()] == list(range(7))


def test_digest_sees_pixels_labels_classes_and_split():
    x, y = np.zeros((4, 1, 2, 2), np.uint8), np.arange(4) % 2
    other, swapped = x.copy(), y[::-1].copy()
    other[3, 0, 1, 1] = 1
    versions = [
        ({"train": (x, y), "test": (x, y)}, ("a", "b")),
        ({"train": (other, y), "test": (x, y)}, ("a", "b")),
        ({"train": (x, y), "test": (other, y)}, ("a", "b")),
        ({"train": (x, swapped), "test": (x, y)}, ("a", "b")),
        ({"train": (x, y), "test": (x, swapped)}, ("a", "b")),
        ({"train": (x, y), "test": (x, y)}, ("a", "c")),
    ]
    digests = [in_memory(arrays, classes, (0.0,), (1.0,)).digest for arrays, classes in versions]
    assert len(set(digests)) == len(versions)
    assert in_memory(*versions[0], (0.0,), (1.0,)).digest == digests[0]


# --- digits ---------------------------------------------------------------------------------------------------------


def test_digits_are_split_once_and_evenly():
    from sklearn.datasets import load_digits

    images, bunch = Digits().load(), load_digits()
    assert images.counts == {"train": 597, "test": 1200}
    assert (images.channels, images.size, images.classes) == (1, 8, tuple("0123456789"))
    for split, share in (("train", 597 / 1797), ("test", 1200 / 1797)):
        counts = np.bincount(images.arrays[split][1], minlength=10)
        assert np.abs(counts - share * np.bincount(bunch.target)).max() < 1
    both = np.concatenate([images.arrays[split][0] for split in ("train", "test")])[:, 0]
    ours = sorted(map(bytes, both.reshape(1797, -1)))
    assert ours == sorted(map(bytes, np.rint(bunch.images * 255 / 16).astype(np.uint8).reshape(1797, -1)))


def test_digits_are_normalised():
    images = Digits().load()
    x = torch.cat([x for x, _ in batches(images, 199)])
    assert x.mean().item() == pytest.approx(0, abs=1e-4)
    assert x.std().item() == pytest.approx(1, abs=1e-3)


# --- folders of images ----------------------------------------------------------------------------------------------


def test_small_images_are_held_in_memory_and_photos_are_not(tree):
    small, photos = ImageFolder(root=tree, size=64).load(), ImageFolder(root=tree, size=65).load()
    assert type(small).__name__ == "Cached"
    assert small.arrays["train"][0].shape == (12, 3, 64, 64)
    assert type(photos).__name__ == "Photos"
    for images in (small, photos):
        assert images.classes == ("cat", "dog")
        assert images.counts == {"train": 12, "test": 6}
        assert (images.mean, images.std) == ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375))


@pytest.mark.parametrize("size", [8, 72])
@pytest.mark.parametrize("augment", [(), (Flip(),), PAPER[:2]])
def test_labels_stay_with_their_images(tree, size, augment):
    images = ImageFolder(root=tree, size=size).load()
    for x, y in [*batches(images, augment=augment), *images.test(4, CPU)]:
        assert x.shape[1:] == (3, size, size)
        red, _, blue = pixels(images, x).mean((2, 3)).T
        assert (red > blue).tolist() == [images.classes[label] == "cat" for label in y]


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


def smooth(width, height):
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y * x), np.sin(6 * x - 8 * y)], -1)
    return Image.fromarray((127 + 120 * waves).astype(np.uint8))


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
    small = folders._decoded(ImageFolder(root=tmp_path, size=8), "some", [("smooth.jpg", 0)])  # as they always were
    whole = Image.open(tmp_path / "smooth.jpg").resize((10, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(small[0], np.asarray(whole.crop((1, 0, 9, 8))).transpose(2, 0, 1))


def test_photos_and_small_images_differ_in_how_they_are_decoded(tmp_path):
    settings = [ImageFolder(root=tmp_path, size=size).settings() for size in (64, 65)]
    assert "decoding" not in settings[0]
    assert settings[1]["decoding"] == 2


@pytest.mark.parametrize("size", [40, 72])
def test_squashed_images_are_the_whole_ones_for_training_and_test(tree, size):
    smooth(300, 90).save(tree / "val/cat/2.jpg")
    images = ImageFolder(root=tree, size=size, fit="squash").load()
    x = batches(images, 12)[0][0]
    served = torch.cat([x for x, _ in images.test(4, CPU)])
    assert served.shape == (6, 3, size, size)
    for made, folder in ((x, "train"), (served, "val")):
        files = [path for name in ("cat", "dog") for path in sorted((tree / folder / name).iterdir())]
        wanted = [
            np.asarray(Image.open(f).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)) for f in files
        ]
        ours = [np.rint(image.permute(1, 2, 0).numpy()).astype(int) for image in pixels(images, made)]
        if folder == "train":  # in an order of its own
            assert sorted(image.astype(np.uint8).tobytes() for image in ours) == sorted(i.tobytes() for i in wanted)
        else:
            assert max(np.abs(a - b).max() for a, b in zip(ours, wanted, strict=True)) == 0
    cut = torch.cat([x for x, _ in ImageFolder(root=tree, size=size).load().test(4, CPU)])
    assert not torch.equal(cut[2], served[2])
    assert ImageFolder(root=tree, size=size).load().digest == images.digest


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


def test_how_images_are_fitted_is_of_the_id_only_where_it_is_not_as_it_was(tree):
    parts = [ImageFolder(root=tree, size=72), ImageFolder(root=tree, size=72, fit="squash")]
    forms = [plain(part, lambda part: part.identity()) for part in parts]
    assert "fit" not in forms[0]
    assert forms[1] == forms[0] | {"fit": "squash"}


def test_pixels_by_half_of_white_lie_between_minus_one_and_one(tree):
    half = (127.5,) * 3
    Image.fromarray(np.arange(0, 256, dtype=np.uint8).repeat(16).reshape(64, 64)).save(
        tree / "val/cat/0.jpg", quality=100
    )
    images = ImageFolder(root=tree, size=64, fit="squash", mean=half, std=half).load()
    x = next(images.test(1, CPU))[0]
    shades = images.arrays["test"][0][:1]
    np.testing.assert_allclose(x.numpy(), shades / 255 * 2.0 - 1.0, atol=1e-6)
    assert x.min() < -0.97
    assert x.max() > 0.97


# --- as large sets are ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos") / "imagenet"
    photos.make(root)
    return root


def test_a_folder_of_a_thousand_classes_is_as_torchvision_lists_it(thousand):
    images = ImageFolder(root=thousand, size=72).load()
    assert len(images.classes) == 1000
    assert images.counts == {"train": 2000, "test": 1000}
    assert images.notes == []  # what torchvision leaves beside the folders is not looked at
    for split, part in (("train", "train"), ("test", "val")):
        theirs = torchvision.datasets.ImageFolder(thousand / part)
        assert images.classes == tuple(theirs.classes)
        assert [(str(thousand / name), label) for name, label in images.files[split]] == theirs.samples
    limited = ImageFolder(root=thousand, size=72, limit=1000, limit_test=1500).load()
    assert limited.counts == {"train": 1000, "test": 1000}
    assert [label for _, label in limited.files["train"]] == list(range(1000))
    with pytest.raises(Problem, match="a slice of 999 images of train/ leaves some of the 1000 classes"):
        ImageFolder(root=thousand, size=72, limit=999).load()


def test_every_kind_of_file_is_read_as_torchvision_reads_it(thousand):
    """The camera's orientation is not heeded, colour profiles neither."""
    from torchvision.datasets.folder import default_loader

    for kind in photos.KINDS:
        path = next(thousand.glob(f"train/n00000[1-9]*/*_{kind}.JPEG"))
        image = rgb(opened(path))
        assert image.size == photos.SHAPES.get(kind, (37, 29))
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.asarray(default_loader(path)))


def test_batches_of_every_kind_show_their_classes(thousand):
    images = ImageFolder(root=thousand, size=72).load()
    train, test = next(images.train(0, 64, PAPER[:2], streams(0), CPU)), next(images.test(64, CPU))
    entries = [images.files["train"][i] for i in streams(0)("order", 0).permutation(2000)[:64]]
    for (x, y), names in ((train, entries), (test, images.files["test"][:64])):
        assert x.shape == (64, 3, 72, 72)
        assert y.tolist() == [label for _, label in names]
        means = pixels(images, x).mean((2, 3)).numpy()
        for mean, (name, label) in zip(means, names, strict=True):
            if "grey" in name:
                assert np.ptp(mean) < 1
            else:
                np.testing.assert_allclose(mean, np.minimum(np.array(photos.colour(label)) + 2.5, 255), atol=4)


def test_an_image_one_pixel_wide_is_cut_too(tmp_path):
    Image.new("RGB", (1, 9), (200, 0, 0)).save(tmp_path / "thin.png")
    for cut in (
        cut_out(opened(tmp_path / "thin.png"), 72, PAPER[0], np.random.default_rng(0)),
        centred(opened(tmp_path / "thin.png"), 72),
    ):
        assert cut.size == (72, 72)
        assert np.unique(np.asarray(cut).reshape(-1, 3), axis=0).tolist() == [[200, 0, 0]]


PLACES = ("a/airfield", "b/bar", "b/bar/outdoor")


@pytest.fixture
def places(tmp_path):
    """Six images for training and four for test, small and large ones, in an order of their own."""
    root = tmp_path / "places"
    train = [(f"/{PLACES[i % 3]}/{i:08d}.jpg", i % 3) for i in (5, 0, 4, 1, 3, 2)]
    val = [(f"Places365_val_{i:08d}.jpg", (2, 0, 1, 2)[i]) for i in range(4)]
    for kind, scale in (("256", 1), ("large", 3)):
        for folder, entries in ((f"data_{kind}_standard", train), (f"val_{kind}", val)):
            for name, label in entries:
                path = root / folder / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                picture([(200, 0, 0), (0, 200, 0), (0, 0, 200)][label], 90 * scale, 80 * scale).save(path)
    lists = {"categories_places365": [(f"/{name}", i) for i, name in enumerate(PLACES)]}
    lists |= {"places365_train_standard": train, "places365_val": val}
    for name, pairs in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{one} {number}\n" for one, number in pairs))
    return root


@pytest.mark.parametrize("small", [True, False])
def test_places_are_as_torchvision_reads_them(places, small, monkeypatch):
    images = Places365(root=places, size=72, small=small).load()
    assert images.classes == PLACES
    assert images.counts == {"train": 6, "test": 4}
    monkeypatch.setattr(torchvision.datasets.Places365, "_check_integrity", lambda *_: True)  # of the real lists
    for split, named in (("train", "train-standard"), ("test", "val")):
        theirs = torchvision.datasets.Places365(places, split=named, small=small)
        assert theirs.imgs == [(str(places / name), label) for name, label in images.files[split]]
        assert theirs.classes == [f"/{name}" for name in images.classes]
    for x, y in [*batches(images, 3, augment=PAPER[:2]), *images.test(2, CPU)]:
        assert x.shape[1:] == (3, 72, 72)
        assert pixels(images, x).mean((2, 3)).argmax(1).tolist() == y.tolist()
    assert Places365(root=places, size=8, small=small).load().arrays["train"][0].shape == (6, 3, 8, 8)
    assert Places365(root=places, size=72, small=small, limit=3).load().counts == {"train": 3, "test": 4}


def test_the_id_of_places_is_their_content(places, tmp_path):
    def digest(root):
        folders._loaded.cache_clear()
        return Places365(root=root, size=72).load().digest

    first = digest(places)
    assert digest(shutil.copytree(places, tmp_path / "elsewhere")) == first
    names = places / "places365_val.txt"
    names.write_text(names.read_text().replace("00000000.jpg 2", "00000000.jpg 1"))
    assert digest(places) != first


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda root: shutil.rmtree(root),
            "no categories_places365.txt, places365_train_standard.txt, .*, val_256/; lay",
        ),
        (lambda root: shutil.rmtree(root / "val_256"), "places: no val_256/; lay it out as torchvision"),
        (lambda root: (root / "places365_val.txt").unlink(), "places: no places365_val.txt; lay"),
        (lambda root: (root / "places365_val.txt").write_text("one\n"), "places365_val.txt is not a list of names"),
        (
            lambda root: (root / "places365_val.txt").write_text("x.jpg 3\n"),
            "class of val_256/x.jpg is not among the 3",
        ),
        (lambda root: (root / "places365_val.txt").write_text("x.jpg 2\n"), "val_256/x.jpg cannot be read .No such"),
        (lambda root: (root / "val_256/Places365_val_00000001.jpg").write_text("x"), "1.jpg does not decode"),
    ],
    ids=["all", "folder", "list", "no numbers", "class", "file", "broken"],
)
def test_what_places_lack_is_said_in_a_line(places, spoil, says):
    spoil(places)
    with pytest.raises(Problem, match=says) as caught:
        Places365(root=places).load()
    assert "\n" not in str(caught.value)


def test_content_decides_what_is_an_image(tree):
    shutil.copy(tree / "train/cat/1.png", tree / "train/cat/really_a_png.jpg")
    shutil.copy(tree / "train/cat/0.jpg", tree / "train/cat/no_ending")
    (tree / "train/cat/readme.txt").write_text("not an image")
    (tree / "train/cat/.hidden").write_text("not an image")
    images = ImageFolder(root=tree, size=8).load()
    assert images.counts == {"train": 14, "test": 6}
    assert len(images.notes) == 3
    assert any("skipped" in note and "train/cat/.hidden" in note for note in images.notes)
    assert any("skipped" in note and "train/cat/readme.txt" in note for note in images.notes)
    assert any("skipped" not in note and "train/cat/no_ending" in note for note in images.notes)


def test_a_tidy_folder_needs_no_note(tree):
    assert ImageFolder(root=tree, size=8).load().notes == []


@pytest.mark.parametrize("name", ["broken.jpg", "broken"])
def test_a_broken_image_is_named(tree, name):
    whole = tree / "val/dog/0.jpg"
    (tree / "val/dog" / name).write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(Problem, match=f"val/dog/{name} does not decode") as caught:
        ImageFolder(root=tree, size=8).load()
    assert "\n" not in str(caught.value)


def test_an_image_that_breaks_later_is_named(tree):
    images = ImageFolder(root=tree, size=72).load()
    (tree / "train/cat/0.jpg").write_bytes(b"no image")
    with pytest.raises(Problem, match=r"train/cat/0\.jpg does not decode") as caught:
        batches(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root), "no such folder"),
        (lambda root: shutil.rmtree(root / "val"), "no folder val/"),
        (lambda root: [shutil.rmtree(root / part / "dog") for part in ("train", "val")], "at least two classes"),
        (lambda root: (root / "train/dog").rename(root / "train/wolf"), "classes differ .*: dog, wolf"),
        (lambda root: [file.unlink() for file in (root / "val/dog").iterdir()], "no image in val/dog"),
        (lambda root: [file.write_text("x") for file in (root / "train/cat").iterdir()], "train/cat/0.jpg"),
    ],
    ids=["missing", "no val", "one class", "other classes", "empty class", "no images"],
)
def test_what_is_wrong_with_a_folder_is_said_in_a_line(tree, spoil, message):
    spoil(tree)
    with pytest.raises(Problem, match=message) as caught:
        ImageFolder(root=tree, size=8).load()
    assert "\n" not in str(caught.value)
    assert str(tree) in str(caught.value)


@pytest.mark.parametrize("size", [8, 72])
def test_a_changed_byte_moves_the_digest_and_a_touch_does_not(tree, size, tmp_path):
    file = tree / "train/cat/flat.bmp"
    picture((9, 9, 9)).save(file)
    first = read_anew(tree, size)
    os.utime(file, ns=(1, 1))
    assert read_anew(tree, size).digest == first.digest
    elsewhere = shutil.copytree(tree, tmp_path / "elsewhere")
    assert read_anew(elsewhere, size).digest == first.digest
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert read_anew(tree, size).digest != first.digest
    file.rename(tree / "train/dog/flat.bmp")
    content[-1] ^= 1
    (tree / "train/dog/flat.bmp").write_bytes(content)
    assert read_anew(tree, size).digest != first.digest, "the same image in another class"


def test_a_file_is_read_again_only_where_it_changed(tree, monkeypatch):
    read_anew(tree, 72)
    seen = []
    monkeypatch.setattr(reading, "opened", lambda path: (seen.append(path.name), opened(path))[1])
    read_anew(tree, 72)
    assert seen == []
    os.utime(tree / "val/cat/1.png", ns=(5, 5))
    read_anew(tree, 72)
    assert seen == ["1.png"]


def test_every_mode_comes_out_as_rgb(tree):
    """Grey, CMYK, palette, with alpha, and two-coloured: red or blue as they were, or grey."""
    red, folder = picture(COLOURS["cat"]), tree / "train/cat"
    for file in folder.iterdir():
        file.unlink()
    red.convert("CMYK").save(folder / "cmyk.jpg")
    red.convert("P").save(folder / "palette.png")
    red.convert("P").save(folder / "palette.gif")
    red.convert("RGBA").save(folder / "alpha.png")
    images = ImageFolder(root=tree, size=8).load()
    x = images.arrays["train"][0][images.arrays["train"][1] == 0]
    assert x.shape == (4, 3, 8, 8)
    assert x.dtype == np.uint8
    assert (x[:, 0] > 200).all()
    assert (x[:, 1:] < 60).all()

    for file in folder.iterdir():
        file.unlink()
    grey = Image.new("L", (20, 30), 200)
    grey.save(folder / "grey.png")
    grey.convert("LA").save(folder / "alpha.png")
    Image.new("1", (20, 30), 1).save(folder / "bits.png")
    images = read_anew(tree)
    x = images.arrays["train"][0][images.arrays["train"][1] == 0]
    assert sorted(np.unique(x).tolist()) == [200, 255]
    assert x.shape == (3, 3, 8, 8)


def test_sixteen_bit_grey_keeps_its_shades(tree):
    shades = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(shades).save(tree / "train/cat/6.png")
    images = ImageFolder(root=tree, size=8).load()
    x = images.arrays["train"][0][6, 0]
    assert np.abs(x - shades / 257.0).max() <= 1


def test_sixteen_bit_pgm_keeps_its_shades(tree):
    shades = np.linspace(0, 65535, 64).astype(">u2").reshape(8, 8)
    (tree / "train/cat/6.pgm").write_bytes(b"P5 8 8 65535\n" + shades.tobytes())
    images = ImageFolder(root=tree, size=8).load()
    assert np.abs(images.arrays["train"][0][6] - shades / 257.0).max() <= 1


@pytest.mark.parametrize(("kind", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_pixels_of_32_bits_are_refused_in_a_line(tree, kind, mode):
    Image.fromarray(np.linspace(0, 70000, 64).astype(kind).reshape(8, 8)).save(tree / "train/cat/deep.tiff")
    with pytest.raises(Problem, match=rf"train/cat/deep\.tiff has 32-bit .*mode {mode}.: save it with 8 or") as caught:
        ImageFolder(root=tree, size=8).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(6, 6), (1, 9), (9, 1), (3, 40)])
@pytest.mark.parametrize("size", [8, 72])
def test_jpegs_of_a_few_pixels_are_read(tree, width, height, size):
    Image.new("RGB", (width, height), COLOURS["cat"]).save(tree / "train/cat/tiny.jpg")
    images = ImageFolder(root=tree, size=size).load()
    assert images.counts["train"] == 13
    x, y = batches(images, 13, augment=PAPER[:1])[0]
    red, _, blue = pixels(images, x).mean((2, 3)).T
    assert (red > blue).tolist() == [images.classes[label] == "cat" for label in y]


def test_a_transparent_palette_is_read_without_a_warning(tree):
    image = picture(COLOURS["cat"]).convert("P")
    image.save(tree / "train/cat/6.png", transparency=bytes([0, 128] + [255] * 254))
    assert ImageFolder(root=tree, size=8).load().counts["train"] == 13


# --- torchvision's sets ---------------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_missing_set_is_one_line_and_leaves_nothing(name, exists, tmp_path, offline):
    root = tmp_path / "sets"
    if exists:
        root.mkdir()
    with pytest.raises(Problem, match=f"{name} was expected in {root}") as caught:
        Torchvision(name=name, root=root).load()
    assert "\n" not in str(caught.value)
    assert root.exists() == exists
    assert list(root.rglob("*")) == []


def write_mnist(root, train, test):
    """MNIST's own format: a big-endian header of type, dimensions and sizes, then bytes."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, (images, labels) in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(head + array.tobytes())


@pytest.mark.parametrize("limit", [5, 12, 33, 99, 100, 1000])
def test_a_slice_is_even_over_the_classes_and_part_of_every_greater_one(limit):
    labels = np.random.default_rng(0).choice(5, p=(0.5, 0.2, 0.1, 0.1, 0.1), size=100)
    kept = data.limited(labels, limit)
    assert len(kept) == min(limit, 100)
    assert (np.diff(kept) > 0).all()
    counts, have = np.bincount(labels[kept], minlength=5), np.bincount(labels)
    for count, all_of_it in zip(counts, have, strict=True):
        assert count == all_of_it or count >= counts.max() - 1
    assert set(kept) <= set(data.limited(labels, limit + 7))
    assert set(data.limited(labels, None)) == set(range(100))


@pytest.mark.parametrize("size", [8, 224])
def test_a_slice_of_a_folder_reads_its_files_alone_and_is_a_data_set_of_its_own(tree, size):
    whole, part = ImageFolder(root=tree, size=size), ImageFolder(root=tree, size=size, limit=4, limit_test=2)
    (tree / "train" / "cat" / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(Problem, match=r"bad\.jpg does not decode"):
        whole.load()
    assert part.load().counts == {"train": 4, "test": 2}
    (tree / "train" / "cat" / "bad.jpg").unlink()
    assert whole.load().counts == {"train": 12, "test": 6}
    assert whole.identity()["digest"] != part.identity()["digest"]
    assert ImageFolder(root=tree, size=size, limit=12).load().digest == whole.load().digest
    with pytest.raises(Problem, match="a slice of 1 images of val/ leaves some of the 2 classes without any"):
        ImageFolder(root=tree, size=size, limit_test=1).load()


@pytest.mark.parametrize("limit", [2, 4, 11])
def test_a_slice_is_even_over_what_is_an_image(tree, limit):
    for i in range(20):
        (tree / f"train/cat/{i}.txt").write_text("no image")
    (tree / "train/dog/3.png").rename(tree / "train/dog/3")  # one by its content
    (tree / "train/cat/away").symlink_to("nowhere")
    with pytest.raises(Problem, match="train/cat/away cannot be read"):
        ImageFolder(root=tree, size=72, limit=99).load()
    (tree / "train/cat/away").unlink()
    images = read_anew(tree, 72)
    part = ImageFolder(root=tree, size=72, limit=limit).load()
    labels = [label for _, label in part.files["train"]]
    assert len(labels) == limit
    assert abs(labels.count(0) - labels.count(1)) == limit % 2
    skipped = [note for note in images.notes if "skipped" in note]
    assert len(skipped) == 1
    assert skipped[0].endswith("train/cat/12.txt and 15 more")
    assert [note for note in part.notes if "skipped" in note] == skipped


def test_a_slice_of_a_set_leaves_no_class_empty(tmp_path, offline):
    pair = np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10
    write_mnist(tmp_path, pair, pair)
    for slices, split in (({"limit": 9}, "train"), ({"limit_test": 9}, "test")):
        with pytest.raises(Problem, match=rf"a slice of 9 images of MNIST .{split}. leaves some of the 10 classes"):
            Torchvision(name="MNIST", root=tmp_path, **slices).load()
    assert Torchvision(name="MNIST", root=tmp_path, limit=10).load().counts["train"] == 10


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


def test_mnist_from_its_raw_files(tmp_path, offline):
    rng = np.random.default_rng(0)
    train, test = (
        (rng.integers(0, 256, size=(n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10) for n in (20, 10)
    )
    write_mnist(tmp_path, train, test)
    images = Torchvision(name="MNIST", root=tmp_path).load()
    assert (images.channels, images.size, images.counts) == (1, 28, {"train": 20, "test": 10})
    assert len(images.classes) == 10
    for split, (x, y) in (("train", train), ("test", test)):
        assert np.array_equal(images.arrays[split][0][:, 0], x)
        assert np.array_equal(images.arrays[split][1], y)
    assert images.mean == pytest.approx((train[0].mean(),), abs=1e-3)
    assert images.std == pytest.approx((train[0].std(),), abs=1e-3)
    some = Torchvision(name="MNIST", root=tmp_path, limit=10).load()
    assert some.counts == {"train": 10, "test": 10}
    assert sorted(some.arrays["train"][1]) == list(range(10))
    assert {image.tobytes() for image in some.arrays["train"][0]} <= {image.tobytes() for image in train[0]}
    served = torch.cat([y for _, y in images.test(4, CPU)])
    assert served.tolist() == list(range(10))
    assert served.dtype == torch.int64


def test_colour_sets_have_their_channels_first(tmp_path, monkeypatch):
    class Tiny:
        base_folder, classes = "tiny", ["a", "b"]

        def __init__(self, root, train):
            self.data = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
            self.targets = [0, 1]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Tiny)
    images = Torchvision(name="CIFAR10", root=tmp_path).load()
    assert images.channels == Torchvision(name="CIFAR10").channels == 3
    red = images.arrays["train"][0][0, 0]
    assert red.tolist() == [[3 * (4 * row + column) for column in range(4)] for row in range(4)]


# --- real photos ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif("HARNESS_PHOTOS" not in os.environ, reason="HARNESS_PHOTOS names no ImageFolder tree of photos")
def test_real_photos_as_found_in_the_wild():
    """Ten monkey species: one .png among the .jpg, one file without a dot in its name."""

    images = ImageFolder(root=os.environ["HARNESS_PHOTOS"], size=224).load()
    assert images.counts == {"train": 1097, "test": 272}
    assert len(images.classes) == 10
    assert [note for note in images.notes if "n9151jpg" in note]
    assert "train/n9/n9160.png" in {name for name, _ in images.files["train"]}
    x, y = next(images.train(0, 16, PAPER, streams(0), torch.device("cpu")))
    assert x.shape == (16, 3, 224, 224)
    assert x.isfinite().all()
    assert x.std() > 0.3
    assert len(set(y.tolist())) > 1


@pytest.mark.parametrize("size", [8, 72])
def test_labels_are_held_against_the_folders_once_more(tmp_path, size):
    """Of the images that are served each is looked up by its content, whatever became of order and names."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for name in "abc":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, size=(80, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    (tmp_path / "train" / "a" / "read me").write_text("no image")
    part = ImageFolder(root=tmp_path, size=size)
    spec = BASELINE.but(data=part)
    trace = Trace(1, 3, rng=streams(0))
    (check,) = part.proof(spec, trace)
    assert (check.seen, check.ok) == ("0 of 23", True), "eight of each class; one of those drawn is no image"
    images = part.load()
    if size == 8:
        images.arrays["train"][1][:] = (images.arrays["train"][1] + 1) % 3
    else:
        images.files["train"] = [(name, (label + 1) % 3) for name, label in images.files["train"]]
    (check,) = part.proof(spec, trace)
    assert not check.ok
    folders._loaded.cache_clear()
