"""RandAugment (Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space")."""

import numpy as np
from pydantic import Field

from harness.parts.operations import PLAIN, SIGNED, Op, Operations, evenly, steps
from harness.spec import Spec, declares

MOST = {  # torchvision's, in its order: the greatest magnitude of each
    "Identity": 0.0,
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateX": 150 / 331,  # of the width
    "TranslateY": 150 / 331,  # of the height
    "Rotate": 30.0,  # degrees
    "Brightness": 0.9,
    "Color": 0.9,
    "Contrast": 0.9,
    "Sharpness": 0.9,
    "Posterize": 4.0,  # bits that are lost
    "Solarize": 1.0,
    "AutoContrast": 0.0,
    "Equalize": 0.0,
}


class RandAugment(Operations):
    """`operations` an image, each of 14 alike, all at `magnitude` of `bins`, counted from 0: torchvision's."""

    operations: int = Field(2, ge=1)
    magnitude: int = Field(9, ge=0)

    def check(self, spec: Spec) -> None:
        if self.magnitude >= self.bins:
            raise ValueError(f"RandAugment's magnitude={self.magnitude} is not below bins={self.bins}")

    def drawn(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        return [self._operation(height, width, rng) for _ in range(self.operations)]

    def _operation(self, height: int, width: int, rng: np.random.Generator) -> Op:
        name = tuple(MOST)[rng.integers(len(MOST))]
        if name in PLAIN:
            return name, 0.0
        if name == "Posterize":
            return name, 8 - np.round(self.magnitude / ((self.bins - 1) / 4))
        if name == "Solarize":
            return name, steps(1.0, 0.0, self.bins)[self.magnitude]
        side = {"TranslateX": width, "TranslateY": height}.get(name, 1.0)
        return name, steps(0.0, MOST[name] * side, self.bins)[self.magnitude] * (-1 if rng.random() <= 0.5 else 1)

    def again(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        """By the paper's Figure 2: N transforms drawn, each at M, to one side or the other."""
        found: list[Op] = []
        while len(found) < self.operations:
            name, most = list(MOST.items())[int(rng.integers(0, 14))]
            if name.startswith("Translate"):
                most *= width if name.endswith("X") else height
            strength = evenly(0.0, most, self.bins, self.magnitude) if most else 0.0
            if name == "Posterize":
                strength = 8.0 - round(4 * self.magnitude / (self.bins - 1))
            if name == "Solarize":
                strength = evenly(1.0, 0.0, self.bins, self.magnitude)
            found.append((name, -strength if name in SIGNED and rng.random() <= 0.5 else strength))
        return found


@declares("augment")
def randaugment(spec: Spec, operations: int = 2, magnitude: int = 9) -> Spec:
    """RandAugment: two operations of 14 an image, at magnitude 9 of 30.

    Hurts: data whose class is told by what an operation takes away; small networks and short runs want a smaller
    magnitude, as the paper's Figure 3 has it.

    Cost: some 4 ms of a CPU core for each image of 224 px, by the processes that decode photos.
    """
    return spec.having("augment", RandAugment(operations=operations, magnitude=magnitude))
