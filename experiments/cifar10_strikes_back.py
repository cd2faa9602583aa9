"""CIFAR-10, ResNet strikes back: the ladder of `strikes_back` in small, for two cores.

    python -m harness.ablate cifar10_strikes_back
    python -m harness.report cifar10_strikes_back --published

Cost: 30 runs of 10,000 images: one rung of 3 epochs, five of 9, four of 18; `--dry-run` tells how long here. As
`cifar10`: its network of three blocks; a batch of 64 and LAMB at 8e-3, half an epoch of warm-up, RandAugment at 6 and
7 of 30, in FP32. The size of images stays, so that rung is left out.
"""

from functools import partial

from experiments import cifar10, strikes_back
from experiments.strikes_back import TRICKS as LARGE
from experiments.strikes_back import stronger_augment, to_300_epochs, to_600_epochs, train_at_224
from harness.parts.data import Torchvision
from harness.parts.precision import FP32
from harness.spec import Trick, stack
from harness.tricks.randaugment import randaugment
from harness.tricks.warmup import warmup

BASELINE = stack(
    strikes_back.BASELINE.but(
        data=Torchvision(name="CIFAR10", limit=10_000),
        model=cifar10.MODEL.but(variant="B"),
        batch_size=64,
        epochs=3,
        precision=FP32(),
        evaluation=None,
    ),
    (partial(warmup, epochs=0.5), partial(randaugment, magnitude=6)),
)
SMALL: dict[Trick, Trick] = {
    to_300_epochs: partial(to_300_epochs, epochs=9),
    stronger_augment: partial(stronger_augment, magnitude=7),
    to_600_epochs: partial(to_600_epochs, epochs=18),
}
TRICKS = tuple(SMALL.get(trick, trick) for trick in LARGE if trick is not train_at_224)
SEEDS = range(3)
