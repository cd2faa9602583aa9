"""Monkeys, augmentation: the policy group by group, which of imgaug's operations the ten species need.

    python -m harness.ablate monkeys_policy --design leave-one-out --set data.of.root=DIR

Cost: 24 runs of up to 300 epochs, the first three of them `monkeys`' own baseline; see there. The seven groups add up
to the whole policy, in any order; without one, the others are drawn the more often. The report has no such numbers.
"""

from experiments import monkeys
from harness.tricks.imgaug_policy import IMGAUG_GROUPS

BASELINE = monkeys.BASELINE.but(augment=())
TRICKS = IMGAUG_GROUPS
SEEDS = monkeys.SEEDS
