import csv
import hashlib
import io
import json
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
    ImageFolder,
    Split,
    Torchvision,
    digests,
)
from harness.parts.data.sets import SPLITS
from harness.spec import plain
from tests.kit.folders import CPU, batches
from tests.kit.own_data import as_folder, photo, photos

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


def mat(path, **stored):
    """As MATLAB has it, by scipy; its md5."""
    scipy_io = pytest.importorskip("scipy.io")
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy_io.savemat(path, stored)
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_svhn_from_its_files(tmp_path, monkeypatch):
    """Its ten is the digit 0, and its arrays are H x W x C x N."""
    rng, stored = np.random.default_rng(0), {}
    lists = {split: list(own) for split, own in torchvision.datasets.SVHN.split_list.items()}
    for split, n in (("train", 20), ("test", 10)):
        x, y = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8), np.arange(n) % 10 + 1
        lists[split][2] = mat(tmp_path / f"{split}_32x32.mat", X=x, y=y[:, None])
        stored[split] = x.transpose(3, 2, 0, 1), y % 10
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)
    images = Torchvision(name="SVHN", root=tmp_path).load()
    assert Torchvision(name="SVHN").channels == 3
    assert (images.channels, images.size, images.classes) == (3, 32, tuple("0123456789"))
    for split, (x, y) in stored.items():
        assert np.array_equal(images.arrays[split][0], x)
        assert np.array_equal(images.arrays[split][1], y)


def filed(root, name):
    """The same twelve photos as one of torchvision's sets lays them out, and how its classes are called."""
    made = photos()
    by_split = {split: [(label, data) for one, label, data in made if one == split] for split in ("train", "val")}
    if name == "Food101":
        lists = {"train": {}, "test": {}}
        for split, own in (("train", by_split["train"]), ("test", by_split["val"])):
            for number, (label, data) in enumerate(own):
                path = root / f"food-101/images/{label}/{split}{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                lists[split].setdefault(label, []).append(f"{label}/{split}{number}")
            (root / "food-101/meta").mkdir(exist_ok=True)
            (root / f"food-101/meta/{split}.json").write_text(json.dumps(lists[split]))
        return ("cat", "dog")
    base = root / "gtsrb"
    for number, (label, data) in enumerate(by_split["train"]):
        path = base / f"GTSRB/Training/{'00000' if label == 'cat' else '00001'}/{number}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    rows = io.StringIO()
    writer = csv.writer(rows, delimiter=";")
    writer.writerow(["Filename", "ClassId"])
    (base / "GTSRB/Final_Test/Images").mkdir(parents=True)
    for number, (label, data) in enumerate(by_split["val"]):
        (base / f"GTSRB/Final_Test/Images/{number}.ppm").write_bytes(data)
        writer.writerow([f"{number}.ppm", int(label == "dog")])
    (base / "GT-final_test.csv").write_text(rows.getvalue())
    return ("0", "1")


@pytest.mark.parametrize("size", [16, 72])
@pytest.mark.parametrize("name", ["Food101", "GTSRB"])
def test_sets_of_files_serve_what_a_folder_of_them_serves(name, size, tmp_path, monkeypatch, offline):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    classes = filed(tmp_path / "sets", name)
    part = Torchvision(name=name, root=tmp_path / "sets", size=size)
    images, folder = part.load(), ImageFolder(root=as_folder(tmp_path / "pets", photos()), size=size).load()
    assert (part.channels, images.classes, images.counts) == (3, classes, {"train": 8, "test": 4})
    assert digests(images) == digests(folder)
    assert images.photos
    assert part.but(limit=4).load().counts == {"train": 4, "test": 4}
    x, _ = next(iter(images.test(4, CPU)))
    assert x.shape == (4, 3, size, size)


def test_flowers_from_their_files(tmp_path, monkeypatch, offline):
    """102 classes, by numbers in a .mat; those without a test image are told."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    base = tmp_path / "flowers-102"
    (base / "jpg").mkdir(parents=True)
    for number in range(1, 105):
        (base / f"jpg/image_{number:05}.jpg").write_bytes(photo(number, width=9, height=9))
    files = dict(torchvision.datasets.Flowers102._file_dict)
    files["label"] = ("imagelabels.mat", mat(base / "imagelabels.mat", labels=np.array([*range(1, 103), 1, 2])))
    ids = {"trnid": np.arange(1, 103), "valid": np.array([1]), "tstid": np.array([103, 104])}
    files["setid"] = ("setid.mat", mat(base / "setid.mat", **ids))
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", files)
    images = Torchvision(name="Flowers102", root=tmp_path, size=8).load()
    assert images.counts == {"train": 102, "test": 2}
    assert images.classes[:2] == ("pink primrose", "hard-leaved pocket orchid")
    assert sorted(images.labels("test")) == [0, 1]
    assert [note for note in images.notes if note.startswith("100 of 102 classes have no test image: canterbury bells")]


def test_a_set_without_a_test_set_is_split(tmp_path, monkeypatch, offline):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    for number in range(20):
        path = tmp_path / "sets/eurosat/2750" / ("River", "Forest")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number))
    part = Torchvision(name="EuroSAT", root=tmp_path / "sets", size=64, split=Split())
    assert part.load().counts == {"train": 16, "test": 4}
    assert part.load().classes == ("Forest", "River")
    assert not set(part.load().content("train")) & set(part.load().content("test"))
    with pytest.raises(Problem, match=r"EuroSAT has no test set"):
        Torchvision(name="EuroSAT", root=tmp_path / "sets").load()
    with pytest.raises(Problem, match="SEMEION has no test set.*data.split=Split"):
        Torchvision(name="SEMEION", root=tmp_path / "sets").load()
    with pytest.raises(Problem, match="data.split is for data without a test set, and there is test"):
        Torchvision(name="Food101", root=tmp_path / "sets", split=Split()).load()
    with pytest.raises(Problem, match="data.size and data.fit are for sets of files, and MNIST has a size"):
        Torchvision(name="MNIST", root=tmp_path / "sets", size=32).load()


def test_what_was_there_before_has_the_id_that_it_had():
    assert Torchvision(name="CIFAR10").settings() == {
        "name": "CIFAR10",
        **dict.fromkeys(("limit", "limit_test", "size", "fit", "split")),
    }
    assert plain(Torchvision(name="CIFAR10")) == {"kind": "Torchvision", "name": "CIFAR10", "root": "data"}


@pytest.mark.parametrize("name", SPLITS)
def test_torchvision_has_the_sets_that_are_offered(name, tmp_path, offline):
    """By its own signature; and a set that is not there, and cannot be fetched, is one line."""
    part = Torchvision(name=name, root=tmp_path / "sets", split=None if SPLITS[name][1] else Split())
    with pytest.raises(Problem, match=f"{name} was expected in .*, and no download worked") as caught:
        part.load()
    assert "\n" not in str(caught.value)
    assert "TypeError" not in str(caught.value)
    assert list(tmp_path.rglob("*")) == []
