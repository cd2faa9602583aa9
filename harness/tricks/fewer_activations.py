"""Fewer activations: one in each block (Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.fewer_activations")
def fewer_activations(spec: Spec) -> Spec:
    """fewer activations: of a block's activations only that before its last convolution stays.

    Slot: `model.fewer_activations`, neutral absent. None follows the sum with the shortcut, either. Its evidence is the
    model's: what the live network is made of, and audits by a second writing of its forward. Raises Problem where the
    model is no ResNet of ours.

    Hurts: not known; +.65 ± .2 in ConvNeXt's Table 10.

    Cost: none.
    """
    return with_fields(spec, "fewer_activations", fewer_activations=True)
