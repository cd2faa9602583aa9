"""The monkey report's augmentation by imgaug 0.4.0 (Jung et al. 2020), whole, and a group of its operations at a time.

Hurts: networks too small, or runs too short, to fit images that are changed so much.

Cost: CPU time for each image; `python -m harness.bench --imgaug` measures it.
"""

from harness.parts.imgaug_policy import GROUPS, Group, ImgAug
from harness.spec import Spec, declares


def _with(spec: Spec, *more: Group) -> Spec:
    held = [group for part in spec.augment if isinstance(part, ImgAug) for group in part.groups]
    return spec.having("augment", ImgAug(groups=(*held, *more)))


@declares("augment")
def imgaug_policy(spec: Spec) -> Spec:
    """imgaug: the report's whole policy, as its code has it; see `harness.parts.imgaug_policy.ImgAug`.

    The seven tricks below, in any order, add up to it.
    """
    return _with(spec, *GROUPS)


@declares("augment")
def imgaug_geometry(spec: Spec) -> Spec:
    """flip, crop, affine: mirrored, upside down, up to 10 % off each side, scaled, moved, turned and sheared."""
    return _with(spec, "geometry")


@declares("augment")
def imgaug_blur(spec: Spec) -> Spec:
    """blur: Gaussian, average or median; or superpixels, each filled with its mean."""
    return _with(spec, "blur")


@declares("augment")
def imgaug_edges(spec: Spec) -> Spec:
    """sharpen, emboss, edges: each blended into the image by a share that is drawn."""
    return _with(spec, "edges")


@declares("augment")
def imgaug_noise(spec: Spec) -> Spec:
    """Gaussian noise: added, with an s.d. of up to 5 % of white."""
    return _with(spec, "noise")


@declares("augment")
def imgaug_dropout(spec: Spec) -> Spec:
    """dropout of pixels: 1 to 10 % of them, or 3 to 15 % in rectangles, made black."""
    return _with(spec, "dropout")


@declares("augment")
def imgaug_contrast(spec: Spec) -> Spec:
    """brightness, contrast: Add, Multiply and LinearContrast, half of the time by the channel."""
    return _with(spec, "contrast")


@declares("augment")
def imgaug_distortion(spec: Spec) -> Spec:
    """distortion: ElasticTransformation and PiecewiseAffine."""
    return _with(spec, "distortion")


IMGAUG_GROUPS = (
    imgaug_geometry,
    imgaug_blur,
    imgaug_edges,
    imgaug_noise,
    imgaug_dropout,
    imgaug_contrast,
    imgaug_distortion,
)
