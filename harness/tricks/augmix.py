"""AugMix (Hendrycks et al. 2020, "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty")."""

import numpy as np
from PIL import Image
from pydantic import Field
from torch import Tensor

from harness.parts.batched import beside, carried_out
from harness.parts.operations import AGAIN, PLAIN, SIGNED, Op, Operations, done, evenly, steps
from harness.spec import Spec, declares

MOST = {  # torchvision's, in its order: the greatest magnitude of each
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateX": 1 / 3,  # of the width
    "TranslateY": 1 / 3,  # of the height
    "Rotate": 30.0,  # degrees
    "Posterize": 4.0,  # bits that are kept, at the least magnitude
    "Solarize": 1.0,
    "AutoContrast": 0.0,
    "Equalize": 0.0,
    "Brightness": 0.9,
    "Color": 0.9,
    "Contrast": 0.9,
    "Sharpness": 0.9,
}
Mixture = tuple[float, list[tuple[float, list[Op]]]]  # the share of an image, and of each chain of operations on it
PAPERS = 9  # the first so many are the paper's: the others are corruptions that its benchmark tests by


class AugMix(Operations):
    """m · image + (1 - m) · Σ wᵢ · chainᵢ(image), where m is Beta(α, α) and w Dirichlet(α, …), for each image.

    Each of `chains` is of `depth` operations, or of one to three as likely, at one of the `severity` lowest magnitudes
    of `bins`. `all_operations` has 13, torchvision's; without it there are the paper's nine. Mixed in float64 and
    rounded, where torchvision cuts off. The paper's loss, which pulls together the answers to three such images, is not
    in it.
    """

    bins: int = Field(10, ge=2)
    severity: int = Field(3, ge=1)
    chains: int = Field(3, ge=1)
    depth: int | None = Field(None, ge=1)
    alpha: float = Field(1.0, gt=0)
    all_operations: bool = True

    def check(self, spec: Spec) -> None:
        if self.severity > self.bins:
            raise ValueError(f"AugMix's severity={self.severity} is above bins={self.bins}")

    def on_pixels(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        made = np.empty_like(images)
        for place, image in enumerate(images):
            photo = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
            own, chains = self.mixture(image.shape[0], image.shape[1], rng)
            mixed = own * image
            for share, chain in chains:
                chained = photo
                for name, magnitude in chain:
                    chained = done(chained, name, magnitude)
                mixed += share * np.asarray(chained).reshape(image.shape)
            made[place] = np.rint(mixed)
        return made

    def together(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        every = [self.mixture(x.shape[2], x.shape[3], rng) for _ in x]
        mixed = beside([own for own, _ in every], x) * x
        for chains in zip(*(chains for _, chains in every), strict=True):
            shares, drawn = zip(*chains, strict=True)
            mixed += beside(shares, x) * carried_out(x, drawn)
        return mixed.round().int()

    def mixture(self, height: int, width: int, rng: np.random.Generator) -> Mixture:
        own, rest = rng.dirichlet((self.alpha, self.alpha))
        shares = rng.dirichlet((self.alpha,) * self.chains)
        return float(own), [(float(rest * share), self.drawn(height, width, rng)) for share in shares]

    def drawn(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        """The operations of one chain."""
        depth = self.depth or int(rng.integers(1, 4))
        return [self._operation(height, width, rng) for _ in range(depth)]

    def _operation(self, height: int, width: int, rng: np.random.Generator) -> Op:
        names = tuple(MOST)[: None if self.all_operations else PAPERS]
        name = names[rng.integers(len(names))]
        if name in PLAIN:
            return name, 0.0
        place = rng.integers(self.severity)
        if name == "Posterize":
            return name, np.round(4 - place / ((self.bins - 1) / 4))
        if name == "Solarize":
            return name, steps(1.0, 0.0, self.bins)[place]
        side = {"TranslateX": width, "TranslateY": height}.get(name, 1.0)
        return name, steps(0.0, MOST[name] * side, self.bins)[place] * (-1 if rng.random() <= 0.5 else 1)

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """By the paper's algorithm 1: the chains are mixed first, and then with the image."""
        made = np.empty_like(x)
        for place, image in enumerate(np.clip(np.rint(x), 0, 255).astype(np.int64)):
            m = rng.dirichlet([self.alpha] * 2)[0]
            mixed = np.zeros(image.shape)
            for w in rng.dirichlet([self.alpha] * self.chains):
                chained = image
                for name, magnitude in self.again(image.shape[1], image.shape[2], rng):
                    chained = AGAIN[name](chained, magnitude)
                mixed = mixed + w * chained
            made[place] = np.rint(m * image + (1 - m) * mixed)
        return made

    def again(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        found: list[Op] = []
        space = [item for i, item in enumerate(MOST.items()) if self.all_operations or i < 9]
        left = int(rng.integers(1, 4)) if self.depth is None else self.depth
        while len(found) < left:
            name, most = space[int(rng.integers(0, len(space)))]
            level = int(rng.integers(0, self.severity)) if most else 0
            if name.startswith("Translate"):
                most *= width if name.endswith("X") else height
            strength = evenly(0.0, most, self.bins, level) if most else 0.0
            if name == "Posterize":
                strength = float(round(4 - 4 * level / (self.bins - 1)))
            if name == "Solarize":
                strength = evenly(1.0, 0.0, self.bins, level)
            found.append((name, -strength if name in SIGNED and rng.random() <= 0.5 else strength))
        return found


@declares("augment")
def augmix(spec: Spec, severity: int = 3, chains: int = 3, all_operations: bool = True) -> Spec:
    """AugMix: each image mixed with three chains of operations on it.

    Slot: `augment`. Its evidence is the images of audited steps, made again in numpy by the same draws.

    Hurts: top-1 of clean images hardly gains by it: it is for corrupted ones, which the score does not see.

    Cost: three chains of operations for each image, by the processes that decode photos; not measured.
    """
    return spec.having("augment", AugMix(severity=severity, chains=chains, all_operations=all_operations))
