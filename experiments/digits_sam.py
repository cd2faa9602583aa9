"""Digits, SAM: on the digits' ResNet, the networks whose loss landscapes `harness.landscape` draws.

    python -m harness.ablate digits_sam
    python -m harness.landscape nets digits_sam baseline sam

Cost: 10 runs of 30 epochs, a minute on two quiet cores. After Figures 2 and 3 of the report behind `mnist_optimizers`.
Found: at half a filter norm the loss rises less with SAM for four seeds of five, by -0.76 [-2.00, +0.48]: not resolved.
"""

from experiments import digits
from harness.tricks.sam import sam

BASELINE = digits.BASELINE.but(epochs=30)
TRICKS = (sam,)
SEEDS = range(5)
