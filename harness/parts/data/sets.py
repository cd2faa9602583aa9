"""Sets that come by themselves: scikit-learn's digits, and torchvision's."""

import gzip
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.folders import PAPER_MEAN, PAPER_STD, Folder
from harness.parts.data.gathered import USUAL, Limits, Look, for_each_class, gathered, limited
from harness.parts.data.images import SMALL, Images, Triple
from harness.parts.data.listing import Listing
from harness.parts.data.memory import Cached
from harness.parts.data.reading import brief
from harness.parts.data.splits import Split, lacking
from harness.rng import stream
from harness.spec import Data, Spec


class Digits(Data):
    """scikit-learn's 8 x 8 digits: 1,797 images split once, stratified, into 597 for training and 1,200 for test.

    `limit` and `limit_test` take a slice; see `limited`.
    """

    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Its images and labels against scikit-learn's file, read once more, whatever their split and order."""
        images, due = spec.data.load(), _described(_digits_file().read_bytes())
        served = Counter[tuple[str, int]]()
        for split in images.counts:
            served.update(zip(images.content(split), images.labels(split).tolist(), strict=True))
        others = sum((served - due).values())
        yield Check("images that are not scikit-learn's, or have another label", "0", f"{others}", others == 0)

    @property
    def channels(self) -> int:
        return 1

    def load(self) -> Cached:
        return _digits((self.limit, self.limit_test))


@lru_cache(1)  # a run in the same process reads the same file
def _described(file: bytes) -> Counter[tuple[str, int]]:
    """The digest of each image of scikit-learn's file, and its label; how often they are there."""
    found = Counter[tuple[str, int]]()
    for line in gzip.decompress(file).decode().splitlines():
        *pixels, label = map(float, line.split(","))
        grey = bytes(round(pixel * 255 / 16) for pixel in pixels)
        found[hashlib.sha256(grey).hexdigest(), int(label)] += 1
    return found


def _digits_file() -> Path:
    package = find_spec("sklearn")  # found, not imported: that takes a second, in each process
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"


@lru_cache
def _digits(limits: Limits) -> Cached:
    rows = np.loadtxt(_digits_file(), delimiter=",")
    pixels = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = rows[:, -1].astype(np.int64)
    shuffled = stream(0, "split").permutation(len(rows))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    train = by_class[np.linspace(0, len(rows), 597, endpoint=False).astype(int)]  # evenly through the classes
    arrays = {}
    for split, rows_of, limit in zip(("train", "test"), (train, np.setdiff1d(by_class, train)), limits, strict=True):
        for_each_class(limit, 10, f"the digits ({split})")
        kept = rows_of[limited(labels[rows_of], limit)]
        arrays[split] = pixels[kept], labels[kept]
    return in_memory(arrays, tuple("0123456789"))


def in_memory(
    arrays: dict[str, tuple[np.ndarray, np.ndarray]],
    classes: tuple[str, ...],
    mean: Triple | None = None,
    std: Triple | None = None,
) -> Cached:
    """`arrays` maps "train" and "test" to uint8 images N x C x H x W and labels N."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for split in ("train", "test"):
        for array in arrays[split]:
            digest.update(f"{split}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    train = arrays["train"][0]
    mean = mean or tuple(round(float(v), 3) for v in train.mean((0, 2, 3)))
    std = std or tuple(round(float(v), 3) for v in train.std((0, 2, 3)))
    counts = {split: len(labels) for split, (_, labels) in arrays.items()}
    c, size = train.shape[1], train.shape[2]
    return Cached(classes, c, size, counts, digest.hexdigest()[:16], mean, std, arrays=arrays)


SPLITS = {  # of sets of image files: what torchvision calls those that training and test set are; "" where it has none
    "Country211": ("train", "test"),
    "DTD": ("train", "test"),
    "EuroSAT": ("", ""),
    "FGVCAircraft": ("trainval", "test"),
    "Flowers102": ("train", "test"),
    "Food101": ("train", "test"),
    "GTSRB": ("train", "test"),
    "Imagenette": ("train", "val"),
    "OxfordIIITPet": ("trainval", "test"),
    "RenderedSST2": ("train", "test"),
    "StanfordCars": ("train", "test"),
    "SUN397": ("", ""),
}
GREY = ("MNIST", "FashionMNIST", "KMNIST", "USPS", "SEMEION")


class Torchvision(Data):
    """One of torchvision's sets of images with one class each, under `root`, downloaded there where that works.

    Small ones, MNIST to SEMEION, are arrays, as large as they are, and normalised by the mean and s.d. of the training
    images. The others are files, prepared as `Files` are: at `size` px (224), cut or, with `fit`, squashed, by the
    paper's mean and s.d. SEMEION, EuroSAT and SUN397 have no test set, and a `split` sets one apart. The test set of
    Imagenette is its "val". `limit` and `limit_test` take a slice; see `limited`.
    """

    name: Literal[
        "MNIST",
        "FashionMNIST",
        "KMNIST",
        "CIFAR10",
        "CIFAR100",
        "USPS",
        "SVHN",
        "STL10",
        "SEMEION",
        "Country211",
        "DTD",
        "EuroSAT",
        "FGVCAircraft",
        "Flowers102",
        "Food101",
        "GTSRB",
        "Imagenette",
        "OxfordIIITPet",
        "RenderedSST2",
        "StanfordCars",
        "SUN397",
    ]
    root: Folder = Path("data")
    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)
    size: int | None = Field(None, ge=4)
    fit: Literal["squash"] | None = None
    split: Split | None = None

    @property
    def channels(self) -> int:
        return 1 if self.name in GREY else 3

    def settings(self) -> dict[str, Any]:
        photos = self.name in SPLITS and (self.size or 224) > SMALL
        return super().settings() | ({"decoding": 2} if photos else {})

    def load(self) -> Images:
        if self.name in SPLITS:
            return _filed(self)
        if self.size or self.fit:
            raise Problem(f"data.size and data.fit are for sets of files, and {self.name} has a size: leave them out")
        lacking("data", self.split, None if self.name == "SEMEION" else "one", f"{self.name} has no test set")
        return _torchvision(self.name, self.root, (self.limit, self.limit_test), self.split)


def _read(name: str, root: Path, **chosen: Any) -> Any:
    """torchvision's set, downloaded where it is not there. Raises Problem, and leaves nothing, where neither works."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    base = getattr(kind, "base_folder", "")
    expected = root / name / "raw" if "MNIST" in name else root / base if isinstance(base, str) else root
    try:
        return kind(root, **chosen)
    except (RuntimeError, OSError):
        before = set(root.rglob("*")) | ({root} if root.exists() else set())
        try:
            return kind(root, **{**chosen, "download": True})
        except Exception as error:
            for path in sorted({root, *root.rglob("*")} - before, reverse=True):
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
            raise Problem(
                f"data.root={root}: {name} was expected in {expected}, and no download worked ({brief(error)})"
            ) from None


