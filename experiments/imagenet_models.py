"""ImageNet, networks: Table 1 of "Bag of Tricks", newer ones trained plainly, and ResNet-50 with all tricks.

    python -m harness.ablate imagenet_models --set data.root=DIR
    python -m harness.report imagenet_models --table 1

Cost on ImageNet: 18 runs of 120 to 200 epochs, and a ResNet-152-D teacher; `--dry-run` tells the GPU-hours here.
Published, top-1: ResNet-50 75.3, ResNeXt-50 77.8, SE-ResNet-50 76.71, SE-ResNeXt-50 78.90, DenseNet-201 77.42, and
ResNet-50 + tricks 79.29. All but the last are of other papers, by other recipes; here all are trained alike.
"""

from experiments import imagenet_efficient
from harness.parts.models import DENSENET201, RESNEXT50, SE_RESNET50, SE_RESNEXT50
from harness.spec import Branches, Model, Spec, Trick, declared, declares, stack
from harness.tricks.cosine import cosine
from harness.tricks.distillation import distillation
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.resnet_d import resnet_d


@declares("model")
def resnext50(spec: Spec, model: Model = RESNEXT50) -> Spec:
    """ResNeXt-50: 32 groups of 4 channels (Xie et al. 2017)."""
    return spec.but(model=model)


@declares("model")
def se_resnet50(spec: Spec, model: Model = SE_RESNET50) -> Spec:
    """SE-ResNet-50: squeeze and excitation (Hu et al. 2018)."""
    return spec.but(model=model)


@declares("model")
def se_resnext50(spec: Spec, model: Model = SE_RESNEXT50) -> Spec:
    """SE-ResNeXt-50: both (Hu et al. 2018)."""
    return spec.but(model=model)


@declares("model")
def densenet201(spec: Spec, model: Model = DENSENET201) -> Spec:
    """DenseNet-201: each layer sees all before it (Huang et al. 2017)."""
    return spec.but(model=model)


@declares("model.variant", "targets", "mix", "epochs", "schedule", "teacher", *declared(imagenet_efficient.efficient))
def tricks(spec: Spec, recipe: Trick = imagenet_efficient.efficient, distilled: Trick = distillation) -> Spec:
    """ResNet + tricks: the efficient recipe, D, cosine, smoothing, mixup and distillation."""
    return stack(spec, (recipe, resnet_d, cosine, label_smoothing, mixup, distilled))


BASELINE = imagenet_efficient.BASELINE
TRICKS = (Branches((resnext50,), (se_resnet50,), (se_resnext50,), (densenet201,), (tricks,)),)
SEEDS = range(3)
