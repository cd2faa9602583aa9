"""Fewer norms: one in each block (Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.fewer_norms")
def fewer_norms(spec: Spec) -> Spec:
    """fewer norms: of a block's norms only that after its 3 x 3 stays.

    Slot: `model.fewer_norms`, neutral absent. Convolutions without one have a bias. Zero γ, which is of the norm that
    ends a block, is refused with it. Its evidence is the model's: what the live network is made of, and audits by a
    second writing of its forward. Raises Problem where the model is no ResNet of ours.

    Hurts: at high rates: nothing bounds what a block adds. +.14 in ConvNeXt's Table 10.

    Cost: none.
    """
    return with_fields(spec, "fewer_norms", fewer_norms=True)
