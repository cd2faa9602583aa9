"""Separate downsampling: layers between stages (Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.separate")
def separate_downsampling(spec: Spec) -> Spec:
    """separate downsampling: between stages a norm and a 2 x 2 of stride 2, and a norm after the last pool.

    Slot: `model.separate`, neutral absent. No block strides then, and no shortcut. Its evidence is the model's: what
    the live network is made of, and audits by a second writing of its forward. Raises Problem where the model is no
    ResNet of ours.

    Hurts: without the norms: ConvNeXt's authors saw it diverge.

    Cost: 4.15 to 4.46 GFLOPs in ConvNeXt's Table 10, where it brought .5.
    """
    return with_fields(spec, "separate_downsampling", separate=True)
