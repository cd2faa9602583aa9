"""CIFAR-10, model tweaks: Table 5 of "Bag of Tricks" in small, ResNet-A, -B, -C and -D of three blocks.

    python -m harness.ablate cifar10_tweaks
    python -m harness.report cifar10_tweaks --table 5

Cost: 20 runs, some six minutes on two quiet cores by `--dry-run`; see `cifar10`, whose fifth and sixth rungs are the
first and the last.
"""

from experiments.cifar10 import in_small
from experiments.imagenet_tweaks import BASELINE as LARGE
from experiments.imagenet_tweaks import TRICKS as TRICKS

BASELINE = in_small(LARGE)
SEEDS = range(5)
