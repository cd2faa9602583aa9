"""A loaded data set: what it is, and batches of it.

A batch is a function of (seed, epoch, its number).
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from harness import Problem
from harness.evidence import TWICE
from harness.parts.draws import Drawing
from harness.rng import Stream
from harness.spec import Augment, Evaluation, Sampler, referenced

SMALL = 64  # px: up to here a data set is held in memory
Batch = tuple[Tensor, Tensor]  # normalised images N x C x H x W, labels N
Triple = tuple[float, ...]


@dataclass
class Images(ABC):
    """A loaded data set: what it is, and batches of it."""

    torn: ClassVar[str] = "in more than one class"  # what one image must not be
    in_memory: ClassVar[bool] = False  # as arrays, from which batches are taken; else they are decoded

    classes: tuple[str, ...]
    channels: int
    size: int
    counts: dict[str, int]  # images in "train" and "test", and in "val" where some are held out
    digest: str
    mean: Triple  # of pixels in [0, 255], one a channel
    std: Triple
    notes: list[str] = field(default_factory=list)  # what the user should know: files skipped, odd names
    sampler: Sampler | None = field(default=None, kw_only=True)  # of an epoch's training images; None: each once
    looks: Evaluation | None = field(default=None, kw_only=True)  # at several views of a test image; None: at it
    photos: bool = field(default=False, kw_only=True)  # made from image files of one class each

    @abstractmethod
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
        """One epoch in an order of its own, from batch `start`, and those after it before epoch `until`.

        Of each a last batch that is not full is left out. Where others make the batches, those of the next epoch are
        begun while this one ends.
        """

    @abstractmethod
    def test(self, batch_size: int, device: torch.device, split: str = "test") -> Iterator[Batch]:
        """The test images, or those of another split, in order."""

    def answered(self, net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """What `net` says of test images: of several views of each, the mean."""
        if self.looks is None:
            return net(x)
        weighed = [share * net(view) for share, view in self.looks.views(x)]
        return torch.stack(weighed).sum(0)

    @abstractmethod
    def content(self, split: str) -> list[str]:
        """A digest of each image as it is stored, in order: the same for the same image, whatever it is called."""

    @abstractmethod
    def labels(self, split: str) -> np.ndarray:
        """The class of each image, in order."""

    def truth(self, split: str, place: int) -> np.ndarray:
        """What is known of an image: its class; or boxes or a mask, see `harness.parts.data.scenes`."""
        return np.asarray(self.labels(split)[place])

    def truths(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        """The second half of a batch of these training images, augmented by the parts' references.

        The twin of `reference`, given the same streams from their beginning. For audits too.
        """
        due: np.ndarray = np.asarray(self.labels(split))[places]
        return due

    def strata(self, split: str) -> np.ndarray:
        """The group of each image, which a slice, holding out and a sampler keep even: its class."""
        return np.asarray(self.labels(split))

    def marks(self, split: str) -> list[Any]:
        """What is known of each image, fit to be compared."""
        marks: list[Any] = self.labels(split).tolist()
        return marks

    def present(self, split: str) -> set[int]:
        """The classes that a split has, counted from 0."""
        return set(self.labels(split).tolist())

    @property
    def canvas(self) -> tuple[int, int]:
        """The greatest height and width of its images, as the network gets them where nothing cuts them; in px."""
        side = max(self.size, self.tested)
        return side, side

    @abstractmethod
    def regrouped(self, chosen: Mapping[str, tuple[str, np.ndarray]]) -> Self:
        """Other splits of the same images: by name, the split and the places in it that they are taken from."""

    def shortened(self, most: int) -> Self:
        """With a split "curve" too, of so many test images, evenly spaced, as files lie by class."""
        count = self.counts["test"]
        chosen = {split: (split, np.arange(n)) for split, n in self.counts.items()}
        return self.regrouped({**chosen, "curve": ("test", np.arange(most) * count // most)})

    @abstractmethod
    def reference(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        """Images of a split as they are stored, augmented by the parts' references: float64 N x C x H x W in [0, 255].

        For audits: it shares no code with `train` and `test`.
        """

    @abstractmethod
    def resized(self, size: int) -> Self:
        """The same images, tested at another size: what `test` and `reference` give."""

    @property
    def tested(self) -> int:
        """Pixels a side of an image as `test` gives it."""
        return self.size

    def order(self, epoch: int, batch_size: int, rng: Stream) -> list[np.ndarray]:
        """The training images of each batch of an epoch."""
        draw = rng("order", epoch)
        if self.sampler:
            own = draw if self.sampler.anew else rng("order", 0)
            shuffled = self.sampler.order(self.strata("train"), own)
        else:
            shuffled = draw.permutation(self.counts["train"])
        return [shuffled[i : i + batch_size] for i in range(0, len(shuffled) - batch_size + 1, batch_size)]

    def normalised(self, x: Tensor) -> Tensor:
        """`x` itself, normalised: another 38 MB for 64 photos would be felt."""
        return x.sub_(_channels(self.mean, x.device)).div_(_channels(self.std, x.device))


@dataclass
class Schedule(Sequence[tuple[int, int, np.ndarray]]):
    """Of each batch of `Images.train`: its epoch, its number there, and the places of its images.

    Drawn an epoch at a time, when one of its batches is asked for.
    """

    images: Images
    batch_size: int
    rng: Stream
    epoch: int
    start: int = 0
    until: int | None = None  # the first epoch that has none; None: the one after `epoch`

    def __post_init__(self) -> None:
        self._epoch, self._orders = -1, list[np.ndarray]()
        self.steps = self.images.counts["train"] // self.batch_size

    def __len__(self) -> int:
        until = self.epoch + 1 if self.until is None else self.until
        return max(0, (until - self.epoch) * self.steps - self.start)

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < len(self):
            raise IndexError(place)
        epochs, number = divmod(self.start + place, self.steps)
        if self._epoch != self.epoch + epochs:
            self._epoch = self.epoch + epochs
            self._orders = self.images.order(self._epoch, self.batch_size, self.rng)
            if len(self._orders) < self.steps:
                kind, images = type(self.images.sampler).__name__, self.images.counts["train"]
                raise Problem(f"sampler: {kind}.order gives fewer than {images:,} places, one a training image")
        return self._epoch, number, self._orders[number]


def redone(x: np.ndarray, parts: Drawing) -> np.ndarray:
    """Augmented by each part's reference; by itself where it has none."""
    for part, draw in parts:
        x = part.reference(x, draw) if referenced(part) else part(torch.from_numpy(x).float(), draw).double().numpy()
    return x


def repeated(images: Images) -> list[str]:
    """What the user should know of images that are there twice, to the byte: for training and test, or two classes."""
    content = {split: images.content(split) for split in images.counts}
    marks = {split: images.marks(split) for split in images.counts}
    trained, tested = set(content["train"]), len(content["test"])
    again = sum(image in trained for image in content["test"])
    labelled = {pair for split in content for pair in zip(content[split], marks[split], strict=True)}
    torn = sum(others > 1 for others in Counter(image for image, _ in labelled).values())
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
        notes.append(f"images that are there, to the byte, {images.torn}: {torn:,}; no network can learn both")
    return notes


def digests(images: Images) -> dict[str, str]:
    """A digest of each split: the same for the same images with the same labels, in whatever order and place they lie.

    16 hexadecimal digits of what `content` and `marks` tell.
    """
    told = {
        split: sorted(zip(images.content(split), map(str, images.marks(split)), strict=True)) for split in images.counts
    }
    return {split: hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16] for split, pairs in told.items()}


@lru_cache
def _channels(values: Triple, device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1)  # once a device: each copy there would wait
