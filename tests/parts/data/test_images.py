import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.digits import BASELINE
from harness import Problem, study
from harness.parts import data
from harness.parts.augment import Shift
from harness.parts.data import (
    Digits,
    ImageFolder,
    folders,
    in_memory,
)
from harness.rng import streams
from harness.spec import Sampler
from harness.tricks.cosine import cosine
from tests.kit.folders import CPU, batches, pixels

# --- what is known of an image --------------------------------------------------------------------------------------


def test_of_an_image_its_class_is_known():
    images = numbered(20)
    due = np.arange(20) % 10
    assert [int(images.truth("train", place)) for place in range(20)] == due.tolist()
    assert int(images.truth("test", 6)) == 6
    places = np.array([13, 2, 7])
    assert images.truths("train", places, []).tolist() == [3, 2, 7]
    assert images.strata("train").tolist() == images.marks("train") == due.tolist()
    assert images.present("test") == set(range(7))
    assert Digits().truth == "class"


def test_the_canvas_holds_test_images_of_another_size_too():
    images = Digits().load()
    assert images.canvas == (8, 8)
    assert images.resized(12).canvas == (12, 12)
    assert images.resized(5).canvas == (8, 8)


def test_a_sampler_goes_by_the_strata():
    class Halves(Sampler):
        def order(self, labels, rng):
            return np.flatnonzero(labels == 1)

    class Grouped(type(numbered(1))):
        def strata(self, split):
            return np.arange(self.counts[split]) // 10

    images = numbered(20)
    images.__class__ = Grouped
    images.sampler = Halves()
    assert np.concatenate(images.order(0, 5, streams(0))).tolist() == list(range(10, 20))


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


@pytest.mark.parametrize("start", [0, 2, 3, 5])
def test_epochs_after_one_another_are_each_as_it_is_alone(start):
    def told(served):
        return [(x.tolist(), y.tolist()) for x, y in served]

    images, how = numbered(24), (7, (Shift(pixels=1),), streams(0), CPU)
    apart = [told(images.train(epoch, *how)) for epoch in range(1, 4)]
    assert told(images.train(1, *how, start, 4)) == [*apart[0], *apart[1], *apart[2]][start:]
    assert told(images.train(1, *how, start)) == apart[0][start:]
    assert not told(images.train(3, *how, until=3))


def test_a_sampler_that_gives_too_few_is_said():
    class Few(Sampler):
        def order(self, labels, rng):
            return np.arange(7)

    images = numbered(24)
    images.sampler = Few()
    with pytest.raises(Problem, match=r"^sampler: Few.order gives fewer than 24 places, one a training image$"):
        next(images.train(0, 7, (), streams(0), CPU))


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


# --- there twice ----------------------------------------------------------------------------------------------------

TESTED = "test images are training images to the byte: accuracy is flattered"


TORN = "images that are there, to the byte, in more than one class"


@pytest.mark.parametrize("size", [8, 72])
def test_images_that_are_there_twice_are_told_before_the_first_run(bitmaps, size, monkeypatch):
    counted = []
    count = lambda images: (counted.append(images.digest), data.repeated(images))[1]  # noqa: E731
    monkeypatch.setattr("harness.study.checks.repeated", count)

    def notes():
        folders._loaded.cache_clear()
        rungs = BASELINE.but(data=ImageFolder(root=bitmaps, size=size), batch_size=2)
        told = study.check(study.plan(study.Study("s", "", rungs, (cosine,), (0,)), [("epochs", 2)]))
        # those of one grey are saved anew, which test_twins is about, and the sets here are uneven
        return [note for note in told if "saved anew" not in note and "uneven" not in note]

    for i in range(36):
        Image.new("RGB", (80, 80), (5 * i, 255 - i, 7)).save(bitmaps / f"val/cat/more{i}.bmp")
    assert notes() == []
    shutil.copy(bitmaps / "train/cat/0.bmp", bitmaps / "val/cat/other.bmp")
    assert notes() == [f"1 of 41 {TESTED}"]
    shutil.copy(bitmaps / "train/cat/0.bmp", bitmaps / "val/dog/other.bmp")
    shutil.copy(bitmaps / "train/dog/1.bmp", bitmaps / "train/cat/other.bmp")
    assert notes() == [f"2 of 42 {TESTED}", f"{TORN}: 2; no network can learn both"]
    shutil.rmtree(bitmaps / "val")
    shutil.copytree(bitmaps / "train", bitmaps / "val")
    with pytest.raises(Problem, match=r"all 7 .* more than 5 % are too many: take them out of one of the two"):
        notes()
    assert len(counted) == len(set(counted)) == 4


def test_images_in_memory_that_are_there_twice_are_told():
    x = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    images = data.in_memory({"train": (x, np.arange(10) % 2), "test": (x[2:5] + 20, np.zeros(3, int))}, ("a", "b"))
    assert data.repeated(images) == []
    others = np.arange(50, 89, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    images.arrays["test"] = np.concatenate([x[3:4], others]), np.zeros(40, int)  # 3 is of the other class in training
    assert data.repeated(images) == [f"1 of 40 {TESTED}", f"{TORN}: 1; no network can learn both"]
    assert data.repeated(Digits().load()) == []
