"""Some of the digits, in colour: for parts that need RGB images."""

from functools import lru_cache
from typing import Any

import numpy as np

from harness.parts.data import Cached, Digits, in_memory
from harness.spec import Data


class Coloured(Data):
    """48 images of 8 x 8 px for training and 100 for test, of a shade of its own in each channel."""

    @property
    def channels(self) -> int:
        return 3

    def load(self) -> Cached:
        return _coloured()


@lru_cache
def _coloured() -> Cached:
    digits = Digits().load()

    def some(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[Any, Any]:
        chosen = np.linspace(0, len(labels), count, endpoint=False).astype(int)
        grey = images[chosen].astype(int)
        return np.concatenate([grey, 255 - grey, grey // 2 + 60], 1).astype(np.uint8), labels[chosen]

    counts = {"train": 48, "test": 100}
    return in_memory({split: some(*digits.arrays[split], count) for split, count in counts.items()}, digits.classes)
