"""Monkeys at 48 px, augmentation: `monkeys_policy` in small, its groups of operations; for two cores.

    python -m harness.ablate monkeys_policy_small --design leave-one-out --set data.of.root=DIR

Cost: 24 runs of 18 epochs, three of them `monkeys_small`'s own; 2.3 to 3.7 s of one core an epoch, the least without
blur or geometry: ten minutes on two quiet cores. At 48 px and 18 epochs a network with the whole policy is far from
learning its images by heart: what augmentation is for may not show, and a group that costs accuracy here need not at
224 px and 300 epochs. Found: no group's gain is resolved with three seeds. Least far from it are the flips, crops and
affine maps, +2.82 [+1.42, +4.21]; without them the held-out loss is least after 8 or 9 epochs, and that ends it.
"""

from experiments import monkeys_policy
from experiments.monkeys_small import in_small

BASELINE = in_small(monkeys_policy.BASELINE)
TRICKS = monkeys_policy.TRICKS
SEEDS = monkeys_policy.SEEDS
