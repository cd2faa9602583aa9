"""CIFAR-10, efficient training: Tables 3 and 4 of "Bag of Tricks" in small, batch 32 and 128 for 256 and 1,024.

    python -m harness.ablate cifar10_efficient
    python -m harness.report cifar10_efficient --table 4

Cost: 50 runs, some ten minutes on two quiet cores by `--dry-run`; see `cifar10`, whose first five rungs these are.
Inception-V3 and MobileNet are left out: 32 px is below what the first takes. Signs and order of gains are what can be
compared with the paper.
"""

from experiments.cifar10 import WARMUP, in_small
from experiments.imagenet_efficient import BASELINE as LARGE
from experiments.imagenet_efficient import HEURISTICS, large_batch
from harness.spec import Branches

BASELINE = in_small(LARGE)
SMALL = (WARMUP, *HEURISTICS[1:])
TRICKS = (Branches(SMALL, (large_batch, *SMALL)),)
SEEDS = range(5)
