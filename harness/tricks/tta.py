"""Test-time augmentation: mirrored and shifted views (Krizhevsky et al. 2012; Jordan 2024, "94% on CIFAR-10…")."""

from harness.parts.views import Views
from harness.spec import Spec, declares


@declares("evaluation")
def tta(spec: Spec, mirror: bool = True, shift: int = 0) -> Spec:
    """TTA: the mean answer to an image and its mirror image.

    With shift=1 it is airbench's of six views: to both moved by a pixel to either side as well, which count half.

    Hurts: images whose class a mirror changes, such as digits; and it is no better network: what is bought is a test.

    Cost: two forward passes a test image, or six; training is as it was.
    """
    of = spec.evaluation.of if isinstance(spec.evaluation, Views) else spec.evaluation
    return spec.but(evaluation=Views(mirror=mirror, shift=shift, of=of))
