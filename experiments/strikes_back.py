"""ResNet strikes back: procedures A3, A2 and A1 for ResNet-50 (Wightman et al. 2021), and the steps between them.

    python -m harness.ablate strikes_back --set data.root=DIR
    python -m harness.report strikes_back --published

Cost on ImageNet: 30 runs of ResNet-50: one rung of 100 epochs at 160 px, five of 300, four of 600; `--dry-run` tells
the GPU-hours here. For two cores: `cifar10_strikes_back`.
Published, top-1: A3 78.1, A2 79.8, A1 80.4; timm's own weights of them, tested by timm, 78.052, 79.828 and 80.382. The
baseline here is A3, `lower_rate` is A2 and `stronger_mixup` is A1; rungs between are not published.

All have LAMB, binary cross-entropy, a batch of 2,048, five epochs of warm-up, cosine decay, CutMix or mixup, and
images tested at a crop of .95. What differs: RandAugment is torchvision's of 30 magnitudes, timm's 7 and 6 of 10 as 21
and 18, without its noise; weight decay spares biases and norms, as timm's does, and there is no bound on gradients.
"""

from functools import partial

from experiments import torchvision_recipe
from harness.parts.data import Files, ImageFolder
from harness.parts.optimizers import Lamb
from harness.spec import Spec, declares, stack
from harness.tricks.binary_cross_entropy import binary_cross_entropy
from harness.tricks.cosine import cosine
from harness.tricks.cutmix import CutMix
from harness.tricks.evaluation_size import evaluation_size
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import Mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.one_of import one_of
from harness.tricks.randaugment import randaugment
from harness.tricks.repeated_augmentation import repeated_augmentation
from harness.tricks.stochastic_depth import stochastic_depth
from harness.tricks.warmup import warmup


@declares("epochs")
def to_300_epochs(spec: Spec, epochs: int = 300) -> Spec:
    """300 epochs: for 100."""
    return spec.but(epochs=epochs)


@declares("data.size")
def train_at_224(spec: Spec) -> Spec:
    """trained at 224 px: for 160, and tested at 224 as before."""
    return spec.but(data=spec.data.but(size=224)) if isinstance(spec.data, Files) else spec


@declares("augment")
def stronger_augment(spec: Spec, magnitude: int = 21) -> Spec:
    """stronger RandAugment: 7 of 10 for 6."""
    return randaugment(spec, magnitude=magnitude)


@declares("optimizer.lr")
def lower_rate(spec: Spec, lr: float = 5e-3) -> Spec:
    """lower rate: 5e-3 for 8e-3."""
    return spec.but(optimizer=spec.optimizer.but(lr=lr))


@declares("epochs")
def to_600_epochs(spec: Spec, epochs: int = 600) -> Spec:
    """600 epochs: for 300."""
    return spec.but(epochs=epochs)


@declares("decay.weight")
def less_decay(spec: Spec, weight: float = 0.01) -> Spec:
    """half the weight decay: .01 for .02."""
    return spec.but(decay=spec.decay.but(weight=weight))


@declares("mix")
def stronger_mixup(spec: Spec) -> Spec:
    """stronger mixup: α = .2 for .1."""
    return one_of(spec, parts=(Mixup(alpha=0.2), CutMix(alpha=1.0)))


BASELINE = stack(
    torchvision_recipe.BASELINE.but(
        data=ImageFolder(root="data/imagenet", size=160), optimizer=Lamb(lr=8e-3), batch_size=2048, epochs=100
    ),
    (
        partial(warmup, epochs=5),
        cosine,
        partial(randaugment, magnitude=18),
        partial(one_of, parts=(Mixup(alpha=0.1), CutMix(alpha=1.0))),
        binary_cross_entropy,
        no_bias_decay,
        fp16,
        partial(evaluation_size, size=224, crop=0.95),
    ),
)
BASELINE = BASELINE.but(decay=BASELINE.decay.but(weight=0.02))
TRICKS = (
    to_300_epochs,
    train_at_224,
    partial(stochastic_depth, rate=0.05),
    repeated_augmentation,
    stronger_augment,
    lower_rate,
    to_600_epochs,
    label_smoothing,
    less_decay,
    stronger_mixup,
)
SEEDS = range(3)
