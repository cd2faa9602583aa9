"""Inverted bottleneck: a block is wide inside and narrow at its ends (Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.inverted")
def inverted_bottleneck(spec: Spec) -> Spec:
    """inverted bottleneck: inside a block are four times the channels that it takes and gives.

    Slot: `model.inverted`, neutral absent. Stage 1 gives `model.width` channels, where a bottleneck gives four times
    that. Its evidence is the model's: what the live network is made of, and audits by a second writing of its forward.
    Raises Problem where the model is no ResNet of ours. Plain blocks are refused in the plan.

    Hurts: not known; +.1 in ConvNeXt's Table 10. Without a depthwise 3 x 3 the middle has sixteen times the weights.

    Cost: 5.27 to 4.64 GFLOPs there, by narrower shortcuts.
    """
    return with_fields(spec, "inverted_bottleneck", inverted=True)
