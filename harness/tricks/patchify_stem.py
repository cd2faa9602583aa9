"""Patchify stem: images are cut into patches, each a convolution's (Liu et al. 2022, "A ConvNet for the 2020s")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.patchify")
def patchify_stem(spec: Spec, size: int = 4) -> Spec:
    """patchify stem: the stem is one 4 x 4 convolution of stride 4, and a norm.

    Slot: `model.patchify`, neutral absent. No activation follows, as in ConvNeXt. Its evidence is the model's: what the
    live network is made of, and audits by a second writing of its forward. Raises Problem where the model is no ResNet
    of ours.

    Hurts: not known; +.15 ± .2 in ConvNeXt's Table 10.

    Cost: a little less arithmetic: 4.42 GFLOPs for 4.53.
    """
    return with_fields(spec, "patchify_stem", patchify=size)
