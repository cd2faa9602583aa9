"""BlurPool: anti-aliased strides (Zhang 2019, "Making convolutional networks shift-invariant again")."""

from typing import Literal

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.blur")
def blur_pool(spec: Spec, size: Literal[3, 5, 7] = 3) -> Spec:
    """BlurPool: before every second pixel is taken, a binomial filter takes away what it would alias.

    Slot: `model.blur`, neutral absent. A convolution of a body that would stride goes in steps of 1, and after its
    activation the filter takes every second place; so it is after the stem's max-pool. Strided shortcuts and the stem's
    convolution stay, as in timm's `resnetblur50`. Its evidence is the model's: what the live network is made of, and
    audits by a second writing of its forward. Raises Problem where the model is no ResNet of ours, and a plan is
    refused where nothing strides.

    Hurts: not known.

    Cost: strided convolutions have four times the places: a ResNet-50-B grows from 4.1 to 5.1 GFLOPs.
    """
    return with_fields(spec, "blur_pool", blur=size)
