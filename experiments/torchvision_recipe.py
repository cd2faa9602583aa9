"""torchvision's recipe: the ladder from its old ResNet-50 to the new one (Vryniotis 2021), on ImageNet.

    python -m harness.ablate torchvision_recipe --set data.root=DIR
    python -m harness.report torchvision_recipe --published

Cost on ImageNet: 39 runs, the first three rungs of 90 epochs and the others of 600: some 19,000 epochs of ResNet-50,
of which the last nine in ten at 176 px; `--dry-run` tells the GPU-hours here. For two cores:
`cifar10_torchvision_recipe`.
Published, top-1, the best of three runs each: 76.130, LR optimizations 76.494, TrivialAugment 76.806, long training
78.606, random erasing 78.796, label smoothing 79.114, mixup 79.232, CutMix 79.510, weight decay 80.036, FixRes 80.196,
EMA 80.450, test images resized to 232 px 80.674, repeated augmentation 80.858 (a user's, later). The best of three is
above their mean, and the authors call the order idealized: they went back and forth.

What differs: weights begin by Xavier's rule; the warm-up rises from 0, theirs from a hundredth of the rate; the bias
of the last layer has no decay from "weight decay tuning" on; batch norm sees the batch of one process, theirs an
eighth of it (`--set ranks=8`). The rung of 232 px, the same network tested otherwise, is trained anew.
"""

from functools import partial

from harness.parts.augment import Flip, RandomAreaCrop
from harness.parts.data import PAPER_MEAN, Files, ImageFolder
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import RESNET50
from harness.parts.optimizers import SGD
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise, Step
from harness.spec import Spec, declares, stack
from harness.tricks import ema as averages
from harness.tricks.cosine import cosine
from harness.tricks.evaluation_size import evaluation_size
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.one_of import one_of
from harness.tricks.random_erasing import random_erasing
from harness.tricks.repeated_augmentation import repeated_augmentation
from harness.tricks.trivial_augment import trivial_augment
from harness.tricks.warmup import warmup


@declares("batch_size", "optimizer.lr", "schedule")
def lr_optimizations(spec: Spec, batch_size: int = 1024, lr: float = 0.125, warm: float = 5) -> Spec:
    """LR optimizations: batch × 4, five times the rate, cosine decay, and a warm-up."""
    larger = spec.but(batch_size=batch_size, optimizer=spec.optimizer.but(lr=lr))
    return stack(larger, (partial(warmup, epochs=warm), cosine))


@declares("epochs")
def long_training(spec: Spec, epochs: int = 600) -> Spec:
    """long training: 600 epochs for 90."""
    return spec.but(epochs=epochs)


@declares("mix")
def cutmix(spec: Spec) -> Spec:
    """CutMix: or mixup, one of the two a batch, by chance."""
    return one_of(spec)


@declares("decay")
def weight_decay_tuning(spec: Spec, weight: float = 2e-5) -> Spec:
    """weight decay tuning: a fifth of it, and none on γ and β of norms."""
    return no_bias_decay(spec.but(decay=spec.decay.but(weight=weight)))


@declares("data.size", "evaluation")
def fixres_mitigations(spec: Spec, train: int | None = 176, test: int = 224) -> Spec:
    """FixRes: trained at 176 px, tested at 224."""
    data = spec.data.but(size=train) if train and isinstance(spec.data, Files) else spec.data
    return evaluation_size(spec.but(data=data), size=test)


@declares("evaluation")
def inference_resize(spec: Spec, size: int = 224, crop: float | None = 224 / 232) -> Spec:
    """inference resize: test images are resized to 232 px before 224 are cut out, for 256."""
    return evaluation_size(spec, size=size, crop=crop)


@declares("average")
def ema(spec: Spec, decay: float = 1 - 2e-5 * 1024 * 32 / 600, every: int = 32) -> Spec:
    """EMA: every 32 steps; its .99998 is an image's, of all epochs, as torchvision's program has it."""
    return averages.ema(spec, decay=decay, every=every)


BASELINE = Spec(
    data=ImageFolder(root="data/imagenet"),
    model=RESNET50.but(variant="B"),
    init=(Xavier(),),
    decay=DecayAll(weight=1e-4),
    optimizer=SGD(lr=0.1, per=256),
    schedule=Piecewise(shape=Step(at=(1 / 3, 2 / 3))),
    batch_size=256,
    epochs=90,
    augment=(RandomAreaCrop(), Flip()),
    precision=FP32(),
)
TRICKS = (
    lr_optimizations,
    trivial_augment,
    long_training,
    partial(random_erasing, p=0.1, value=PAPER_MEAN),
    label_smoothing,
    partial(mixup, epochs=1),
    cutmix,
    weight_decay_tuning,
    fixres_mitigations,
    ema,
    inference_resize,
    partial(repeated_augmentation, repeats=4),
)
SEEDS = range(3)
