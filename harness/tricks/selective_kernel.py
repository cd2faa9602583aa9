"""Selective kernels (Li et al. 2019; in the place of SE in Assembled-CNN, Lee et al. 2020)."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.selective")
def selective_kernel(spec: Spec) -> Spec:
    """selective kernels: each channel chooses between a 3 x 3 and one that is dilated, by the means of all.

    Slot: `model.selective`, neutral absent. Paths are not grouped, as in Assembled-CNN; its layer is timm's
    `SelectiveKernel`. Its evidence is the model's: what the live network is made of, and audits by a second writing of
    its forward. Raises Problem where the model is no ResNet of ours.

    Hurts: not known.

    Cost: a second convolution for each 3 x 3: a ResNet-50 grows from 4.1 to 5.9 GFLOPs, and by 12 M weights.
    """
    return with_fields(spec, "selective_kernel", selective=True)
