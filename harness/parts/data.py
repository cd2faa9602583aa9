"""Data: digits, torchvision's small sets, any ImageFolder tree, and Places365.

Images up to 64 px are held as one uint8 array; larger ones are decoded and cut, and their pixels augmented, by worker
processes, a batch a task, as uint8. The rest of augmentation is of batches, on the device. A batch is a function of
(seed, epoch, its number). Every file is read and decoded once before the first epoch; see `harness.parts.files`.
"""

import gzip
import hashlib
import io
import json
import os
import stat
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.utils.data import Dataset

from harness import Problem
from harness.evidence import TWICE, Check, Trace
from harness.parts import files as disk
from harness.parts.augment import Crop, OnPixels
from harness.parts.decoding import in_order
from harness.parts.files import brief, is_image, opened, read_all, rgb, shrunk, told
from harness.paths import expanded, runs, write_atomic
from harness.rng import Stream, stream
from harness.spec import Augment, Data, Spec, referenced

LOOKED, SAMPLE = 32, 8  # classes, and files of each, that are looked at again
SMALL = 64  # px: up to here a data set is held in memory
PAPER_MEAN, PAPER_STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)

Batch = tuple[Tensor, Tensor]  # normalised images N x C x H x W, labels N
Triple = tuple[float, ...]
Folder = Annotated[Path, AfterValidator(expanded)]
Limits = tuple[int | None, int | None]  # of training and of test images


Drawing = list[tuple[Augment, np.random.Generator]]


def drawing(augment: Sequence[Augment], rng: Stream, epoch: int, batch: int) -> Drawing:
    """Each part with a stream of its own, so that adding one leaves the draws of the others as they were."""
    kinds = [type(part).__name__ for part in augment]
    again = [kinds[:i].count(kind) for i, kind in enumerate(kinds)]  # two of a kind draw apart
    names = [(kind, epoch, batch, *([n] if n else [])) for kind, n in zip(kinds, again, strict=True)]
    return [(part, rng("augment", *name)) for part, name in zip(augment, names, strict=True)]


def augmented(x: Tensor, parts: Drawing) -> Tensor:
    for part, draw in parts:
        x = part(x, draw)
    return x


