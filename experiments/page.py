"""Page: epochs to 94 % on CIFAR-10 (Page 2019, "How to Train Your ResNet 8"), of the tricks that there are here.

    python -m harness.ablate page --target 94
    python -m harness.report page@target-94 --published

Cost: some six lengths a rung, five runs each, of 50,000 images; `--dry-run` tells how long a round takes here. For two
cores: `page_small`.
Published, epochs and seconds on a V100 to some 94.1 % in the mean of 50 runs: 24 and 75 s; data on the GPU 70 s;
max-pool moved 25 and 64, label smoothing 23 and 59, CELU 20 and 52, ghost batch norm 18 and 46, frozen scales 17 and
43, whitened input patches 14 and 36, EMA 13 and 33.5, mirrored test images and no cutout 10 and 26. His rule: .1 point
is an epoch.

The max-pool, CELU, frozen scales and whitening are no rungs here, and the network is that of `airbench_flips`, not
Page's: what stands on one of them is over another rung than in his ladder.
"""

from functools import partial

from experiments import airbench, airbench_flips
from harness.spec import Spec, declares
from harness.tricks import ema as averages
from harness.tricks.cutout import Cutout, cutout
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.tta import tta


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


BASELINE = cutout(airbench_flips.reshuffling(airbench_flips.BASELINE).but(batch_size=512, targets=()), length=0.25)
TRICKS = (partial(label_smoothing, smoothing=0.2), ghost_norm, ema, flip_tta)
SEEDS = range(5)
EPOCHS = airbench.EPOCHS
