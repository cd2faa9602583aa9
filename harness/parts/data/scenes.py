"""Photos of several things each, with boxes or a mask: what is known of an image is no longer one class.

Worker processes decode and resize them, the short side to `size` px, the long one to `long` px at most. A batch is
padded to its greatest image, right and below, with 0 after normalising. A batch of training images is

- with boxes: y float32 N x (1 + B) x 6. The first row of an image is its frame: height and width in the batch, height
  and width of the file, place in the split, 0. The others are boxes: label 1..K, x1, y1, x2, y2 in px of the image in
  the batch, continuous and counted from 0, and 1 where it is difficult. Label 0 pads; B is the same for a whole split;
- with masks: y int64 N x H x W, labels 0..K-1, and -1 for what is not labelled, padding too.

Of test images it is their frames, float32 N x 6: they are judged by `truth`, in the pixels of the file.
"""

from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness import Problem
from harness.parts.augment import Cut, ScaledCrop
from harness.parts.data.decoding import Tasks, in_order, whole
from harness.parts.data.images import Batch, Images, Schedule, redone
from harness.parts.data.reading import opened, read_all, rgb, told
from harness.parts.draws import Drawing, drawing, placed
from harness.rng import Stream
from harness.spec import Augment, Spec, referenced


class Scene(NamedTuple):
    """An image file, and what is known of it."""

    name: str  # path below the root
    sha: str
    height: int  # px, as it is stored
    width: int
    truth: Any  # its boxes, or the path of its mask below the root
    mark: str  # a digest of that
    present: frozenset[int]  # the classes that are on it, counted from 0


