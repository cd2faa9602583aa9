"""LayerScale (Touvron et al. 2021, "Going deeper with image transformers"; in ConvNeXt, Liu et al. 2022)."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.layer_scale")
def layer_scale(spec: Spec, value: float = 1e-6) -> Spec:
    """LayerScale: each block's body ends times a learned number a channel, which starts at 1e-6.

    Slot: `model.layer_scale`, neutral absent. Its numbers at the start are proven, and what the live network is made
    of, and audits by a second writing of its forward. Raises Problem where the model is no ResNet of ours.

    Hurts: in short runs: as with zero γ, blocks start as next to nothing.

    Cost: one product of a feature map a block.
    """
    return with_fields(spec, "layer_scale", layer_scale=value)
