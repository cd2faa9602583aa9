"""Images in files: any ImageFolder tree, and Places365.

Every file is read and decoded once before the first epoch; see `harness.parts.data.reading`.
"""

import hashlib
import io
import json
import os
from abc import abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import AfterValidator, Field

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.images import SMALL, Images
from harness.parts.data.listing import Listing, places, tree
from harness.parts.data.memory import Cached
from harness.parts.data.photos import Photos, centre
from harness.parts.data.reading import is_image, opened, read_all, rgb, told
from harness.paths import expanded, runs, write_atomic
from harness.rng import stream
from harness.spec import Data, Spec

LOOKED, SAMPLE = 32, 8  # classes, and files of each, that are looked at again
PAPER_MEAN, PAPER_STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)
Folder = Annotated[Path, AfterValidator(expanded)]
Limits = tuple[int | None, int | None]  # of training and of test images


class Files(Data):
    """Image files below `root`, at `size` x `size` px, RGB.

    Up to 64 px images are brought to `size` by their short edge and centre; larger ones are cut as the augmentation
    says, and by the paper's centre crop for test: the first Crop of an augmentation is done there, so before the other
    parts, wherever it stands among them, and next those on pixels, in their order. With `fit="squash"` the whole image
    is resized to a square, its aspect ratio given up: for test, and of small images always; and for training where
    there is no Crop, as without it. Images are as they are stored: a camera's note of its orientation
    (EXIF) is not heeded, as torchvision and timm do not. Normalised by the paper's mean and s.d. unless given. Raises
    Problem on a class without images and on images that do not decode; nothing is ever substituted. `limit` and
    `limit_test` take a slice, of which alone the files are read (and the headers of files without an image ending); see
    `limited`.
    """

    root: Folder
    size: int = Field(224, ge=4)
    mean: tuple[float, float, float] = PAPER_MEAN
    std: tuple[float, float, float] = PAPER_STD
    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)
    fit: Literal["squash"] | None = None

    @property
    def channels(self) -> int:
        return 3

    def settings(self) -> dict[str, Any]:
        """With how photos are decoded, as `shrunk` has it: runs by other pixels have other ids."""
        return super().settings() | ({"decoding": 2} if self.size > SMALL else {})

    @abstractmethod
    def listing(self) -> "Listing":
        """Raises Problem where what is there is laid out otherwise."""

    def load(self) -> Images:
        return _loaded(self)


class ImageFolder(Files):
    """A tree `root/train/CLASS/FILE`, `root/val/CLASS/FILE`; `val` is the test set. ImageNet as torchvision leaves it.

    What is an image is decided by content, not by ending; EXIF does not turn it. Beyond `Files`, raises Problem on a
    missing or empty folder, on one class, and on classes that differ between the two.
    """

    def listing(self) -> Listing:
        return tree(self.root)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Images drawn from the folders, read by Pillow alone: each is served as its folder's class."""
        images, known = spec.data.load(), dict[str, set[int]]()
        for split in images.counts:
            for content, label in zip(images.content(split), images.labels(split).tolist(), strict=True):
                known.setdefault(content, set()).add(label)
        found, amiss = 0, 0
        classes = sorted(images.classes)
        for label in sorted(trace.rng("audit", "classes").permutation(len(classes))[:LOOKED].tolist()):
            folders = [self.root / part / classes[label] for part in ("train", "val")]
            every = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
            drawn = trace.rng("audit", "class", label).permutation(len(every))[:SAMPLE]
            for path in (every[i] for i in drawn):
                served = known.get(self._content(path))
                found += served is not None
                amiss += served is not None and label not in served
        what = f"images drawn from {min(LOOKED, len(classes))} classes' folders, {SAMPLE} each, served as another class"
        yield Check(what, "0", f"{amiss} of {found}", amiss == 0)

    def _content(self, path: Path) -> str:
        """What `Images.content` has of a file: its digest, or of a small image that of its pixels."""
        try:
            if self.size > SMALL:
                return hashlib.sha256(path.read_bytes()).hexdigest()
            whole = rgb(opened(path))
        except (OSError, Problem):  # no image, or none that can be read, which is told elsewhere
            return ""
        size, (width, height) = self.size, whole.size
        if self.fit == "squash":
            pixels = np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR))
        else:
            wide, high = (max(size, round(side * size / min(width, height))) for side in (width, height))
            left, top = (wide - size) // 2, (high - size) // 2
            grown = whole if (wide, high) == whole.size else whole.resize((wide, high), Image.Resampling.BILINEAR)
            pixels = np.asarray(grown)[top : top + size, left : left + size]
        return hashlib.sha256(np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()).hexdigest()