@lru_cache
def _torchvision(name: str, root: Path, limits: Limits, split: Split | None = None) -> Cached:
    by_name = name in ("SVHN", "STL10")
    asked = {"train": {"split": "train"} if by_name else {"train": True}}
    asked["test"] = {"split": "test"} if by_name else {"train": False}
    arrays = {}
    for own, which in ({"train": {"download": False}} if split else asked).items():
        found = _read(name, root, **which)
        images = np.asarray(found.data)
        images = images[:, None] if images.ndim == 3 else images
        images = images if images.shape[1] in (1, 3) else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        labels = np.asarray(found.targets if hasattr(found, "targets") else found.labels)
        arrays[own] = images, labels
    classes = tuple(getattr(found, "classes", None) or map(str, range(int(labels.max()) + 1)))
    if split:
        arrays = parted(split, arrays["train"], classes)
    for (own, (images, labels)), limit in zip(arrays.items(), limits, strict=True):
        for_each_class(limit, len(classes), f"{name} ({own})")
        kept = limited(labels, limit)
        arrays[own] = images[kept], labels[kept]
    return in_memory(arrays, classes)


@disk.kept
@lru_cache
def _filed(part: Torchvision) -> Images:
    """A set of image files, as torchvision lists them."""
    train, test = SPLITS[part.name]
    lacking("data", part.split, test or None, f"{part.name} has no test set")
    found = {
        own: _read(part.name, part.root, **({"split": split} if split else {}))
        for own, split in (("train", train), ("test", test))
        if split or own == "train"
    }
    files = {
        own: [(os.path.relpath(path, part.root), int(label)) for path, label in _listed(each)]
        for own, each in found.items()
    }
    classes = tuple(
        getattr(found["train"], "classes", None) or map(str, range(max(label for _, label in files["train"]) + 1))
    )
    listing = Listing(classes, part.root, files, {own: USUAL[own] for own in files}, "content")
    look = Look(part.size or 224, PAPER_MEAN, PAPER_STD, part.fit)
    return gathered(f"data.root={part.root}", listing, look, (part.limit, part.limit_test), part.split)


def _listed(found: Any) -> list[tuple[str, int]]:
    """The file and the class of each image of one of torchvision's sets, which is not asked to decode any."""
    if hasattr(found, "loader"):
        found.loader = str
        return [found[place] for place in range(len(found))]
    if hasattr(found, "_samples"):
        return list(found._samples)
    return list(zip(map(str, found._images), found._labels, strict=True))


def parted(
    split: Split, whole: tuple[np.ndarray, np.ndarray], classes: tuple[str, ...]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of both splits that one set is parted into."""
    images, labels = whole
    rest, out = split.apart([hashlib.sha256(image.tobytes()).hexdigest() for image in images], labels, classes)
    return {own: (images[places], labels[places]) for own, places in (("train", rest), ("test", out))}
