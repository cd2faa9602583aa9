"""Alternating flip (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.6)."""

import numpy as np
import torch
from pydantic import PrivateAttr
from torch import Tensor

from harness import Problem
from harness.parts.augment import Flip
from harness.parts.draws import drawn
from harness.rng import Stream
from harness.spec import Augment, Draws, Spec, declares


class AlternatingFlip(Augment):
    """An image is mirrored every second epoch: which of two begin so is a coin's, one an image. Slot: `augment`.

    Two epochs in a row show each image once as it is and once mirrored. By coins alone (`Flip`) half of the images come
    twice alike. The source hashes an image's number; here the coins are drawn from the seed.
    """

    _moment: tuple[int, np.ndarray, Stream] | None = PrivateAttr(None)

    def knowing(self, epoch: int, places: np.ndarray, rng: Stream) -> Augment:
        made = self.model_copy()
        made._moment = epoch, places, rng
        return made

    def _known(self) -> tuple[int, np.ndarray, Stream]:
        if self._moment is None:
            raise Problem("AlternatingFlip does not know which images it gets: call `part.knowing(epoch, places, rng)`")
        return self._moment

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        epoch, places, streams = self._known()
        coins = streams("augment", "AlternatingFlip").random(int(places.max()) + 1)[places] < 0.5
        return (coins ^ (epoch % 2 == 1),)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        (turned,) = drawn(self, x, rng)
        return torch.where(turned[:, None, None, None], x.flip(3), x)

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each image by itself: mirrored where the epoch's number and its own first one are both even, or both odd."""
        assert self._moment
        epoch, places, streams = self._moment
        drawn = streams("augment", "AlternatingFlip").random(1 + max(places))
        first = [0 if drawn[place] < 0.5 else 1 for place in places]
        return np.stack([i[..., ::-1] if (epoch + f) % 2 == 0 else i for i, f in zip(x, first, strict=True)])


@declares("augment")
def alternating_flip(spec: Spec) -> Spec:
    """alternating flip: an image is mirrored every second epoch.

    It takes the place of `Flip`, if that is there.

    Hurts: images whose class a mirror changes, such as digits. Of runs of two epochs or fewer it gains little.

    Cost: none.
    """
    if any(isinstance(part, AlternatingFlip) for part in spec.augment):
        return spec
    new = AlternatingFlip()
    if any(isinstance(part, Flip) for part in spec.augment):
        return spec.but(augment=tuple(new if isinstance(part, Flip) else part for part in spec.augment))
    return spec.having("augment", new)
