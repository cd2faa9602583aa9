"""CIFAR-10, Assembled-CNN: the ladder of `assembled` in small, for two cores.

    python -m harness.ablate cifar10_assembled
    python -m harness.report cifar10_assembled --published

Cost: 37 runs of 10,000 images, 6 to 20 epochs; `--dry-run` tells how long here. As `cifar10`: its network, its teacher
of six blocks, data, rate and batch. 6 epochs stand for 120, 10 for 200, 14 for 270 and
20 for 600; squares of 4 px, since maps are 8 and 4 px wide, not 14 and 7. Images stay at 32 px. By Big-Little
a stage of one block has three, one of them of half the channels: its gain is that of more blocks too.
"""

from functools import partial

from experiments import assembled, cifar10
from experiments.assembled import TRICKS as LARGE
from experiments.assembled import distillation, dropblock, long_training
from harness.spec import Trick
from harness.tricks.big_little import big_little

SMALL: dict[Trick, Trick] = {
    dropblock: partial(dropblock, epochs=14, size=4),
    distillation: cifar10.DISTILLATION,
    long_training: partial(long_training, epochs=20),
    assembled.big_little: big_little,
}
BASELINE = cifar10.in_small(assembled.BASELINE).but(epochs=6)
TRICKS = tuple(SMALL.get(trick, trick) for trick in LARGE)
SEEDS = range(3)
