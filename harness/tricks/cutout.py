"""Cutout (DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout")."""

import numpy as np
from pydantic import Field

from harness.parts.erasing import Erase, Hole
from harness.spec import Spec, declares


class Cutout(Erase):
    """A square of each image is erased, its centre at any pixel alike: at the edge a part of it lies outside.

    `length` is a share of the shorter side: 0.5 is 16 of 32 px, the paper's for CIFAR-10; for CIFAR-100 it has 0.25,
    and for SVHN 20 px, 0.625. An odd length is one less, as in the authors' program.
    """

    length: float = Field(0.5, gt=0, le=2)

    def hole(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        half = round(self.length * min(height, width)) // 2
        row, column = int(rng.integers(height)), int(rng.integers(width))
        return max(row - half, 0), max(column - half, 0), min(row + half, height), min(column + half, width)

    def again(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        """The rows, and the columns, that are no further than half a side from the centre, clipped."""
        side = int(np.rint(self.length * np.minimum(height, width)))
        y, x = rng.integers(0, height), rng.integers(0, width)
        edges = np.clip([y - side // 2, y + side // 2], 0, height), np.clip([x - side // 2, x + side // 2], 0, width)
        (top, bottom), (left, right) = (edge.tolist() for edge in edges)
        return top, left, bottom, right


@declares("augment")
def cutout(spec: Spec, length: float = 0.5, value: tuple[float, ...] = (0.0,)) -> Spec:
    """Cutout: a square of half the side of each image is made black.

    Put it last of the augmentation, as its source does: what comes after it sees the hole as image.

    Hurts: images whose class is told by a small part of them: the paper takes half the side with 10 classes, a quarter
    with 100.

    Cost: next to nothing.
    """
    return spec.having("augment", Cutout(length=length, value=value))