@dataclass
class Images(ABC):
    """A loaded data set: what it is, and batches of it."""

    classes: tuple[str, ...]
    channels: int
    size: int
    counts: dict[str, int]  # images in "train" and "test", and in "val" where some are held out
    digest: str
    mean: Triple  # of pixels in [0, 255], one a channel
    std: Triple
    notes: list[str] = field(default_factory=list)  # what the user should know: files skipped, odd names

    @abstractmethod
    def train(
        self, epoch: int, batch_size: int, augment: Sequence[Augment], rng: Stream, device: torch.device, start: int = 0
    ) -> Iterator[Batch]:
        """One epoch in an order of its own, from batch `start`; a last batch that is not full is left out."""

    @abstractmethod
    def test(self, batch_size: int, device: torch.device, split: str = "test") -> Iterator[Batch]:
        """The test images, or those of another split, in order."""

    @abstractmethod
    def content(self, split: str) -> list[str]:
        """A digest of each image as it is stored, in order: the same for the same image, whatever it is called."""

    @abstractmethod
    def labels(self, split: str) -> np.ndarray:
        """The class of each image, in order."""

    @abstractmethod
    def regrouped(self, chosen: Mapping[str, tuple[str, np.ndarray]]) -> Self:
        """Other splits of the same images: by name, the split and the places in it that they are taken from."""

    @abstractmethod
    def reference(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        """Images of a split as they are stored, augmented by the parts' references: float64 N x C x H x W in [0, 255].

        For audits: it shares no code with `train` and `test`.
        """

    def order(self, epoch: int, batch_size: int, rng: Stream) -> list[np.ndarray]:
        """The training images of each batch of an epoch."""
        shuffled = rng("order", epoch).permutation(self.counts["train"])
        return [shuffled[i : i + batch_size] for i in range(0, len(shuffled) - batch_size + 1, batch_size)]

    def normalised(self, x: Tensor) -> Tensor:
        """`x` itself, normalised: another 38 MB for 64 photos would be felt."""
        return x.sub_(_channels(self.mean, x.device)).div_(_channels(self.std, x.device))


def redone(x: np.ndarray, parts: Drawing) -> np.ndarray:
    """Augmented by each part's reference; by itself where it has none."""
    for part, draw in parts:
        x = part.reference(x, draw) if referenced(part) else part(torch.from_numpy(x).float(), draw).double().numpy()
    return x


def repeated(images: Images) -> list[str]:
    """What the user should know of images that are there twice, to the byte: for training and test, or two classes."""
    content = {split: images.content(split) for split in images.counts}
    labels = {split: images.labels(split).tolist() for split in images.counts}
    trained, tested = set(content["train"]), len(content["test"])
    again = sum(image in trained for image in content["test"])
    labelled = {pair for split in content for pair in zip(content[split], labels[split], strict=True)}
    torn = sum(classes > 1 for classes in Counter(image for image, _ in labelled).values())
    notes = []
    if again:
        share = f"{again:,} of {tested:,}" if again < tested else f"all {tested:,}"
        if again > TWICE * tested:
            raise Problem(
                f"{share} test images are training images to the byte, and more than {100 * TWICE:g} % are too many: "
                "take them out of one of the two"
            )
        notes.append(f"{share} test images are training images to the byte: accuracy is flattered")
    if torn:
        notes.append(f"images that are there, to the byte, in more than one class: {torn:,}; no network can learn both")
    return notes


@lru_cache
def _channels(values: Triple, device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1)  # once a device: each copy there would wait


@dataclass
class Cached(Images):
    """Images in memory: uint8, N x C x H x W."""

    arrays: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def on(self, device: torch.device, split: str) -> tuple[Tensor, Tensor]:
        if (device, split) not in self._placed:
            images, labels = (torch.from_numpy(array).to(device) for array in self.arrays[split])
            self._placed[device, split] = images, labels.long()
        return self._placed[device, split]

    def __post_init__(self) -> None:
        self._placed: dict[tuple[torch.device, str], tuple[Tensor, Tensor]] = {}

    def train(
        self, epoch: int, batch_size: int, augment: Sequence[Augment], rng: Stream, device: torch.device, start: int = 0
    ) -> Iterator[Batch]:
        images, labels = self.on(device, "train")
        for number, chosen in enumerate(self.order(epoch, batch_size, rng)[start:], start):
            index = torch.from_numpy(chosen).to(device, non_blocking=True)
            x = augmented(images[index].float(), drawing(augment, rng, epoch, number))
            yield self.normalised(x), labels[index]

    def test(self, batch_size: int, device: torch.device, split: str = "test") -> Iterator[Batch]:
        images, labels = self.on(device, split)
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            yield self.normalised(x.float()), y

    def reference(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        return redone(self.arrays[split][0][places].astype(np.float64), parts)

    def content(self, split: str) -> list[str]:
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in self.arrays[split][0]]

    def labels(self, split: str) -> np.ndarray:
        return self.arrays[split][1]

    def regrouped(self, chosen: Mapping[str, tuple[str, np.ndarray]]) -> Self:
        arrays = {}
        for name, (split, places) in chosen.items():
            images, labels = self.arrays[split]
            arrays[name] = images[places], labels[places]
        return replace(self, arrays=arrays, counts={name: len(places) for name, (_, places) in chosen.items()})


@dataclass
class Photos(Images):
    """Image files, decoded, cut and augmented on their pixels by worker processes; the rest is done on the device."""

    root: Path = Path()
    files: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # (path below root, label), by split
    sums: dict[str, str] = field(default_factory=dict)  # the sha256 of each file
    fit: Literal["squash"] | None = None

    def train(
        self, epoch: int, batch_size: int, augment: Sequence[Augment], rng: Stream, device: torch.device, start: int = 0
    ) -> Iterator[Batch]:
        tasks = list(enumerate(self.order(epoch, batch_size, rng)[start:], start))
        for part in augment:
            if isinstance(part, OnPixels):
                part.ready()
        batches = _Batches(self, "train", tasks, augment, rng, epoch)
        for number, (x, y) in enumerate(self._served(batches, device), start):
            yield self.normalised(augmented(x.float(), shares(drawing(augment, rng, epoch, number))[2])), y

    def test(self, batch_size: int, device: torch.device, split: str = "test") -> Iterator[Batch]:
        every = np.arange(self.counts[split])
        tasks = list(enumerate(np.split(every, range(batch_size, len(every), batch_size))))
        for x, y in self._served(_Batches(self, split, tasks, (), None, 0), device):
            yield self.normalised(x.float()), y

    def reference(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        crop = next((part for part, _ in parts if isinstance(part, Crop)), None)
        draw = next((draw for part, draw in parts if part is crop), None)
        made = []
        for place in places:
            image = opened(self.root / self.files[split][place][0])
            made.append(self._plainly(image, split, crop, draw))
        x = np.stack(made).transpose(0, 3, 1, 2)
        for part, own in parts:
            if isinstance(part, OnPixels):
                x = redone(x.astype(np.float64), [(part, own)])
        rest = [(part, own) for part, own in parts if own is not draw and not isinstance(part, OnPixels)]
        return redone(x.astype(np.float64), rest)

    def _plainly(
        self, image: Image.Image, split: str, crop: Crop | None, draw: np.random.Generator | None
    ) -> np.ndarray:
        """One image H x W x 3: a cut, the whole, or the centre at 256/224 of the size, by Pillow alone."""
        size, (width, height) = self.size, image.size
        bilinear = Image.Resampling.BILINEAR
        if split == "train" or self.fit == "squash":
            top, left, h, w = (0, 0, height, width)
            if crop is not None and draw is not None:
                top, left, h, w = getattr(crop, "window", crop.box)(height, width, draw)
            by = _halves(image, min(h, w) / size)
            box = (left / by, top / by, (left + w) / by, (top + h) / by)
            return np.asarray(rgb(image).resize((size, size), bilinear, box))
        edge = round(size * 256 / 224)
        wide, high = (max(size, round(side * edge / min(width, height))) for side in (width, height))
        by = _halves(image, min(width, height) / edge)
        whole = rgb(image).resize((wide, high), bilinear, (0, 0, width / by, height / by))
        left, top = (wide - size) // 2, (high - size) // 2
        return np.asarray(whole)[top : top + size, left : left + size]

    def content(self, split: str) -> list[str]:
        return [self.sums[name] for name, _ in self.files[split]]

    def labels(self, split: str) -> np.ndarray:
        return np.array([label for _, label in self.files[split]])

    def regrouped(self, chosen: Mapping[str, tuple[str, np.ndarray]]) -> Self:
        files = {name: [self.files[split][i] for i in places] for name, (split, places) in chosen.items()}
        return replace(self, files=files, counts={name: len(entries) for name, entries in files.items()})

    def _served(self, batches: "_Batches", device: torch.device) -> Iterator[Batch]:
        """Batches as they are decoded: uint8, a quarter of what floats would be to copy."""
        cuda = device.type == "cuda"
        for served in in_order(batches, pinned=cuda):
            if isinstance(served, Problem):
                raise served
            x, y = served
            yield x.to(device, non_blocking=cuda), y.to(device, non_blocking=cuda)


def _halves(image: Image.Image, most: float) -> int:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 of its sides, by at most `most`; answers by what."""
    by = 1
    while by < 8 and 2 * by <= min(most, *image.size):
        by *= 2
    if by > 1 and image.format == "JPEG":
        image.draft(None, (image.width // by, image.height // by))
        return by
    return 1


def shares(
    parts: Drawing,
) -> tuple[list[tuple[Crop, np.random.Generator]], list[tuple[OnPixels, np.random.Generator]], Drawing]:
    """The first crop, if there is one, and the parts on pixels, which are done while decoding; and the others."""
    crops = [(part, draw) for part, draw in parts if isinstance(part, Crop)][:1]
    pixels = [(part, draw) for part, draw in parts if isinstance(part, OnPixels)]
    done = {id(draw) for _, draw in (*crops, *pixels)}
    return crops, pixels, [(part, draw) for part, draw in parts if id(draw) not in done]


@dataclass
class _Batches(Dataset[Batch | Problem]):
    """What one decoding process needs to make the batches of one epoch."""

    images: Photos
    split: str
    tasks: list[tuple[int, np.ndarray]]
    augment: Sequence[Augment]
    rng: Stream | None  # none for test images
    epoch: int

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, task: int) -> Batch | Problem:
        try:
            return self._batch(task)
        except Problem as problem:  # raised here it would reach the user as a traceback in another's words
            return problem

    def _batch(self, task: int) -> Batch:
        number, chosen = self.tasks[task]
        entries = [self.images.files[self.split][i] for i in chosen]
        size = self.images.size
        crops, pixels, _ = shares(drawing(self.augment, self.rng, self.epoch, number)) if self.rng else ([], [], [])
        crop, draw = crops[0] if crops else (None, None)
        whole = self.rng or self.images.fit == "squash"
        x = np.empty((len(entries), size, size, 3), np.uint8)
        for i, (name, _) in enumerate(entries):
            image = opened(self.images.root / name)
            x[i] = np.asarray(cut_out(image, size, crop, draw) if whole else centred(image, size))
        for part, own in pixels:
            x = part.on_pixels(x, own)
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return torch.from_numpy(x), torch.tensor([label for _, label in entries])


def centred(image: Image.Image, size: int) -> Image.Image:
    """The paper's test image: short edge to 256/224 of `size`, then the centre."""
    return _centre(image, round(size * 256 / 224), size)


def _centre(image: Image.Image, edge: int, size: int) -> Image.Image:
    width, height = image.size
    w, h = (max(size, round(side * edge / min(width, height))) for side in (width, height))
    by = shrunk(image, min(width, height) / edge)
    left, top = (w - size) // 2, (h - size) // 2
    resized = rgb(image)
    if (by, w, h) != (1, width, height):
        resized = resized.resize((w, h), Image.Resampling.BILINEAR, (0, 0, width / by, height / by))
    return resized.crop((left, top, left + size, top + size))


def cut_out(image: Image.Image, size: int, crop: Crop | None, rng: np.random.Generator | None) -> Image.Image:
    """A crop, or the whole image where there is none, brought to `size` x `size`.

    Of a JPEG where it is larger than twice `size`, the half, and so on, is decoded: never less than `size` a side.
    """
    top, left, h, w = crop.box(image.height, image.width, rng) if crop and rng else (0, 0, image.height, image.width)
    by = shrunk(image, min(h, w) / size)
    box = (left / by, top / by, (left + w) / by, (top + h) / by)
    return rgb(image).resize((size, size), Image.Resampling.BILINEAR, box)


# --- sets -----------------------------------------------------------------------------------------------------------


class Digits(Data):
    """scikit-learn's 8 x 8 digits: 1,797 images split once, stratified, into 597 for training and 1,200 for test."""

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
        return _digits()


def _digits_file() -> Path:
    package = find_spec("sklearn")  # found, not imported: that takes a second, in each process
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"


@lru_cache
def _digits() -> Cached:
    rows = np.loadtxt(_digits_file(), delimiter=",")
    pixels = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = rows[:, -1].astype(np.int64)
    shuffled = stream(0, "split").permutation(len(rows))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    train = by_class[np.linspace(0, len(rows), 597, endpoint=False).astype(int)]  # evenly through the classes
    test = np.setdiff1d(by_class, train)
    return in_memory({s: (pixels[i], labels[i]) for s, i in (("train", train), ("test", test))}, tuple("0123456789"))


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
        _for_each_class(limit, len(found.classes), f"{name} ({split})")
        kept = limited(labels, limit)
        arrays[split] = images[kept], labels[kept]
    return in_memory(arrays, tuple(found.classes))


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


@dataclass
class Listing:
    """Where the images of each class should be; nothing is read yet."""

    classes: tuple[str, ...]
    files: dict[str, list[tuple[str, int]]]  # (path below root, label) by split
    parts: dict[str, str]  # what the splits are called there
    unread: list[str] = field(default_factory=list)  # what lies beside, or is hidden


class ImageFolder(Files):
    """A tree `root/train/CLASS/FILE`, `root/val/CLASS/FILE`; `val` is the test set. ImageNet as torchvision leaves it.

    What is an image is decided by content, not by ending; EXIF does not turn it. Beyond `Files`, raises Problem on a
    missing or empty folder, on one class, and on classes that differ between the two.
    """

    def listing(self) -> Listing:
        return _tree(self.root)

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
        return _places(self.root, "256" if self.small else "large")


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


def _for_each_class(limit: int | None, classes: int, name: str) -> None:
    if limit and limit < classes:
        raise Problem(f"a slice of {limit} images of {name} leaves some of the {classes} classes without any")


@lru_cache
def _loaded(part: Files) -> Images:
    found, size, fit = part.listing(), part.size, part.fit
    skipped: list[str] = []
    for (split, name), limit in zip(found.parts.items(), (part.limit, part.limit_test), strict=True):
        _for_each_class(limit, len(found.classes), name)
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


# Folders that storage systems and archivers leave, by their names in lower case; hidden ones begin with a dot.
LEFT = {"@eadir", "@recycle", "@sharebin", "@tmp", "#recycle", "#snapshot", "~snapshot", "$recycle.bin", "__macosx"}
LEFT |= {"system volume information", "lost+found", "network trash folder", "temporary items"}


def _tree(root: Path) -> Listing:
    """The files in class folders, and what lies elsewhere or hidden, or was left by a storage system."""
    if not _is_folder(root):
        raise Problem(f"data.root={root}: no such folder; it should hold train/CLASS/FILE and val/CLASS/FILE")
    parts = {"train": "train/", "test": "val/"}
    names: dict[str, tuple[str, ...]] = {}
    files: dict[str, list[tuple[str, int]]] = {}
    unread = []
    for split, part in parts.items():
        inside = _listed(f"{root}/{part}") if _is_folder(root / part) else {}
        names[split] = tuple(sorted(name for name, folder in inside.items() if folder and not _left(name)))
        unread += [f"{part}{name}" for name in sorted(set(inside) - set(names[split]))]
        for name in set(inside) - set(names[split]):
            if not _left(name) and not os.path.exists(f"{root}/{part}{name}"):
                raise Problem(f"{root}/{part}{name} is a link to nothing: mend it or take it out")
        if len(names[split]) < 2:
            what = f"{len(names[split])} class folders in" if inside else "no folder"
            raise Problem(f"data.root={root}: {what} {part}; at least two classes are needed, one folder each")
        files[split] = []
        above = frozenset(_inode(folder) for folder in (root, *root.resolve().parents, root / part))
        for label, name in enumerate(names[split]):
            below, passed = _below(root, f"{part}{name}", above)
            files[split] += [(file, label) for file in sorted(below)]
            unread += sorted(passed)
    if names["train"] != names["test"]:
        odd = sorted(set(names["train"]) ^ set(names["test"]))
        raise Problem(f"data.root={root}: classes differ between train/ and val/: {', '.join(odd[:5])}")
    return Listing(names["train"], files, parts, unread)


def _left(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFT


def _below(root: Path, place: str, above: frozenset[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """The files in a folder and in those below it, links followed, and what is passed over; paths below `root`.

    `above` are the folders that it lies in. Raises Problem on a link to one of these, or what has no end.
    """
    files, passed, pending = [], [], [(place, above)]
    while pending:
        place, above = pending.pop()
        here = _inode(root / place)
        if here in above:
            raise Problem(f"{root}/{place} is a link to a folder that it lies in: take it out")
        for name, folder in _listed(f"{root}/{place}").items():
            if _left(name):
                passed.append(f"{place}/{name}")
            elif folder:
                pending.append((f"{place}/{name}", above | {here}))
            else:
                files.append(f"{place}/{name}")
    return files, passed


def _listed(folder: str) -> dict[str, bool]:
    """What is in a folder, by name, and whether it is a folder itself, or a link to one."""
    try:
        with os.scandir(folder) as found:
            return {entry.name: entry.is_dir() for entry in found}
    except OSError as error:
        raise _unlisted(error.filename or folder, error) from None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unlisted(path, error) from None


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise _unlisted(path, error) from None
    return found.st_dev, found.st_ino


def _unlisted(path: str | Path, error: OSError) -> Problem:
    return Problem(f"{path} cannot be listed ({error.strerror}): make it readable, or take it out")


def _places(root: Path, kind: str) -> Listing:
    """By the lists of classes and files; only what they name is read."""
    lists = {"train": "places365_train_standard.txt", "test": "places365_val.txt"}
    folders = {"train": f"data_{kind}_standard/", "test": f"val_{kind}/"}
    needed = ("categories_places365.txt", *lists.values(), *folders.values())
    missing = [name for name in needed if not (root / name).exists()]
    if missing:
        raise Problem(f"data.root={root}: no {', '.join(missing)}; lay it out as torchvision.datasets.Places365 does")
    classes = tuple(name for name, _ in sorted(_pairs(root / needed[0]), key=lambda pair: pair[1]))
    files = {split: [(folders[split] + name, y) for name, y in _pairs(root / lists[split])] for split in lists}
    for split, entries in files.items():
        odd = next((name for name, label in entries if not 0 <= label < len(classes)), None)
        if odd:
            raise Problem(f"{root / lists[split]}: the class of {odd} is not among the {len(classes)} in {needed[0]}")
    return Listing(classes, files, folders)


def _pairs(path: Path) -> list[tuple[str, int]]:
    """The lines of Places' lists, "/a/airfield/00000001.jpg 0", as [(name without the first slash, number)]."""
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        return [(name.lstrip("/"), int(number)) for name, number in lines]
    except (OSError, ValueError) as error:
        raise Problem(f"{path} is not a list of names and numbers ({brief(error)})") from None


def distrust() -> None:
    """From now on, in this process, read every file anew, whatever is remembered of it."""
    disk.trusting = False
    _loaded.cache_clear()


def _decoded(part: Files, key: str, entries: list[tuple[str, int]]) -> np.ndarray:
    """The images of one split as uint8 N x 3 x size x size, from the cache or decoded now."""
    path = runs() / "cache" / "arrays" / f"{key}.npy"
    if not disk.trusting or not path.exists():

        def decode(entry: tuple[str, int]) -> np.ndarray:
            image, size = rgb(opened(part.root / entry[0])), part.size
            if part.fit == "squash":
                return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
            return np.asarray(_centre(image, size, size)).transpose(2, 0, 1)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            array = np.stack(list(pool.map(decode, entries)))
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomic(path, buffer.getvalue())
    decoded: np.ndarray = np.load(path)
    return decoded
