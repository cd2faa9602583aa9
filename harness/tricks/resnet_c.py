"""ResNet-C: B, and a stem of three 3 x 3 (He et al. 2019, section 4.1; Szegedy et al. 2016)."""

from harness.parts.models import with_variant
from harness.spec import Spec, declares


@declares("model.variant")
def resnet_c(spec: Spec) -> Spec:
    """ResNet-C: B, and three 3 x 3 convolutions in place of the stem's 7 x 7.

    Slot: `model.variant`, neutral "A"; D has C in it. Networks for small images have no 7 x 7, and refuse it. Raises
    Problem where the model is no ResNet of ours.

    Hurts: not known.

    Cost: more arithmetic in the stem: a ResNet-50 grows from 4.1 to 4.3 GFLOPs (the paper's Table 5).
    """
    return with_variant(spec, "C")
