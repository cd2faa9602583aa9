"""Assembled-CNN: Table 7 of Lee et al. 2020, which goes on where "Bag of Tricks" ends, ResNet-50 on ImageNet.

    python -m harness.ablate assembled --set data.root=DIR
    python -m harness.report assembled --published

Cost on ImageNet: 36 runs of 120 to 600 epochs and three teachers; `--dry-run` tells the GPU-hours here. For two cores:
`cifar10_assembled`.
Published, top-1, runs not said, cosine throughout: 76.87, ResNet-D 77.37, label smoothing 78.35, mixup for 200 epochs
79.10, SE 79.71, DropBlock for 270 epochs 80.40, SK for SE 81.40, distillation 81.69, 600 epochs 82.10, Big-Little at
256 px 82.44, anti-aliasing 82.69, AutoAugment 82.78. Beside it mCE falls from 75.55 to 48.89, and images a second from
536 to 312: the second is a column of `--published` too.

Big-Little has the shortcuts of ResNet-D, and its teacher is the one of 224 px. DropBlock is Ghiasi et al.'s: the last
two stages, squares of 7, a rate of .1. The length of the first rungs, 120 epochs, and the teacher, a
ResNet-152-D, are those of "Bag of Tricks".
"""

from experiments import torchvision_recipe
from harness.parts.data import Files
from harness.spec import Spec, declares
from harness.tricks import big_little as branches
from harness.tricks import dropblock as blocks
from harness.tricks import selective_kernel as kernels
from harness.tricks.auto_augment import auto_augment
from harness.tricks.blur_pool import blur_pool
from harness.tricks.cosine import cosine
from harness.tricks.distillation import distillation
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.resnet_d import resnet_d
from harness.tricks.squeeze_excitation import squeeze_excitation


@declares("model.drop_block", "model.drop_block_size", "epochs")
def dropblock(spec: Spec, epochs: int = 270, size: int | None = None) -> Spec:
    """DropBlock: squares of the last two stages left out, for 270 epochs."""
    return blocks.dropblock(spec.but(epochs=epochs), size=size)


@declares("model.selective", "model.squeeze")
def selective_kernel(spec: Spec) -> Spec:
    """SK for SE: selective kernels in the place of squeeze-and-excitation."""
    return kernels.selective_kernel(spec.but(model=spec.model.but(squeeze=None)))


@declares("epochs")
def long_training(spec: Spec, epochs: int = 600) -> Spec:
    """long training: 600 epochs for 270."""
    return spec.but(epochs=epochs)


@declares("model.big_little", "data.size")
def big_little(spec: Spec, size: int = 256) -> Spec:
    """Big-Little, 256 px: two branches a stage, trained and tested at 256 px for 224."""
    data = spec.data.but(size=size) if isinstance(spec.data, Files) else spec.data
    return branches.big_little(spec.but(data=data))


@declares("model.blur")
def anti_aliasing(spec: Spec) -> Spec:
    """anti-aliasing: blurred before each stride."""
    return blur_pool(spec)


BASELINE = cosine(torchvision_recipe.BASELINE.but(epochs=120))
TRICKS = (
    resnet_d,
    label_smoothing,
    mixup,
    squeeze_excitation,
    dropblock,
    selective_kernel,
    distillation,
    long_training,
    big_little,
    anti_aliasing,
    auto_augment,
)
SEEDS = range(3)
