"""ResNet-D: no path through a downsampling block ignores three quarters of its input (He et al. 2019, section 4.2)."""

from harness.parts.models import with_variant
from harness.spec import Spec, declares


@declares("model.variant")
def resnet_d(spec: Spec) -> Spec:
    """ResNet-D: stride in the 3 x 3, a deep stem, and a 2 x 2 average before the shortcut's 1 x 1.

    Slot: `model.variant`, neutral "A". Its evidence is the built network's strides and pools, which every ResNet
    proves; see `harness.parts.models.ResNet` for what small stems leave out. Raises Problem where the model is no
    ResNet of ours.

    Hurts: not known.

    Cost: more arithmetic: a ResNet-50 grows from 3.8 to 4.3 GFLOPs (the paper's Table 5).
    """
    return with_variant(spec, "D")
