"""A larger kernel in each block (Liu et al. 2022, "A ConvNet for the 2020s")."""

from typing import Literal

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.kernel")
def large_kernel(spec: Spec, size: Literal[5, 7, 9, 11] = 7) -> Spec:
    """large kernel: 7 x 7 for the 3 x 3 of blocks.

    Slot: `model.kernel`, neutral absent. Its evidence is the model's: what the live network is made of, and audits by a
    second writing of its forward. Raises Problem where the model is no ResNet of ours.

    Hurts: beyond 7: 80.57, 80.57 and 80.47 at 7, 9 and 11 in ConvNeXt's Table 10.

    Cost: with depthwise convolutions 4.07 to 4.15 GFLOPs; without, 5.4 times the weights of the 3 x 3.
    """
    return with_fields(spec, "large_kernel", kernel=size)
