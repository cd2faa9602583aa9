"""CIFAR-10, refinements: Table 6 of "Bag of Tricks" in small, branching as it does, for ResNet-D.

    python -m harness.ablate cifar10_refinements
    python -m harness.report cifar10_refinements --table 6

Cost: 32 runs, 26 of them `cifar10`'s own. Inception-V3 and MobileNet are left out: 32 px is below what the first takes.
"""

from experiments.cifar10 import DISTILLATION, in_small
from experiments.imagenet_refinements import BASELINE as LARGE
from experiments.imagenet_refinements import refinements

BASELINE = in_small(LARGE)
TRICKS = refinements(DISTILLATION)
SEEDS = range(5)
