"""ResNet-B: the stride moves from the 1 x 1 to the 3 x 3 (He et al. 2019, section 4.1)."""

from harness.parts.models import ResNet
from harness.spec import Spec, declares


@declares("model.variant")
def resnet_b(spec: Spec) -> Spec:
    """ResNet-B: downsampling blocks stride in the 3 x 3, and look at all of their input.

    Slot: `model.variant`, neutral "A"; C and D have B in them, so it leaves those alone. torchvision's and timm's
    "ResNet-50" are B already.
    """
    assert isinstance(spec.model, ResNet)
    return spec.but(model=spec.model.but(variant=max(spec.model.variant, "B")))
