"""AutoAugment (Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data")."""

from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field

from harness.parts.operations import PLAIN, SIGNED, Op, Operations, evenly, steps
from harness.spec import Spec, declares

BINS = 10
Policy = tuple[tuple[str, float, int | None], ...]  # operations: name, probability, place of the magnitude among bins
MOST = {  # torchvision's: the greatest magnitude of each
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateX": 150 / 331,  # of the width
    "TranslateY": 150 / 331,  # of the height
    "Rotate": 30.0,  # degrees
    "Brightness": 0.9,
    "Color": 0.9,
    "Contrast": 0.9,
    "Sharpness": 0.9,
}


@cache
def policies(learned: str) -> tuple[Policy, ...]:
    """The 25 pairs of operations that were found on a data set (the paper's Tables 7 to 9), as torchvision has them."""
    from torchvision.transforms import AutoAugment as Torchvision
    from torchvision.transforms import AutoAugmentPolicy

    return tuple(Torchvision(AutoAugmentPolicy(learned)).policies)


class AutoAugment(Operations):
    """Two operations an image, each by its own chance: one of 25 pairs, all as likely, found on the data `learned`.

    torchvision's: at ten magnitudes, to either side as likely.
    """

    bins: int = Field(BINS, ge=BINS, le=BINS)  # the policies' own
    learned: Literal["imagenet", "cifar10", "svhn"] = "imagenet"

    def drawn(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        found = policies(self.learned)
        made: list[Op] = []
        for name, chance, place in found[rng.integers(len(found))]:
            if rng.random() > chance:
                continue
            if name in PLAIN or place is None:
                made.append((name, 0.0))
            elif name == "Posterize":
                made.append((name, 8 - np.round(place / ((BINS - 1) / 4))))
            elif name == "Solarize":
                made.append((name, steps(1.0, 0.0, BINS)[place]))
            else:
                side = {"TranslateX": width, "TranslateY": height}.get(name, 1.0)
                made.append((name, steps(0.0, MOST[name] * side, BINS)[place] * (-1 if rng.random() <= 0.5 else 1)))
        return made

    def again(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        """By the paper's section 3: a sub-policy, and of its two operations whether, how far and to which side."""
        from torchvision.transforms import AutoAugment as Torchvision
        from torchvision.transforms import AutoAugmentPolicy

        pairs = Torchvision(AutoAugmentPolicy(self.learned)).policies
        found: list[Op] = []
        for name, chance, level in pairs[int(rng.integers(0, 25))]:
            if not rng.random() <= chance:
                continue
            strength = 0.0
            if level is not None and name in SIGNED:
                across = width if name == "TranslateX" else height if name == "TranslateY" else 1
                strength = evenly(0.0, MOST[name] * across, 10, level)
                strength = -strength if rng.random() <= 0.5 else strength
            elif name == "Posterize" and level is not None:
                strength = 8.0 - round(4 * level / 9)
            elif name == "Solarize" and level is not None:
                strength = evenly(1.0, 0.0, 10, level)
            found.append((name, strength))
        return found


@declares("augment")
def auto_augment(spec: Spec, learned: str = "imagenet") -> Spec:
    """AutoAugment: a pair of operations an image, one of 25 that were found on ImageNet.

    Hurts: data whose class is told by what an operation takes away, such as digits that are inverted; short runs.

    Cost: some 3 ms of a CPU core for each image of 224 px, by the processes that decode photos.
    """
    return spec.having("augment", AutoAugment.model_validate({"learned": learned}))
