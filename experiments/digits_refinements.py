"""Digits, refinements: those of "Bag of Tricks", branching as its Table 6 does, distillation, mixup, or both.

    python -m harness.ablate digits_refinements
    python -m harness.ablate digits_refinements --design shapley

Cost: 32 runs, `--dry-run` tells how long here; all 16 subsets for exact Shapley values, 82 runs. The baseline has
the efficiency tricks and ResNet-D already.
"""

from experiments import digits
from harness.spec import Branches, stack

BASELINE = stack(digits.BASELINE, digits.TRICKS[:5])
COSINE, SMOOTHING, MIXUP, DISTILLATION = digits.TRICKS[5:]
TRICKS = (COSINE, SMOOTHING, Branches((DISTILLATION,), (MIXUP,), ((MIXUP, DISTILLATION),)))
SEEDS = range(5)
