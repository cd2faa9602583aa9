"""ConvNeXt: Table 10 of "A ConvNet for the 2020s" (Liu et al. 2022), from ResNet-50 to ConvNeXt-T on ImageNet.

    python -m harness.ablate convnext --set data.root=DIR
    python -m harness.report convnext --published

Cost on ImageNet: 51 runs, three of 90 epochs and the others of 300, of 2.4 to 5.3 GFLOPs an image: thousands of
GPU-hours; `--dry-run` tells how many here. For two cores: `cifar10_convnext`.
Published, top-1, mean ± s.d. of three seeds: 76.13 (torchvision's), enhanced recipe 78.82 ± .07, stage ratio 79.36 ±
.07, patchify 79.51 ± .18, depthwise 78.28 ± .08, wider 80.50 ± .02, inverted 80.64 ± .03, depthwise up 79.92 ± .08,
kernel 5 to 11 80.35 ± .08, 80.57 ± .14, 80.57 ± .06, 80.47 ± .11, then at 7 GELU 80.62 ± .14, fewer activations 81.27
± .06, fewer norms 81.41 ± .09, layer norm 81.47 ± .09, separate downsampling 81.97 ± .06. It is the one large ladder
that is published with its spread, so `--published` tests whether gains differ.

What differs, or is not told: RandAugment is torchvision's at magnitude 9 of 30, without timm's noise; erased pixels
are the mean colour; a batch of 4,096, and a chance of .1 to leave out the last block, are our reading.
"""

from functools import partial

from experiments import torchvision_recipe
from harness.parts.data import PAPER_MEAN
from harness.parts.optimizers import AdamW
from harness.spec import Branches, Spec, declares, stack
from harness.tricks.cosine import cosine
from harness.tricks.cutmix import CutMix
from harness.tricks.depthwise_conv import depthwise_conv
from harness.tricks.depthwise_up import depthwise_up
from harness.tricks.fewer_activations import fewer_activations
from harness.tricks.fewer_norms import fewer_norms
from harness.tricks.gelu import gelu
from harness.tricks.inverted_bottleneck import inverted_bottleneck
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.large_kernel import large_kernel
from harness.tricks.layer_norm import layer_norm
from harness.tricks.layer_scale import layer_scale
from harness.tricks.mixup import Mixup
from harness.tricks.one_of import one_of
from harness.tricks.patchify_stem import patchify_stem
from harness.tricks.randaugment import randaugment
from harness.tricks.random_erasing import random_erasing
from harness.tricks.separate_downsampling import separate_downsampling
from harness.tricks.stochastic_depth import stochastic_depth
from harness.tricks.warmup import warmup

REGULARISED = (
    partial(randaugment, magnitude=9),
    partial(random_erasing, p=0.25, value=PAPER_MEAN),
    partial(one_of, parts=(Mixup(alpha=0.8), CutMix(alpha=1.0))),
    label_smoothing,
    partial(stochastic_depth, rate=0.1),
    partial(layer_scale, value=1e-6),
)


@declares("optimizer", "decay", "schedule", "batch_size", "epochs", "augment", "mix", "targets", "model")
def enhanced_recipe(
    spec: Spec, batch_size: int = 4096, epochs: int = 300, warm: float = 20, lr: float = 4e-3, scale: float = 1e-6
) -> Spec:
    """enhanced recipe: AdamW and cosine for 300 epochs, RandAugment, erasing, mixup or CutMix, smoothing, depth."""
    own = spec.but(optimizer=AdamW(lr=lr), decay=spec.decay.but(weight=0.05), batch_size=batch_size, epochs=epochs)
    timed = (partial(warmup, epochs=warm), cosine)
    return stack(own, (*timed, *REGULARISED[:-1], partial(layer_scale, value=scale)))


@declares("model.blocks")
def stage_ratio(spec: Spec, blocks: tuple[int, ...] = (3, 3, 9, 3)) -> Spec:
    """stage ratio: 3, 3, 9 and 3 blocks, for 3, 4, 6 and 3."""
    return spec.but(model=spec.model.but(blocks=blocks))


@declares("model.width")
def wider(spec: Spec, width: int = 96) -> Spec:
    """wider: half as many channels more, 96 for 64."""
    return spec.but(model=spec.model.but(width=width))


@declares("model.kernel")
def kernel_5(spec: Spec) -> Spec:
    """5 x 5: for the 3 x 3 of blocks."""
    return large_kernel(spec, size=5)


@declares("model.kernel")
def kernel_7(spec: Spec) -> Spec:
    """7 x 7: for the 3 x 3 of blocks."""
    return large_kernel(spec, size=7)


@declares("model.kernel")
def kernel_9(spec: Spec) -> Spec:
    """9 x 9: for the 3 x 3 of blocks."""
    return large_kernel(spec, size=9)


@declares("model.kernel")
def kernel_11(spec: Spec) -> Spec:
    """11 x 11: for the 3 x 3 of blocks."""
    return large_kernel(spec, size=11)


LATER = (kernel_7, gelu, fewer_activations, fewer_norms, layer_norm, separate_downsampling)
KERNELS = Branches(LATER, (kernel_5,), (kernel_9,), (kernel_11,))

BASELINE = torchvision_recipe.BASELINE
TRICKS = (
    enhanced_recipe,
    stage_ratio,
    patchify_stem,
    depthwise_conv,
    wider,
    inverted_bottleneck,
    depthwise_up,
    KERNELS,
)
SEEDS = range(3)
