"""ResNet-B: the stride moves from the 1 x 1 to the 3 x 3 (He et al. 2019, section 4.1)."""

from harness.parts.models import with_variant
from harness.spec import Spec, declares


@declares("model.variant")
def resnet_b(spec: Spec) -> Spec:
    """ResNet-B: downsampling blocks stride in the 3 x 3, and look at all of their input.

    Slot: `model.variant`, neutral "A"; C and D have B in them, so it leaves those alone. torchvision's and timm's
    "ResNet-50" are B already. Raises Problem where the model is no ResNet of ours.

    Hurts: not known.

    Cost: more arithmetic: a ResNet-50 grows from 3.8 to 4.1 GFLOPs (the paper's Table 5).
    """
    return with_variant(spec, "B")
