"""Sets that come by themselves: scikit-learn's digits, and torchvision's small ones."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.folders import Folder, Limits, for_each_class, limited
from harness.parts.data.images import Triple
from harness.parts.data.memory import Cached
from harness.parts.data.reading import brief
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
        images, due = spec.data.load(), Counter[tuple[str, int]]()
        for line in gzip.decompress(_digits_file().read_bytes()).decode().splitlines():
            *pixels, label = map(float, line.split(","))
            grey = bytes(round(pixel * 255 / 16) for pixel in pixels)
            due[hashlib.sha256(grey).hexdigest(), int(label)] += 1
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


class Torchvision(Data):
    """torchvision's MNIST, FashionMNIST, CIFAR10 or CIFAR100 under `root`, downloaded there where that works.

    Normalised by the mean and s.d. of the training images. `limit` and `limit_test` take a slice; see `limited`.
    """

    name: Literal["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"]
    root: Folder = Path("data")
    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)

    @property
    def channels(self) -> int:
        return 1 if "MNIST" in self.name else 3

    def load(self) -> Cached:
        return _torchvision(self.name, self.root, (self.limit, self.limit_test))


@lru_cache
def _torchvision(name: str, root: Path, limits: Limits) -> Cached:
    from torchvision import datasets

    kind = getattr(datasets, name)
    expected = root / name / "raw" if "MNIST" in name else root / kind.base_folder

    def read(train: bool) -> Any:
        try:
            return kind(root, train=train)
        except (RuntimeError, OSError):
            before = set(root.rglob("*")) | ({root} if root.exists() else set())
            try:
                return kind(root, train=train, download=True)
            except Exception as error:
                for path in sorted({root, *root.rglob("*")} - before, reverse=True):
                    if path.is_dir() and not any(path.iterdir()):
                        path.rmdir()
                raise Problem(
                    f"data.root={root}: {name} was expected in {expected}, and no download worked ({brief(error)})"
                ) from None

    arrays = {}
    for split, train, limit in (("train", True, limits[0]), ("test", False, limits[1])):
        found = read(train)
        images = np.asarray(found.data)
        images = images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        labels = np.asarray(found.targets)
        for_each_class(limit, len(found.classes), f"{name} ({split})")
        kept = limited(labels, limit)
        arrays[split] = images[kept], labels[kept]
    return in_memory(arrays, tuple(found.classes))
