"""Random erasing (Zhong et al. 2017, "Random Erasing Data Augmentation", Algorithm 1; torchvision's defaults)."""

import math

import numpy as np
from pydantic import Field

from harness.parts.erasing import NONE, Erase, Hole
from harness.spec import Spec, declares


class RandomErasing(Erase):
    """With probability `p` a rectangle of an image is erased: area U(`scale`) of it, height by width log-U(`ratio`).

    After ten rectangles that do not fit an image stays whole. The paper fills with random colours as a rule.
    """

    p: float = Field(0.5, ge=0, le=1)
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    def hole(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        if rng.random() >= self.p:
            return NONE
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                return top, left, top + h, left + w
        return NONE

    def again(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        """Algorithm 1: S_e = S·U, r_e log-uniform, H_e = √(S_e·r_e), W_e = √(S_e / r_e), until they fit."""
        (least, most), (low, high) = self.scale, np.log(self.ratio)
        attempts = 10 if rng.random() < self.p else 0
        while attempts:
            attempts -= 1
            size = rng.uniform(least, most) * (width * height)
            shape = np.exp(rng.uniform(low, high))
            down, across = (int(np.rint(np.sqrt(side))) for side in (size * shape, size / shape))
            if down >= height or across >= width:
                continue
            y = int(rng.integers(0, 1 + height - down))
            x = int(rng.integers(0, 1 + width - across))
            return y, x, y + down, x + across
        return 0, 0, 0, 0


@declares("augment")
def random_erasing(spec: Spec, p: float = 0.5, value: tuple[float, ...] = (0.0,)) -> Spec:
    """random erasing: with probability ½ a rectangle of 2 to 33 % of an image is made black.

    Put it last of the augmentation, as its source does: what comes after it sees the hole as image.

    Hurts: images whose class is told by a small part of them; small networks and short runs, which underfit.

    Cost: next to nothing.
    """
    return spec.having("augment", RandomErasing(p=p, value=value))