@dataclass
class Scenes(Images):
    """Image files with more than a class each; `size` is the short side, in px."""

    torn: ClassVar[str] = "with more than one annotation"

    root: Path = Path()
    scenes: dict[str, list[Scene]] = field(default_factory=dict)  # by split
    long: int = 1000

    @abstractmethod
    def answers(self, places: np.ndarray, cuts: Sequence[Cut], canvas: tuple[int, int]) -> np.ndarray:
        """What is known of training images, moved as they are: boxes N x B x 6 or masks N x canvas."""

    @abstractmethod
    def again(
        self, split: str, places: np.ndarray, cuts: Sequence[tuple[int, ...]], canvas: Sequence[int]
    ) -> np.ndarray:
        """`answers`, written a second time."""

    def batched(self, y: Tensor, frames: Tensor) -> Tensor:
        """The second half of a training batch."""
        return y

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
        batches = _Batches(tasks, self, "train", augment, rng)
        for (now, number, chosen), (x, y, frames) in zip(tasks, self._served(batches, device), strict=True):
            sizes, x = frames[:, :2].long().numpy(), x.float()
            parts = drawing(placed(augment, rng, now, chosen), rng, now, number)
            for part, draw in shared(parts)[2]:
                x, y = part.pair(x, y, sizes, draw)
            yield blank(self.normalised(x), sizes), self.batched(y, frames.to(device))

    def test(self, batch_size: int, device: torch.device, split: str = "test") -> Iterator[Batch]:
        for x, _, frames in self._served(_Batches(whole(self.counts[split], batch_size), self, split), device):
            yield blank(self.normalised(x.float()), frames[:, :2].long().numpy()), frames.to(device)

    def _served(self, batches: "_Batches", device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images as they are decoded, uint8, and what is known of them on the device; frames stay here."""
        cuda = device.type == "cuda"
        for served in in_order(batches, pinned=cuda):
            if isinstance(served, Problem):
                raise served
            x, y, frames = served
            yield x.to(device, non_blocking=cuda), y.to(device, non_blocking=cuda), frames

    def reference(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        return self._redone(split, places, parts)[0]

    def truths(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        return self._redone(split, places, parts)[1]

    def _redone(self, split: str, places: np.ndarray, parts: Drawing) -> tuple[np.ndarray, np.ndarray]:
        """A batch, written a second time: images padded with the mean, which normalising makes 0; and its truths."""
        crop, own, rest = shared(parts)
        cuts = []
        for place in places:
            scene, short = self.scenes[split][place], self.size
            if crop is not None and own is not None:
                cuts.append(crop.reference(scene.height, scene.width, short, own))
                continue
            high, wide = self._whole(scene)
            cuts.append((high, wide, 0, 0, high, wide))
        canvas = [crop.size] * 2 if crop else [max(cut[axis] for cut in cuts) for axis in (4, 5)]
        x = np.zeros((len(places), 3, *canvas))
        for image, place, (high, wide, top, left, rows, columns) in zip(x, places, cuts, strict=True):
            whole = rgb(opened(self.root / self.scenes[split][place].name))
            pixels = np.asarray(whole.resize((wide, high), Image.Resampling.BILINEAR), dtype=np.float64)
            image[:, :rows, :columns] = np.moveaxis(pixels[top : top + rows, left : left + columns], 2, 0)
        y, sizes = self.again(split, places, cuts, canvas), np.array([cut[4:] for cut in cuts])
        for part, draw in rest:
            x, y = redone_pair(part, x, y, sizes, draw)
        for image, (rows, columns) in zip(x, sizes, strict=True):
            for channel, mean in zip(image, self.mean, strict=True):
                channel[rows:] = channel[:, columns:] = mean
        return x, self.framed(split, places, cuts, y)

    def framed(self, split: str, places: np.ndarray, cuts: Sequence[tuple[int, ...]], y: np.ndarray) -> np.ndarray:
        """`batched`, written a second time."""
        return y

    def _whole(self, scene: Scene) -> tuple[int, int]:
        """`fitted`, written a second time."""
        by = min(Fraction(self.size, min(scene[2:4])), Fraction(self.long, max(scene[2:4])))
        high, wide = (max(1, floor(side * by + Fraction(1, 2))) for side in scene[2:4])
        return high, wide

    def frames(self, split: str) -> np.ndarray:
        """What `test` tells of each image, N x 6, written a second time."""
        rows = [(*self._whole(scene), *scene[2:4], place, 0) for place, scene in enumerate(self.scenes[split])]
        return np.array(rows, dtype=np.float64).reshape(-1, 6)

    def content(self, split: str) -> list[str]:
        return [scene.sha for scene in self.scenes[split]]

    def labels(self, split: str) -> np.ndarray:
        raise Problem(
            "images with boxes or masks have no class of their own, which classification and class-balanced sampling "
            "go by: take data with one class an image"
        )

    def strata(self, split: str) -> np.ndarray:
        return np.zeros(self.counts[split], dtype=np.int64)

    def marks(self, split: str) -> list[Any]:
        return [scene.mark for scene in self.scenes[split]]

    def present(self, split: str) -> set[int]:
        return {label for scene in self.scenes[split] for label in scene.present}

    @property
    def canvas(self) -> tuple[int, int]:
        every = {scene[2:4] for scenes in self.scenes.values() for scene in scenes}
        sides = [fitted(height, width, self.size, self.long) for height, width in every]
        return max(height for height, _ in sides), max(width for _, width in sides)

    def resized(self, size: int) -> Self:
        """The long side keeps its ratio to the short one."""
        return replace(self, size=size, long=round(self.long * size / self.size))

    def regrouped(self, chosen: Mapping[str, tuple[str, np.ndarray]]) -> Self:
        scenes = {name: [self.scenes[split][i] for i in places] for name, (split, places) in chosen.items()}
        return replace(self, scenes=scenes, counts={name: len(entries) for name, entries in scenes.items()})


def fitted(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """Height and width with a short side of `short`, or a long one of `long` where it would be longer; halves up."""
    low, high = min(height, width), max(height, width)
    by, of = (short, low) if short * high <= long * low else (long, high)
    return max(1, (2 * height * by + of) // (2 * of)), max(1, (2 * width * by + of) // (2 * of))


def blank(x: Tensor, sizes: np.ndarray) -> Tensor:
    """`x` itself, with 0 outside of each image."""
    for image, (height, width) in zip(x, sizes.tolist(), strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return x


def shared(parts: Drawing) -> tuple[ScaledCrop | None, np.random.Generator | None, Drawing]:
    """The crop, if there is one, and its draw: it is done while decoding; and the others."""
    crop, own = next(((part, draw) for part, draw in parts if isinstance(part, ScaledCrop)), (None, None))
    return crop, own, [(part, draw) for part, draw in parts if part is not crop]


def redone_pair(
    part: Any, x: np.ndarray, y: np.ndarray, sizes: np.ndarray, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Augmented by a part's reference; by itself where it has none."""
    if hasattr(part, "reference_pair") and referenced(part):
        pair: tuple[np.ndarray, np.ndarray] = part.reference_pair(x, y, sizes, draw)
        return pair
    if not part.moves:
        return redone(x, [(part, draw)]), y
    images, truths = part.pair(torch.from_numpy(x).float(), torch.from_numpy(y.copy()), sizes, draw)
    return images.double().numpy(), truths.numpy()


def followed(spec: Spec) -> None:
    """Raise ValueError where a part of the augmentation moves pixels, and cannot move what is known of them."""
    for part in spec.augment:
        if part.moves and type(part).pair is Augment.pair and not isinstance(part, ScaledCrop):
            kind = type(part).__name__
            raise ValueError(
                f"augment: {kind} moves pixels, and boxes or masks do not follow: take it out, or give it a `pair` "
                "(where it leaves pixels in their places, `moves = False`)"
            )


def taken(image: Image.Image, cut: Cut) -> Image.Image:
    whole = rgb(image)
    if whole.size != (cut.wide, cut.tall):
        whole = whole.resize((cut.wide, cut.tall), Image.Resampling.BILINEAR)
    return whole.crop((cut.left, cut.top, cut.left + cut.width, cut.top + cut.height))


@dataclass
class _Batches(Tasks[tuple[Tensor, Tensor, Tensor]]):
    """What one decoding process needs to make batches."""

    images: Scenes
    split: str
    augment: Sequence[Augment] = ()
    rng: Stream | None = None  # none for test images

    def made(self, epoch: int, number: int, chosen: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        images, crop, draw = self.images, None, None
        if self.rng:
            crop, draw, _ = shared(drawing(self.augment, self.rng, epoch, number))
        scenes, cuts = [images.scenes[self.split][place] for place in chosen], []
        for scene in scenes:
            if crop is not None and draw is not None:
                cuts.append(crop.cut(scene.height, scene.width, images.size, draw))
            else:
                tall, wide = fitted(scene.height, scene.width, images.size, images.long)
                cuts.append(Cut(tall, wide, 0, 0, tall, wide))
        canvas = max(cut.height for cut in cuts), max(cut.width for cut in cuts)
        canvas = (crop.size, crop.size) if crop else canvas
        x = np.zeros((len(chosen), *canvas, 3), np.uint8)
        frames = torch.zeros(len(chosen), 6)
        for i, (scene, cut) in enumerate(zip(scenes, cuts, strict=True)):
            x[i, : cut.height, : cut.width] = np.asarray(taken(opened(images.root / scene.name), cut))
            row = (cut.height, cut.width, scene.height, scene.width, int(chosen[i]), 0)
            frames[i] = torch.tensor(row, dtype=torch.float32)
        y = images.answers(chosen, cuts, canvas) if self.rng else np.zeros(0)
        return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))), torch.from_numpy(y), frames


