"""CIFAR-10: the ten-rung stack of "Bag of Tricks", at a scale that two cores can carry.

    python -m harness.ablate cifar10

Cost: 51 runs, about an hour on two cores. 10,000 training images, all 10,000 test images; a bottleneck ResNet of three
blocks with the paper's stem; 5 seeds. The paper's recipe scaled down: 9 epochs stand for its 120 and 15 for its 200, ½
of warmup for its 5, and the peak rate is four times as high. What it found: reports/cifar10/. All of CIFAR-10, at full
length, in a 29-layer ResNet, hours on a GPU:

    python -m harness.ablate cifar10 --set data.limit=null --set epochs=120 --set schedule.warmup.epochs=5 \\
        --set batch_size=128 --set optimizer.lr=0.1 \\
        --set model='{"kind": "ResNet", "blocks": [3, 3, 3], "width": 16, "small": true}' \\
        --set teacher.spec.model='{"kind": "ResNet", "blocks": [6, 6, 6], "width": 16, "small": true, "variant": "D"}'

`data.root` (default data/) holds torchvision's `cifar-10-batches-py`, downloaded there where that works. A copy as an
ImageFolder tree does too: `--set data='{"kind": "ImageFolder", "root": "DIR", "size": 32, "limit": 10000}'`.
"""

from functools import partial

from experiments import digits
from harness.parts.augment import Flip, Shift
from harness.parts.data import Torchvision
from harness.parts.models import ResNet
from harness.spec import Spec
from harness.tricks.distillation import distillation
from harness.tricks.warmup import warmup

MODEL = ResNet(blocks=(1, 1, 1), width=16)
TEACHER = MODEL.but(blocks=(2, 2, 2))
WARMUP = partial(warmup, epochs=0.5)
DISTILLATION = partial(distillation, model=TEACHER)


def in_small(spec: Spec) -> Spec:
    """What a study of large images becomes on CIFAR-10 and two cores: these slots, and no other."""
    small = spec.but(
        data=Torchvision(name="CIFAR10", limit=10_000),
        model=MODEL.but(variant=spec.model.variant) if isinstance(spec.model, ResNet) else spec.model,
        optimizer=spec.optimizer.but(lr=0.4),
        batch_size=32,
        epochs=9,
        augment=(Flip(), Shift(pixels=4)),
    )
    return WARMUP(small) if getattr(spec.schedule, "warmup", None) else small


BASELINE = in_small(digits.BASELINE)
TRICKS = (WARMUP, *digits.TRICKS[1:-1], DISTILLATION)
SEEDS = range(5)
