"""Digits, confounds apart: linear scaling, and ResNet-B before D, as rungs of "Bag of Tricks" of their own.

    python -m harness.ablate digits_controls --same-epochs
    python -m harness.ablate digits_controls --design leave-one-out --only all_tricks without_fp16

Cost: 66 runs with `--same-epochs`; `--dry-run` tells how long here. That option sets mixup against as many epochs
without it. The second command sets the whole stack in FP16 beside the same in FP32.
"""

from experiments import digits
from harness.tricks.linear_scaling import linear_scaling
from harness.tricks.resnet_b import resnet_b

BASELINE = digits.BASELINE.but(optimizer=digits.BASELINE.optimizer.but(per=None))
TRICKS = (linear_scaling, *digits.TRICKS[:4], resnet_b, *digits.TRICKS[4:])
SEEDS = range(5)