def digested(root: Path, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The sha256 of image files, by name, and notes. Raises Problem, counting, where some are none."""
    sums, notes = read_all(root, list(dict.fromkeys(names)), [])
    none = [name for name in names if name not in sums]
    if none:
        raise Problem(f"data.root={root}: {told(f'{len(none)} files are no images', none)[0]}: repair or replace them")
    return sums, notes


def there(root: Path, names: Sequence[str]) -> None:
    """Raise Problem, counting, where files that have to be there are not."""
    missing = [name for name in dict.fromkeys(names) if not (root / name).is_file()]
    if missing:
        what = f"{len(missing)} of {len(set(names))} files are not there"
        raise Problem(f"data.root={root}: {told(what, missing)[0]}; put them there, or take their images out")


def learnable(images: Scenes, sliced: bool) -> list[str]:
    """Raise Problem where an image that is measured has a class that no training image has; of a slice, a note."""
    learned = images.present("train")
    strange = sorted({label for split in images.counts for label in images.present(split)} - learned)
    if not strange:
        return []
    names = [images.classes[label] for label in strange]
    if sliced:
        return told(f"{len(names)} classes that no training image of this slice has, and test images have", names)
    raise Problem(
        f"data.root={images.root}: {told('classes that only test images have', names)[0]}: nobody can learn them"
    )


def apart(images: Scenes) -> None:
    """Raise Problem where held-out images are training or test images, to the byte."""
    for split in ("train", "test") if "val" in images.counts else ():
        both = set(images.content("val")) & set(images.content(split))
        names = [scene.name for scene in images.scenes["val"] if scene.sha in both]
        if names:
            what = f"{len(names)} held-out images are in data.{split} too"
            raise Problem(f"data.held: {told(what, names)[0]}: take them out of one of the two")
