"""Layer norm for batch norm (Ba et al. 2016; Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.norm")
def layer_norm(spec: Spec) -> Spec:
    """layer norm: each place is normalised over its channels, in the place of batch norm.

    Slot: `model.norm`, neutral absent; ε is 1e-6, and convolutions have biases, as in ConvNeXt. Zero γ, which is of
    batch norms, is refused with it. Its evidence is the model's: what the live network is made of, and audits by a
    second writing of its forward. Raises Problem where the model is no ResNet of ours.

    Hurts: in an unchanged ResNet (Wu and He 2018); +.06 at its place in ConvNeXt's Table 10.

    Cost: slower than batch norm, most of all in evaluation.
    """
    return with_fields(spec, "layer_norm", norm="layer")
