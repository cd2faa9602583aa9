"""An augmentation that takes its time: for tests that interrupt a run."""

import time

from torch import Tensor

from harness.spec import Augment


class Slow(Augment):
    """Leaves images as they are, and waits `seconds` a batch."""

    seconds: float = 0.2

    def __call__(self, x: Tensor, rng: object) -> Tensor:
        time.sleep(self.seconds)
        return x
