"""What made-up runs cost."""

import torch

from harness.parts.data import Photos
from harness.spec import Data
from harness.study.costs import Price
from harness.study.measured import Measured

CPU = torch.device("cpu")
KNOWN = Measured(
    images=4,
    train=0.01,
    test=0.002,
    once=0.0,
    step=0.5,
    weights=1e6,
    static=3e6,
    kept=2e5,
    passing=5e4,
    by="timed steps",
)


class Shots(Data):
    """Photos that nobody decodes."""

    @property
    def channels(self):
        return 3

    def load(self):
        return Photos(("a", "b"), 3, 96, {"train": 100, "test": 40}, "0" * 16, (0.0,) * 3, (1.0,) * 3)


def quiet(text):
    raise AssertionError(text)


PRICE = Price(100.0, "timed steps", 3e9, "estimated", 5e6, 2e7)
