"""The ten-rung stack of "Bag of Tricks" on CIFAR-10.

    python -m harness.ablate cifar10 [--set data.root=DIR]

Cost: 51 runs of 120 to 200 epochs of a 29-layer bottleneck ResNet; hours on one GPU. On two CPU cores, the same
ladder in small, one seed:

    python -m harness.ablate cifar10 --seeds 1 --set epochs=3 --set schedule.warmup.epochs=0.5

`data.root` (default data/) holds torchvision's `cifar-10-batches-py`, downloaded there where that works. A copy as an
ImageFolder tree does too: `--set data='{"kind": "ImageFolder", "root": "DIR", "size": 32}'`.
"""

from functools import partial

from experiments import digits
from harness.parts.augment import Flip, Shift
from harness.parts.data import Torchvision
from harness.parts.models import ResNet
from harness.tricks.distillation import distillation
from harness.tricks.warmup import warmup

BASELINE = digits.BASELINE.but(
    data=Torchvision(name="CIFAR10"),
    model=ResNet(blocks=(3, 3, 3), width=16, small=True),
    batch_size=128,
    epochs=120,
    augment=(Flip(), Shift(pixels=4)),
)
TEACHER = BASELINE.model.but(blocks=(6, 6, 6))
TRICKS = (warmup, *digits.TRICKS[1:-1], partial(distillation, model=TEACHER))
SEEDS = range(5)
