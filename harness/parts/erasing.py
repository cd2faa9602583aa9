"""Augmentation that makes a rectangle of each image one colour."""

from abc import abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.evidence import Trace
from harness.parts.draws import drawn
from harness.spec import Augment, Check, Draws, Spec

Hole = tuple[int, int, int, int]  # top, left, bottom, right, in px; the last two are outside
NONE: Hole = (0, 0, 0, 0)


class Erase(Augment):
    """A rectangle of each image becomes `value`, one number or one a channel, 0 to 255. Slot: `augment`.

    It is done before images are normalised: black is 0, where programs that erase normalised images have the mean
    colour at 0. Data with boxes or masks refuse it: what is erased would still be in them.
    """

    value: tuple[float, ...] = Field((0.0,), min_length=1)

    def check(self, spec: Spec) -> None:
        if len(self.value) not in (1, spec.data.channels):
            raise ValueError(
                f"{type(self).__name__} has {len(self.value)} values, and images of {type(spec.data).__name__} have"
                f" {spec.data.channels} channels: give one, or one a channel"
            )

    @abstractmethod
    def hole(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        """What is erased of one image of that size; nothing where it is empty."""

    @abstractmethod
    def again(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        """`hole`, written a second time, for the references."""

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        holes = np.array([self.hole(height, width, rng) for _ in range(n)])
        return holes.T[:, :, None], np.array(self.value, np.float32)[:, None, None]

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        ((top, left, bottom, right), value), (height, width) = drawn(self, x, rng), x.shape[2:]
        row, column = (torch.arange(side, device=x.device) for side in (height, width))
        inside = ((row >= top) & (row < bottom))[:, None, :, None] & ((column >= left) & (column < right))[
            :, None, None
        ]
        return torch.where(inside, value.to(x.dtype), x)

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An image, and of it a channel, at a time."""
        made = x.copy()
        for image in made:
            top, left, bottom, right = self.again(image.shape[1], image.shape[2], rng)
            for c, channel in enumerate(image):
                channel[top:bottom, left:right] = self.value[c % len(self.value)]
        return made

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Of the first batches, where nothing is done to images after it: the colour of what is erased."""
        if spec.augment[-1] != self or spec.resolution or not trace.images:
            return
        images, again, wrong, erased = spec.data.load(), spec.augment[:-1].count(self), 0, 0
        colour = [
            (self.value[c % len(self.value)] - m) / s
            for c, (m, s) in enumerate(zip(images.mean, images.std, strict=True))
        ]
        for i, (x, *_) in enumerate(trace.images):
            names = type(self).__name__, *divmod(i, trace.steps_per_epoch), *([again] if again else [])
            rng = trace.rng("augment", *names)
            every, (tall, wide) = trace.every(i), trace.size(i)
            for image in x:
                top, left, bottom, right = self.again(tall, wide, rng)
                there = image[
                    :,
                    -(-top // every) : -(-bottom // every),
                    -(-left // every) : -(-right // every),
                ]
                wrong += int(((there - there.new_tensor(colour).view(-1, 1, 1)).abs() > 1e-4).sum())
                erased += there.numel()
        what = f"numbers of {erased:,} erased, of the first batches, that are not of the colour"
        yield Check(what, "0", f"{wrong}", wrong == 0)
