"""Depthwise convolution: the 3 x 3 takes each channel for itself (Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.depthwise")
def depthwise_conv(spec: Spec) -> Spec:
    """depthwise conv: a block's 3 x 3 takes each channel for itself.

    Slot: `model.depthwise`, neutral absent. Its evidence is the model's: what the live network is made of, and audits
    by a second writing of its forward. Raises Problem where the model is no ResNet of ours. Plain blocks are refused in
    the plan.

    Hurts: at the same width: -1.2 in ConvNeXt's Table 10, which the next rung, width 96 for 64, makes up for.

    Cost: about half the arithmetic: 2.35 GFLOPs for 4.42. On GPUs less is gained than that.
    """
    return with_fields(spec, "depthwise_conv", depthwise=True)
