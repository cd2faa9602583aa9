"""Photos: the ten-rung stack of "Bag of Tricks", as published, on any ImageFolder tree at 224 px.

    python -m harness.ablate photos --set data.root=DIR

DIR holds train/CLASS/FILE and val/CLASS/FILE. Cost on ImageNet: 51 runs of ResNet-50, 120 epochs and 200 from mixup
on, batch 256, and a ResNet-152-D teacher: thousands of GPU-hours. A small set on two CPU cores, one seed:

    python -m harness.ablate photos --set data.root=DIR --seeds 1 --set epochs=3 --set schedule.warmup.epochs=0.5 \\
        --set batch_size=32 --set model='{"kind": "ResNet", "blocks": [1, 1, 1, 1], "width": 16}' \\
        --set teacher.spec.model='{"kind": "ResNet", "blocks": [2, 2, 2, 2], "width": 16, "variant": "D"}'
"""

from experiments import digits
from harness.parts.augment import PAPER
from harness.parts.data import ImageFolder
from harness.parts.models import RESNET50
from harness.tricks.distillation import distillation
from harness.tricks.warmup import warmup

BASELINE = digits.BASELINE.but(
    data=ImageFolder(root="data/photos"),
    model=RESNET50,
    batch_size=256,
    epochs=120,
    augment=PAPER,
)
TRICKS = (warmup, *digits.TRICKS[1:-1], distillation)
SEEDS = range(5)
