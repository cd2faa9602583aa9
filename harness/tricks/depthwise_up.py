"""The depthwise convolution moved up: it comes first in a block (Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.spatial_first")
def depthwise_up(spec: Spec) -> Spec:
    """depthwise moved up: a block's 3 x 3 comes first, of as many channels as come in.

    Slot: `model.spatial_first`, neutral absent. It is made so that larger kernels cost little. Its evidence is the
    model's: what the live network is made of, and audits by a second writing of its forward. Raises Problem where the
    model is no ResNet of ours. Plain blocks are refused in the plan.

    Hurts: by itself: -.7 in ConvNeXt's Table 10.

    Cost: 4.64 to 4.07 GFLOPs there.
    """
    return with_fields(spec, "depthwise_up", spatial_first=True)
