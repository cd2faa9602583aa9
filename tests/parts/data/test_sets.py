import struct
import urllib.error

import numpy as np
import pytest
import torch
import torchvision

from harness import Problem
from harness.parts import data
from harness.parts.data import (
    Digits,
    Torchvision,
)
from tests.kit.folders import CPU, batches

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


def test_a_slice_of_a_set_leaves_no_class_empty(tmp_path, offline):
    pair = np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10
    write_mnist(tmp_path, pair, pair)
    for slices, split in (({"limit": 9}, "train"), ({"limit_test": 9}, "test")):
        with pytest.raises(Problem, match=rf"a slice of 9 images of MNIST .{split}. leaves some of the 10 classes"):
            Torchvision(name="MNIST", root=tmp_path, **slices).load()
    assert Torchvision(name="MNIST", root=tmp_path, limit=10).load().counts["train"] == 10


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
