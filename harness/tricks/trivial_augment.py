"""TrivialAugment (Müller and Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation")."""

import numpy as np

from harness.parts.operations import PLAIN, SIGNED, Op, Operations, evenly, steps
from harness.spec import Spec, declares

MOST = {  # torchvision's wide space, in its order: the greatest magnitude of each
    "Identity": 0.0,
    "ShearX": 0.99,
    "ShearY": 0.99,
    "TranslateX": 32.0,  # px
    "TranslateY": 32.0,
    "Rotate": 135.0,  # degrees
    "Brightness": 0.99,
    "Color": 0.99,
    "Contrast": 0.99,
    "Sharpness": 0.99,
    "Posterize": 6.0,  # bits that are lost
    "Solarize": 1.0,
    "AutoContrast": 0.0,
    "Equalize": 0.0,
}


class TrivialAugment(Operations):
    """One operation an image, of 14, at one of `bins` magnitudes, all as likely: torchvision's TrivialAugmentWide."""

    def drawn(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        name = tuple(MOST)[rng.integers(len(MOST))]
        if name in PLAIN:
            return [(name, 0.0)]
        place = rng.integers(self.bins)
        if name == "Posterize":
            return [(name, 8 - np.round(place / ((self.bins - 1) / 6)))]
        if name == "Solarize":
            return [(name, steps(1.0, 0.0, self.bins)[place])]
        return [(name, steps(0.0, MOST[name], self.bins)[place] * (-1 if rng.random() <= 0.5 else 1))]

    def again(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        """By the paper's Figure 2: an operation, a strength, a side."""
        name, most = list(MOST.items())[int(rng.integers(0, 14))]
        level = int(rng.integers(0, self.bins)) if most else 0
        if name == "Posterize":
            return [(name, 8.0 - round(6 * level / (self.bins - 1)))]
        if name == "Solarize":
            return [(name, evenly(1.0, 0.0, self.bins, level))]
        strength = evenly(0.0, most, self.bins, level) if most else 0.0
        return [(name, -strength if name in SIGNED and rng.random() <= 0.5 else strength)]


@declares("augment")
def trivial_augment(spec: Spec) -> Spec:
    """TrivialAugment: one operation of 14 an image, at any strength.

    Hurts: data whose class is told by what an operation takes away, such as 6 turned by 135 degrees; short runs.

    Cost: some 3 ms of a CPU core for each image of 224 px, by the processes that decode photos.
    """
    return spec.having("augment", TrivialAugment())
