"""Photos: decoded and cut, and their pixels augmented, by worker processes, a batch a task, as uint8.

The rest of augmentation is of batches, on the device.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import harness.parts.data.nvjpeg as nvjpeg
import harness.parts.data.tensors as tensors
from harness import Problem
from harness.parts.augment import Crop, OnPixels
from harness.parts.data.decoding import Tasks, in_order, whole
from harness.parts.data.images import Batch, Images, Schedule, redone
from harness.parts.data.reading import opened, rgb, shrunk
from harness.parts.draws import Drawing, ahead, augmented, drawing, placed
from harness.rng import Stream
from harness.spec import Augment

Decoder = Literal["torchcodec", "nvjpeg"]


@dataclass
class Photos(Images):
    """Image files, decoded, cut and augmented on their pixels by worker processes; the rest is done on the device."""

    root: Path = Path()
    files: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # (path below root, label), by split
    sums: dict[str, str] = field(default_factory=dict)  # the sha256 of each file
    fit: Literal["squash"] | None = None
    decoder: Decoder | None = None  # None: Pillow
    crop: float | None = None  # a test image's side, of the short edge that it is cut out of; None: 224/256

    def picture(self, name: str) -> Image.Image:
        """An image, not yet decoded where it is in a file of its own."""
        return opened(self.root / name)

    def again(self, name: str) -> Image.Image:
        """`picture`, by other means where there are some."""
        return opened(self.root / name)

    def train(
        self,
        epoch: int,
        batch_size: int,
        augment: Sequence[Augment],
        rng: Stream,
        device: torch.device,
        start: int = 0,
        until: int | None = None,
    ) -> Generator[Batch, None, None]:
        tasks = Schedule(self, batch_size, rng, epoch, start, until)
        for part in augment:
            if isinstance(part, OnPixels):
                part.ready()
        batches = _Batches(tasks, self, "train", augment, rng)
        shape = batch_size, self.size, self.size
        every = ahead(tasks, tasks.steps, partial(placed, augment, rng), rng, shape, device)
        for (_, parts), (x, y) in zip(every, self._served(batches, device), strict=True):
            yield self.normalised(augmented(x.float(), shares(parts)[2])), y

    def test(self, batch_size: int, device: torch.device, split: str = "test") -> Iterator[Batch]:
        for x, y in self._served(_Batches(whole(self.counts[split], batch_size), self, split), device):
            yield self.normalised(x.float()), y

    def reference(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        crop = next((part for part, _ in parts if isinstance(part, Crop)), None)
        draw = next((draw for part, draw in parts if part is crop), None)
        every, made = [self.again(self.files[split][place][0]) for place in places], []
        if self.decoder:  # torchcodec's JPEGs are Pillow's
            again = nvjpeg.pixels(every) if self.decoder == "nvjpeg" else (np.asarray(rgb(image)) for image in every)
            made = [self._as_tensor(x, split, crop, draw) for x in again]
        else:
            made = [self._plainly(image, split, crop, draw) for image in every]
        x = np.stack(made).transpose(0, 3, 1, 2)
        for part, own in parts:
            if isinstance(part, OnPixels):
                x = redone(x.astype(np.float64), [(part, own)])
        if self.channels == 1:
            red, green, blue = np.rint(x).astype(np.int64).transpose(1, 0, 2, 3)
            x = ((19595 * red + 38470 * green + 7471 * blue + 32768) // 65536)[:, None]
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
        edge = round(size * 256 / 224) if self.crop is None else round(size / self.crop)
        wide, high = (max(size, round(side * edge / min(width, height))) for side in (width, height))
        by = _halves(image, min(width, height) / edge)
        whole = rgb(image).resize((wide, high), bilinear, (0, 0, width / by, height / by))
        left, top = (wide - size) // 2, (high - size) // 2
        return np.asarray(whole)[top : top + size, left : left + size]

    def _as_tensor(
        self,
        pixels: np.ndarray,
        split: str,
        crop: Crop | None,
        draw: np.random.Generator | None,
    ) -> np.ndarray:
        """The same of all its pixels, H x W x 3, where they are cut first, and resized in whole numbers then."""
        size, (height, width) = self.size, pixels.shape[:2]
        if split == "train" or self.fit == "squash":
            top, left, h, w = (0, 0, height, width)
            if crop is not None and draw is not None:
                top, left, h, w = getattr(crop, "window", crop.box)(height, width, draw)
            return tensors.in_whole_numbers(pixels[top : top + h, left : left + w], size, size)
        edge = round(size * 256 / 224) if self.crop is None else round(size / self.crop)
        wide, high = (max(size, round(side * edge / min(width, height))) for side in (width, height))
        left, top = (wide - size) // 2, (high - size) // 2
        return tensors.in_whole_numbers(pixels, high, wide)[top : top + size, left : left + size]

    def resized(self, size: int, crop: float | None = None) -> Self:
        return replace(self, size=size, crop=crop)

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
            if isinstance(x, nvjpeg.Encoded):
                x = nvjpeg.shown(x, self.size, device)
            labels = y.to(device, non_blocking=cuda, copy=True)  # they are kept for long
            yield x.to(device, non_blocking=cuda), labels


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
class _Batches(Tasks[tuple[Any, Tensor]]):
    """What one decoding process needs to make batches."""

    images: Photos
    split: str
    augment: Sequence[Augment] = ()
    rng: Stream | None = None  # none for test images

    @property
    def like(self) -> tuple[Tensor, Tensor] | None:
        if self.images.decoder == "nvjpeg" or not len(self.tasks) or not len(self.tasks[0][2]):
            return None
        n, channels, size = len(self.tasks[0][2]), self.images.channels, self.images.size
        kinds = ((n, channels, size, size), torch.uint8), ((n,), torch.int64)
        x, y = (torch.empty(shape, dtype=kind, device="meta") for shape, kind in kinds)
        return x, y

    def made(self, epoch: int, number: int, chosen: np.ndarray) -> tuple[Any, Tensor]:
        entries = [self.images.files[self.split][i] for i in chosen]
        labels, size, tested = torch.tensor([label for _, label in entries]), self.images.size, self.images.crop
        crops, pixels, _ = shares(drawing(self.augment, self.rng, epoch, number)) if self.rng else ([], [], [])
        crop, draw = crops[0] if crops else (None, None)
        uncut = self.rng or self.images.fit == "squash"
        if self.images.decoder == "nvjpeg":
            every = (self.images.picture(name) for name, _ in entries)
            cut = partial(nvjpeg.drawn, size=size, crop=crop, rng=draw)
            return nvjpeg.encoded(
                every, cut if uncut else partial(nvjpeg.central, size=size, crop=tested), size
            ), labels
        x = np.empty((len(entries), size, size, 3), np.uint8)
        for i, (name, _) in enumerate(entries):
            image = self.images.picture(name)
            if self.images.decoder:
                x[i] = tensors.cut_out(image, size, crop, draw) if uncut else tensors.centred(image, size, tested)
            else:
                x[i] = np.asarray(cut_out(image, size, crop, draw) if uncut else centred(image, size, tested))
        for part, own in pixels:
            x = part.on_pixels(x, own)
        if self.images.channels == 1:
            x = np.stack([toned(image, 1) for image in x])
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return torch.from_numpy(x), labels


def toned(image: np.ndarray, channels: int) -> np.ndarray:
    """An image H x W x 3 with one channel, grey as Pillow has it, or, of three, as it is."""
    return image if channels == 3 else np.asarray(Image.fromarray(image).convert("L"))[..., None]


def centred(image: Image.Image, size: int, crop: float | None = None) -> Image.Image:
    """The paper's test image: short edge to 256/224 of `size`, or to `size` by `crop`, then the centre."""
    return centre(image, round(size * 256 / 224) if crop is None else round(size / crop), size)


def centre(image: Image.Image, edge: int, size: int) -> Image.Image:
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
