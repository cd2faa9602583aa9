"""Page: epochs to 94 % on CIFAR-10 (Page 2019, "How to Train Your ResNet 8"), of the tricks that there are here.

    python -m harness.ablate page --target 94
    python -m harness.report page@target-94 --published

Cost: some six lengths a rung, five runs each, of 50,000 images; `--dry-run` tells how long a round takes here. For two
cores: `page_small`.
Published, epochs and seconds on a V100 to some 94.1 % in the mean of 50 runs: 24 and 75 s; data on the GPU 70 s;
max-pool moved 25 and 64, label smoothing 23 and 59, CELU 20 and 52, ghost batch norm 18 and 46, frozen scales 17 and
43, whitened input patches 14 and 36, EMA 13 and 33.5, mirrored test images and no cutout 10 and 26. His rule: .1 point
is an epoch.

The max-pool, CELU, frozen scales and whitening are no rungs here, and the network is a ResNet-18 of a quarter of its
width, not Page's: what stands on one of them is over another rung than in his ladder.
"""

from functools import partial

from experiments import airbench
from harness.parts.augment import Flip, Shift
from harness.parts.data import Torchvision
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import RESNET18
from harness.parts.optimizers import NAG
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise
from harness.spec import Spec, declares, stack
from harness.tricks import ema as averages
from harness.tricks.cosine import cosine
from harness.tricks.cutout import Cutout, cutout
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.tta import tta
from harness.tricks.warmup import warmup


@declares("microbatch")
def ghost_norm(spec: Spec, size: int = 32) -> Spec:
    """ghost batch norm: statistics of 32 images at a time, of a batch of 512."""
    return spec.but(microbatch=size)


@declares("average")
def ema(spec: Spec) -> Spec:
    """EMA: every five steps, at .99."""
    return averages.ema(spec, decay=0.99, every=5)


@declares("evaluation", "augment")
def flip_tta(spec: Spec) -> Spec:
    """mirrored test images: and no cutout."""
    return tta(spec.but(augment=tuple(part for part in spec.augment if not isinstance(part, Cutout))))


BASELINE = stack(
    Spec(
        data=Torchvision(name="CIFAR10"),
        model=RESNET18.but(width=16, small=True),
        init=(Xavier(),),
        decay=DecayAll(weight=5e-4),
        optimizer=NAG(lr=0.1, per=256),
        schedule=Piecewise(),
        batch_size=512,
        epochs=10,
        augment=(Flip(), Shift(pixels=2)),
        precision=FP32(),
    ),
    (partial(warmup, epochs=2), cosine, partial(cutout, length=0.25)),
)
TRICKS = (partial(label_smoothing, smoothing=0.2), ghost_norm, ema, flip_tta)
SEEDS = range(5)
EPOCHS = airbench.EPOCHS
