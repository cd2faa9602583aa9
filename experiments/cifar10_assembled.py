"""CIFAR-10, Assembled-CNN: the ladder of `assembled` in small, for two cores.

    python -m harness.ablate cifar10_assembled
    python -m harness.report cifar10_assembled --published

Cost: 31 runs of 10,000 images, 6 to 20 epochs; `--dry-run` tells how long here. As `cifar10`: its network, its teacher
of six blocks, data, rate and batch. 6 epochs stand for 120, 10 for 200 and 20 for 600.
"""

from functools import partial

from experiments import assembled, cifar10
from experiments.assembled import TRICKS as LARGE
from experiments.assembled import distillation, long_training
from harness.spec import Trick

SMALL: dict[Trick, Trick] = {distillation: cifar10.DISTILLATION, long_training: partial(long_training, epochs=20)}
BASELINE = cifar10.in_small(assembled.BASELINE).but(epochs=6)
TRICKS = tuple(SMALL.get(trick, trick) for trick in LARGE)
SEEDS = range(3)
