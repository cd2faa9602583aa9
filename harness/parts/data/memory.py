"""Images up to 64 px, held in memory as one uint8 array."""

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from harness.parts.data.images import Batch, Images, Schedule, redone
from harness.parts.draws import Drawing, ahead, augmented, placed
from harness.rng import Stream
from harness.spec import Augment


def scaled(x: Tensor, size: int) -> Tensor:
    """N x C x H x W at `size` a side, bilinear; each pixel of a smaller one is a mean over what it covers."""
    return nn.functional.interpolate(x, (size, size), mode="bilinear", antialias=True)


def triangles(old: int, new: int) -> np.ndarray:
    """The weights of `old` pixels in each of `new`, new x old: triangles as wide as the larger pixel, cut at the edge.

    What Pillow and torch call bilinear with antialiasing, written plainly.
    """
    ratio = old / new
    wide = max(1.0, ratio)
    weights = np.zeros((new, old))
    for i in range(new):
        middle = (i + 0.5) * ratio
        first, last = max(0, int(middle - wide + 0.5)), min(old, int(middle + wide + 0.5))
        for j in range(first, last):
            weights[i, j] = max(0.0, 1 - abs(j + 0.5 - middle) / wide)
    made: np.ndarray = weights / weights.sum(1, keepdims=True)
    return made


@dataclass
class Cached(Images):
    """Images in memory: uint8, N x C x H x W."""

    in_memory: ClassVar[bool] = True

    arrays: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    shown: int | None = None  # px a side, of a test image, where it is not its own

    def on(self, device: torch.device, split: str) -> tuple[Tensor, Tensor]:
        if (device, split) not in self._placed:
            images, labels = (torch.from_numpy(array).to(device) for array in self.arrays[split])
            self._placed[device, split] = images, labels.long()
        return self._placed[device, split]

    def __post_init__(self) -> None:
        self._placed: dict[tuple[torch.device, str], tuple[Tensor, Tensor]] = {}

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
        images, labels = self.on(device, "train")
        tasks, shape = Schedule(self, batch_size, rng, epoch, start, until), (batch_size, *images.shape[2:])
        for index, parts in ahead(tasks, tasks.steps, partial(placed, augment, rng), rng, shape, device):
            x = augmented(images[index].float(), parts)
            yield self.normalised(x), labels[index]

    def test(self, batch_size: int, device: torch.device, split: str = "test") -> Iterator[Batch]:
        images, labels = self.on(device, split)
        for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            yield self.normalised(scaled(x.float(), self.shown) if self.shown else x.float()), y

    def reference(self, split: str, places: np.ndarray, parts: Drawing) -> np.ndarray:
        x = redone(self.arrays[split][0][places].astype(np.float64), parts)
        if self.shown:
            down, across = (triangles(side, self.shown) for side in x.shape[2:])
            x = down @ x @ across.T
        return x

    @property
    def tested(self) -> int:
        return self.shown or self.size

    def resized(self, size: int) -> Self:
        return replace(self, shown=size)

    def content(self, split: str) -> list[str]:
        return [hashlib.sha256(image.tobytes()).hexdigest() for image in self.arrays[split][0]]

    def labels(self, split: str) -> np.ndarray:
        return self.arrays[split][1]

    def regrouped(self, chosen: Mapping[str, tuple[str, np.ndarray]]) -> Self:
        arrays = {}
        for name, (split, places) in chosen.items():
            images, labels = self.arrays[split]
            same = np.array_equal(places, np.arange(len(images)))  # of which no copy is made
            arrays[name] = (images, labels) if same else (images[places], labels[places])
        return replace(self, arrays=arrays, counts={name: len(places) for name, (_, places) in chosen.items()})