class Places365(Files):
    """Places365-Standard as `torchvision.datasets.Places365` lays it out; its validation images are the test set.

    `root` holds categories_places365.txt, places365_train_standard.txt, places365_val.txt, and the images of
    `small` (256 x 256 px) in data_256_standard/ and val_256/, the others in data_large_standard/ and val_large/.
    """

    small: bool = True

    def listing(self) -> Listing:
        return places(self.root, "256" if self.small else "large")


def limited(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Which of N images to keep, in order: `limit` of them, as even over the classes as can be; all for None.

    The same ones for the same labels; those of a smaller limit are among those of a greater one.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    shuffled = stream(0, "limit").permutation(len(labels))
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]
    firsts = np.searchsorted(labels[grouped], labels[grouped])
    turn = np.arange(len(labels)) - firsts  # of each image, within its class
    return np.sort(grouped[np.argsort(turn, kind="stable")[:limit]])


def for_each_class(limit: int | None, classes: int, name: str) -> None:
    if limit and limit < classes:
        raise Problem(f"a slice of {limit} images of {name} leaves some of the {classes} classes without any")


@disk.kept
@lru_cache
def _loaded(part: Files) -> Images:
    found, size, fit = part.listing(), part.size, part.fit
    skipped: list[str] = []
    for (split, name), limit in zip(found.parts.items(), (part.limit, part.limit_test), strict=True):
        for_each_class(limit, len(found.classes), name)
        if limit:  # of images alone, or a class with other files among them would get fewer
            none = {f for f, _ in found.files[split] if not is_image(f"{part.root}/{f}")}
            skipped += sorted(none)
            every = [entry for entry in found.files[split] if entry[0] not in none]
            found.files[split] = [every[i] for i in limited(np.array([label for _, label in every]), limit)]
    known, notes = read_all(part.root, [name for entries in found.files.values() for name, _ in entries], skipped)
    notes = [*told("skipped", found.unread), *notes]
    files = {split: [entry for entry in entries if entry[0] in known] for split, entries in found.files.items()}
    for split, name in found.parts.items():
        empty = set(range(len(found.classes))) - {label for _, label in files[split]}
        if empty:
            raise Problem(f"data.root={part.root}: no image in {name}{found.classes[min(empty)]}")
    by_folder = isinstance(part, ImageFolder)  # then the name says the class
    content = sorted((n, known[n]) if by_folder else (n, known[n], y) for entries in files.values() for n, y in entries)
    key = hashlib.sha256(json.dumps([found.classes, content]).encode()).hexdigest()[:16]
    counts = {split: len(entries) for split, entries in files.items()}
    if size > SMALL:
        return Photos(found.classes, 3, size, counts, key, part.mean, part.std, notes, part.root, files, known, fit)
    kind = f"{size}-{fit}" if fit else f"{size}"
    arrays = {
        split: (_decoded(part, f"{key}-{kind}-{split}", entries), np.array([label for _, label in entries]))
        for split, entries in files.items()
    }
    return Cached(found.classes, 3, size, counts, key, part.mean, part.std, notes, arrays)


def distrust() -> None:
    """From now on, in this process, read every file anew, whatever is remembered of it."""
    disk.trusting = False
    for load in disk.loads:
        load.cache_clear()


def _decoded(part: Files, key: str, entries: list[tuple[str, int]]) -> np.ndarray:
    """The images of one split as uint8 N x 3 x size x size, from the cache or decoded now."""
    path = runs() / "cache" / "arrays" / f"{key}.npy"
    if not disk.trusting or not path.exists():

        def decode(entry: tuple[str, int]) -> np.ndarray:
            image, size = rgb(opened(part.root / entry[0])), part.size
            if part.fit == "squash":
                return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
            return np.asarray(centre(image, size, size)).transpose(2, 0, 1)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            array = np.stack(list(pool.map(decode, entries)))
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomic(path, buffer.getvalue())
    decoded: np.ndarray = np.load(path)
    return decoded
