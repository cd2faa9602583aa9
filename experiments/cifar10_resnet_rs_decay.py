"""CIFAR-10, weight decay by regularisation: the interaction of `resnet_rs_decay` in small, for two cores.

    python -m harness.ablate cifar10_resnet_rs_decay
    python -m harness.report cifar10_resnet_rs_decay --published

Cost: 30 runs of 10,000 images and 12 epochs; `--dry-run` tells how long here. As `cifar10_resnet_rs`.
"""

from functools import partial

from experiments import cifar10, resnet_rs_decay
from experiments.cifar10_resnet_rs import SMALL
from experiments.resnet_rs import TRICKS as LADDER
from experiments.resnet_rs_decay import DROPOUT, less_decay, ra_ls
from harness.spec import Branches, stack

RA_LS = partial(ra_ls, magnitude=7)
ALL = tuple(SMALL.get(trick, trick) for trick in LADDER)
BASELINE = stack(cifar10.in_small(resnet_rs_decay.BASELINE.but(average=())).but(epochs=12), (ALL[2],))
TRICKS = (Branches((less_decay,), (RA_LS, Branches((less_decay,), (DROPOUT, less_decay)))),)
SEEDS = range(5)
