"""CIFAR-10, ConvNeXt: the ladder of `convnext` in small, for two cores.

    python -m harness.ablate cifar10_convnext
    python -m harness.report cifar10_convnext --published

Cost: 51 runs of 10,000 images, three of 4 epochs and the others of 6; `--dry-run` tells how long here. Four stages of
1, 1, 2 and 1 blocks for 3, 4, 6 and 3, and 1, 1, 3 and 1 for 3, 3, 9 and 3; 16 channels for 64, and 24 for 96; AdamW
at 2e-3 and a batch of 128; LayerScale begins at .1, since 6 epochs leave no time to grow from 1e-6. At 32 px the last
stage has one place, where 7 x 7 sees nothing but the border: what large kernels are for does not show.
"""

from functools import partial

from experiments import cifar10, convnext
from experiments.convnext import KERNELS, enhanced_recipe, stage_ratio, wider
from experiments.convnext import TRICKS as LARGE

BASELINE = cifar10.in_small(convnext.BASELINE).but(
    model=cifar10.MODEL.but(blocks=(1, 1, 2, 1), variant="B"), augment=convnext.BASELINE.augment, epochs=4
)
TRICKS = (
    partial(enhanced_recipe, batch_size=128, epochs=6, warm=0.5, lr=2e-3, scale=0.1),
    partial(stage_ratio, blocks=(1, 1, 3, 1)),
    *LARGE[2:4],
    partial(wider, width=24),
    *LARGE[5:-1],
    KERNELS,
)
SEEDS = range(3)
