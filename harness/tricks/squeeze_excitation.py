"""Squeeze-and-excitation (Hu et al. 2018, "Squeeze-and-excitation networks")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.squeeze")
def squeeze_excitation(spec: Spec, ratio: float = 1 / 16) -> Spec:
    """squeeze-and-excitation: each channel of a block is weighed by what two small layers make of the means of all.

    Slot: `model.squeeze`, neutral absent: between the two layers are `ratio` of the channels; ResNet-RS has a quarter.
    The layers stand after the body's last norm, as in timm's `seresnet50`. Its evidence is the model's: what the live
    network is made of, and audits by a second writing of its forward. Raises Problem where the model is no ResNet of
    ours.

    Hurts: not known.

    Cost: 2.5 M weights more in a ResNet-50; a mean and a product of feature maps a block, which is slower than the 0.2
    % of multiply-adds say.
    """
    return with_fields(spec, "squeeze_excitation", squeeze=ratio)
