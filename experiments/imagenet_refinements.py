"""ImageNet, refinements: Table 6 of "Bag of Tricks", branching as it does, for three networks.

    python -m harness.ablate imagenet_refinements --set data.root=DIR
    python -m harness.report imagenet_refinements --table 6

Cost on ImageNet: 54 runs of 120 epochs, and 200 where there is mixup, and the teachers, ResNet-152-D with and without
mixup at 224 and at 299 px, four in all, each trained once: thousands of GPU-hours; `--dry-run` tells how many here.
Published, top-1 of ResNet-50-D: efficient 77.16, cosine 77.91, smoothing 78.31, then distillation 78.67, mixup 79.15,
both 79.29. Distillation hurts the two others: Inception-V3 78.77 to 78.34, MobileNet 73.28 to 72.51.
"""

from functools import partial

from experiments import imagenet_efficient, imagenet_tweaks
from harness.spec import Branches, Step, Trick
from harness.tricks.cosine import cosine
from harness.tricks.distillation import distillation
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.resnet_d import resnet_d
from harness.tricks.zero_gamma import zero_gamma


def refinements(distilled: Trick) -> tuple[Step, ...]:
    """Cosine, smoothing, and on them distillation, mixup, or both."""
    return cosine, label_smoothing, Branches((distilled,), (mixup,), ((mixup, distilled),))


BASELINE = resnet_d(imagenet_tweaks.BASELINE)
ONE_TEACHER = partial(distillation, tricks=(zero_gamma, resnet_d, cosine, label_smoothing))  # whoever its student is
REFINEMENTS = refinements(ONE_TEACHER)
TRICKS = (
    Branches(
        REFINEMENTS,
        (imagenet_efficient.inception_v3, *REFINEMENTS),
        (imagenet_efficient.mobilenet, *REFINEMENTS),
    ),
)
SEEDS = range(3)
