"""GELU for ReLU (Hendrycks and Gimpel 2016; Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.activation")
def gelu(spec: Spec) -> Spec:
    """GELU: x Φ(x) in the place of ReLU, wherever one is.

    Slot: `model.activation`, neutral absent. The two of a squeeze-and-excitation stay ReLU and sigmoid. Its evidence is
    the model's: what the live network is made of, and audits by a second writing of its forward. Raises Problem where
    the model is no ResNet of ours.

    Hurts: not known; +.05 in ConvNeXt's Table 10, which is nothing.

    Cost: the activation's own time, and its input is kept for the gradient: some more memory.
    """
    return with_fields(spec, "gelu", activation="gelu")
