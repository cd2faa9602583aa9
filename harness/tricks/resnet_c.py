"""ResNet-C: B, and a stem of three 3 x 3 (He et al. 2019, section 4.1; Szegedy et al. 2016)."""

from harness.parts.models import ResNet
from harness.spec import Spec, declares


@declares("model.variant")
def resnet_c(spec: Spec) -> Spec:
    """ResNet-C: B, and three 3 x 3 convolutions in place of the stem's 7 x 7.

    Slot: `model.variant`, neutral "A"; D has C in it. Networks for small images have no 7 x 7, and refuse it.
    """
    assert isinstance(spec.model, ResNet)
    return spec.but(model=spec.model.but(variant=max(spec.model.variant, "C")))
