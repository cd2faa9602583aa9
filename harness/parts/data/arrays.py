"""Images in numpy's files."""

import zipfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.folders import Folder
from harness.parts.data.gathered import for_each_class, limited
from harness.parts.data.memory import Cached
from harness.parts.data.names import named
from harness.parts.data.reading import brief, told
from harness.parts.data.sets import in_memory, parted
from harness.parts.data.splits import Split, chosen, lacking
from harness.spec import Data, Spec

IMAGES, LABELS = ("x", "images"), ("y", "labels")


class Arrays(Data):
    """The arrays `x_train`, `y_train`, `x_test`, `y_test` of a .npz, or of the .npy files of a folder: `root`.

    They may be called `train_images`, `train_labels` and so on; `val` and others will do for `test`, as
    `splits.chosen` has it, and `train` and `test` name them. Without a test set, and then `x` and `y` or `images` and
    `labels` will do, a `split` sets one apart. Images are uint8, N x H x W with one channel or N x H x W x C or
    N x C x H x W with one or three, as high as wide; they stay in memory, at their size. Labels are whole numbers, N or
    N x 1: the classes, in their order, called as `names` says. Normalised by the mean and s.d. of the training images.
    `limit` and `limit_test` take a slice. Raises Problem on any other type or shape.
    """

    place_fields: ClassVar[frozenset[str]] = Data.place_fields | {"names", "train", "test"}

    root: Folder
    train: str | None = None
    test: str | None = None
    split: Split | None = None
    names: Folder | None = None
    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)

    @property
    def channels(self) -> int:
        return self.load().channels

    def load(self) -> Cached:
        return _arrays(self)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """The sums of the images of each class, over all splits, against the files': none is of another class."""
        images, due, seen = spec.data.load(), dict[int, int](), dict[int, int]()
        arrays = _opened(self.root)
        for name, array in arrays.items():
            own = arrays.get(_beside(name))
            if own is not None and _is_images(name):
                for image, label in zip(array, np.ravel(own).tolist(), strict=True):
                    due[int(label)] = due.get(int(label), 0) + int(np.sum(image, dtype=np.int64))
        names = {name for name in _pairs(str(self.root), arrays) if name}
        train = chosen(names, self.train, self.test, str(self.root))[0] or ""
        numbers = np.unique(arrays[_pairs(str(self.root), arrays)[train][1]]).tolist()
        for split in images.counts:
            for image, label in zip(images.arrays[split][0], images.labels(split).tolist(), strict=True):
                seen[numbers[label]] = seen.get(numbers[label], 0) + int(np.sum(image, dtype=np.int64))
        more = sum(seen[label] > due[label] for label in seen)
        yield Check("classes of images that are brighter, in sum, than they are stored", "0", f"{more}", more == 0)


@disk.kept
@lru_cache
def _arrays(part: Arrays) -> Cached:
    where, stored = f"data.root={part.root}", _opened(part.root)
    pairs = _pairs(where, stored)
    train, test, notes = chosen({name for name in pairs if name}, part.train, part.test, where)
    train = train if train or "" not in pairs else ""
    if train is None:
        raise Problem(f"{where}: no x_train and y_train; there are: {', '.join(sorted(stored))}: name data.train")
    lacking(where, part.split, test, "no x_test and y_test")
    splits = {"train": train, "test": test} if test is not None else {"train": train}
    arrays = {
        own: (_images(where, pairs[name][0], stored), _labels(where, pairs[name], stored))
        for own, name in splits.items()
    }
    numbers = sorted(set(arrays["train"][1].tolist()))
    _learnable(where, numbers, arrays)
    arrays = {own: (x, np.searchsorted(numbers, y)) for own, (x, y) in arrays.items()}
    classes = tuple(map(str, numbers))
    if part.split:
        arrays = parted(part.split, arrays["train"], classes)
    for own, limit in (("train", part.limit), ("test", part.limit_test)):
        for_each_class(limit, len(classes), f"{part.root} ({own})")
        kept = limited(arrays[own][1], limit)
        arrays[own] = arrays[own][0][kept], arrays[own][1][kept]
    images = in_memory(arrays, classes)
    images.classes = named(classes, part.names)
    images.notes = notes
    return images


def _opened(root: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a .npz, or of a folder's .npy files, by name. Raises Problem where there are none."""
    paths = [root] if root.suffix == ".npz" else sorted(root.glob("*.npy"))
    found: dict[str, np.ndarray] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                read = np.load(file, allow_pickle=False)
                found |= dict(read) if path.suffix == ".npz" else {path.stem: read}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise Problem(f"data.root={path} cannot be read ({brief(error)}): save it anew with numpy.savez") from None
    if not found:
        raise Problem(f"data.root={root}: no .npz and no folder of .npy: x_train, y_train, x_test, y_test are needed")
    return found


def _is_images(name: str) -> bool:
    return bool(set(name.split("_")) & set(IMAGES))


def _beside(name: str) -> str:
    """What the labels of these images would be called."""
    return "_".join(LABELS[IMAGES.index(word)] if word in IMAGES else word for word in name.split("_"))


def _pairs(where: str, stored: Mapping[str, np.ndarray]) -> dict[str, tuple[str, str]]:
    """The names of images and labels by split, "" of those that name none."""
    pairs = {}
    for name in stored:
        if _is_images(name):
            if _beside(name) not in stored:
                raise Problem(f"{where}: {name} has no labels: {_beside(name)} is needed beside it")
            split = "_".join(word for word in name.split("_") if word not in IMAGES)
            pairs[split] = (name, _beside(name))
    return pairs


def _images(where: str, name: str, stored: Mapping[str, np.ndarray]) -> np.ndarray:
    """uint8 N x C x H x W."""
    x = stored[name]
    if x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] == x.shape[2]:
        x = x.transpose(0, 3, 1, 2)
    x = x[:, None] if x.ndim == 3 else x
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3) or x.shape[2] != x.shape[3] or not len(x):
        raise Problem(
            f"{where}: {name} is {_told(stored[name])}; uint8 N x H x W, or with one or three channels, as high "
            "as wide, is needed: save it so"
        )
    return np.ascontiguousarray(x)


def _labels(where: str, names: tuple[str, str], stored: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whole numbers, N."""
    x, y = (stored[name] for name in names)
    if y.dtype.kind not in "iu" or y.size != len(y) or len(y) != len(x):
        raise Problem(f"{where}: {names[1]} is {_told(y)}; {len(x)} whole numbers are needed, one an image")
    return y.reshape(-1).astype(np.int64)


def _told(array: np.ndarray) -> str:
    return f"{array.dtype} {' x '.join(map(str, array.shape))}"


def _learnable(where: str, numbers: list[int], arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    if len(numbers) < 2:
        raise Problem(f"{where}: {len(numbers)} class of training images; at least two are needed")
    if len({x.shape[1:] for x, _ in arrays.values()}) > 1:
        raise Problem(f"{where}: training and test images are of other sizes, or channels: save them alike")
    for _, y in arrays.values():
        strange = sorted(set(y.tolist()) - set(numbers))
        if strange:
            what = told("classes that only test images have", list(map(str, strange)))[0]
            raise Problem(f"{where}: {what}: nobody can learn them; take them out, or more images")
