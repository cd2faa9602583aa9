"""The augmentation policy of the monkey report, made of imgaug 0.4.0. The only room that imports imgaug, and lazily."""

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field, field_validator

from harness import installed
from harness.evidence import Check, Trace
from harness.parts.augment import OnPixels
from harness.spec import Spec

Group = Literal["geometry", "blur", "edges", "noise", "dropout", "contrast", "distortion"]
GROUPS: tuple[Group, ...] = get_args(Group)
OPERATIONS: dict[Group, tuple[str, ...]] = {  # by imgaug's names
    "geometry": ("Fliplr", "Flipud", "Crop", "Affine"),
    "blur": ("Superpixels", "GaussianBlur", "AverageBlur", "MedianBlur"),
    "edges": ("Sharpen", "Emboss", "EdgeDetect", "DirectedEdgeDetect"),
    "noise": ("AdditiveGaussianNoise",),
    "dropout": ("Dropout", "CoarseDropout"),
    "contrast": ("Add", "Multiply", "LinearContrast"),
    "distortion": ("ElasticTransformation", "PiecewiseAffine"),
}
OUTDATED = "`estimate` is deprecated"  # scikit-image 0.26, of what PiecewiseAffine calls


class ImgAug(OnPixels):
    """imgaug's operations, with the report's numbers (its sections 2.3.3 and 2.4.2, Table 2.1). Slot: `augment`.

    For each image, in a random order: mirrored with probability 0.5 and turned upside down with 0.2, with 0.5 cropped
    by up to 10 % of each side, with 0.5 an affine map, and none to five of twelve further operations, in a random order
    of their own. `groups` are those that are on, all by default:

    - "geometry", all that stands outside of those twelve;
    - "blur": Gaussian, average or median, and superpixels, which like these take detail away;
    - "edges": sharpen, emboss, edges as drawn; "noise": Gaussian; "dropout": of pixels or of rectangles;
    - "contrast": Add, Multiply and LinearContrast, half of the time another for each channel;
    - "distortion": ElasticTransformation and PiecewiseAffine, Table 2.1's "Distort": they move neighbours apart, as no
      flip, crop or affine map does, and they are two of the twelve.

    Without a group it is as in the source with these lines taken out: none to five, at most all, of those left, so that
    each of them comes more often (20.8 % of images with all twelve, 25 % with ten, 83 % alone; half of that where the
    source says "sometimes"). Invert and Grayscale are off, as there: colour tells the species apart. What a reader
    would get wrong:

    - ElasticTransformation's sigma of 0.25 px smooths nothing: each pixel is moved by itself, up to 3.5 px, which
      looks like frosted glass, with black from beyond the border. The values are those of imgaug's own example.
    - The library's Superpixels, on a scikit-image that numbers segments from 1, fills each with the mean of the next.
      Here each has its own, as when the report was written. An affine shear of up to 16 degrees also makes its axis up
      to 4 % longer than it did then.
    - Affine's `mode=ALL` draws one of five ways to fill what comes in. Its `cval=(0, 255)` is of one of them, constant,
      and draws a shade for each channel: the other four repeat or mirror the image.
    - Add, Multiply and LinearContrast by the channel do change colours. Of the first two, of Emboss and of Superpixels
      Table 2.1 has no row.
    - The source builds all anew for each image, with one of 10,001 seeds; here the policy is built once a process and
      seeded once a batch, from the part's own stream, and each image has draws of its own, the order included.

    Images are RGB. An image of 224 px takes about 5 ms, most of it for PiecewiseAffine and Superpixels. Two workers on
    two cores prepare 2.07 times the images of the source's function in one process (`harness.bench --imgaug`, median
    of three, from 1.88 to 2.14).
    """

    groups: tuple[Group, ...] = Field(GROUPS, min_length=1)

    @field_validator("groups")
    @classmethod
    def _in_order(cls, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        return tuple(group for group in GROUPS if group in groups)

    def check(self, spec: Spec) -> None:
        super().check(spec)
        installed("imgaug", extra="imgaug")

    def ready(self) -> None:
        policy(self.groups)

    def on_pixels(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        augmenter = policy(self.groups)
        augmenter.seed_(int(rng.integers(2**63)))
        with undisturbed():  # an image at a time: a batch at once would share the order of the operations
            return np.stack([augmenter.augment_image(image) for image in images])

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """imgaug's own pass over each image, of a policy that is made for it; what is in that is held by `PRINTS`."""
        pixels, seed = np.rint(x).clip(0, 255).astype(np.uint8), int(rng.integers(2**63))
        made = np.empty_like(x)
        with undisturbed() as iaa:
            augmenter = build(iaa, self.groups)
            augmenter.seed_(seed)
            for place, image in enumerate(pixels):
                made[place] = np.moveaxis(augmenter.augment_image(np.ascontiguousarray(np.moveaxis(image, 0, 2))), 2, 0)
        return made

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        for group in self.groups:
            found = printed((group,))
            what = f"print of the numbers and operations of {group}"
            yield Check(what, PRINTS[group], found, found == PRINTS[group])
        wanted = sorted(name for group in self.groups for name in OPERATIONS[group])
        seen = sorted(type(leaf).__name__ for leaf in leaves(policy(self.groups)))
        yield Check("imgaug's operations that are on", ", ".join(wanted), ", ".join(seen), seen == wanted)


PRINTS: dict[Group, str] = {  # of each group as it was published; another here is another policy
    "geometry": "7d0f82de0ebd",
    "blur": "6df0cc04cbf1",
    "edges": "d5e905cee7e0",
    "noise": "ed4b34e943cf",
    "dropout": "01711111725d",
    "contrast": "44bebe648030",
    "distortion": "9c76a0685fbc",
}


def printed(groups: tuple[Group, ...]) -> str:
    """A digest of a policy as imgaug tells it: every operation with its parameters, in order, but for names."""
    with undisturbed() as iaa:
        told = re.sub(r"name=\w+|0x[0-9a-f]+", "", str(build(iaa, groups)))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@lru_cache
def policy(groups: tuple[Group, ...]) -> Any:
    """imgaug's augmenter, built once a process. Whoever uses it seeds it."""
    with undisturbed() as iaa:
        return build(iaa, groups)


def build(iaa: Any, groups: tuple[Group, ...]) -> Any:
    """With each number as it was published."""

    def sometimes(augmenter: Any) -> Any:
        return iaa.Sometimes(0.5, [augmenter])  # in a list: a bare OneOf in it `seed_` would pass over

    geometry = [
        iaa.Fliplr(0.5),
        iaa.Flipud(0.2),
        sometimes(iaa.Crop(percent=(0, 0.1))),
        sometimes(
            iaa.Affine(
                scale={"x": (0.8, 1.2), "y": (0.8, 1.2)},
                translate_percent={"x": (-0.2, 0.2), "y": (-0.2, 0.2)},
                rotate=(-45, 45),
                shear=(-16, 16),
                order=[0, 1],
                cval=(0, 255),
                mode="ALL",
            )
        ),
    ]
    twelve = {
        "blur": [
            sometimes(_superpixels(iaa)(p_replace=(0, 1.0), n_segments=(20, 200))),
            iaa.OneOf([iaa.GaussianBlur((0, 3.0)), iaa.AverageBlur(k=(2, 7)), iaa.MedianBlur(k=(3, 11))]),
        ],
        "edges": [
            iaa.Sharpen(alpha=(0, 1.0), lightness=(0.75, 1.5)),
            iaa.Emboss(alpha=(0, 1.0), strength=(0, 2.0)),
            sometimes(
                iaa.OneOf(
                    [iaa.EdgeDetect(alpha=(0, 0.7)), iaa.DirectedEdgeDetect(alpha=(0, 0.7), direction=(0.0, 1.0))]
                )
            ),
        ],
        "noise": [iaa.AdditiveGaussianNoise(loc=0, scale=(0.0, 0.05 * 255), per_channel=0.5)],
        "dropout": [
            iaa.OneOf(
                [
                    iaa.Dropout((0.01, 0.1), per_channel=0.5),
                    iaa.CoarseDropout((0.03, 0.15), size_percent=(0.02, 0.05), per_channel=0.2),
                ]
            )
        ],
        "contrast": [
            iaa.Add((-10, 10), per_channel=0.5),
            iaa.Multiply((0.5, 1.5), per_channel=0.5),
            iaa.LinearContrast((0.5, 2.0), per_channel=0.5),
        ],
        "distortion": [
            sometimes(iaa.ElasticTransformation(alpha=(0.5, 3.5), sigma=0.25)),
            sometimes(_piecewise_affine(iaa)(scale=(0.01, 0.05))),
        ],
    }
    children = geometry if "geometry" in groups else []
    further = [child for group, some in twelve.items() if group in groups for child in some]
    if further:
        children.append(iaa.SomeOf((0, 5), further, random_order=True))
    return iaa.Sequential(children, random_order=True)


def _superpixels(iaa: Any) -> Any:
    """imgaug's, whose segments are numbered from 0, as scikit-image once did: from 1 each would get the next's mean."""

    class Superpixels(iaa.Superpixels):  # type: ignore[misc]
        @classmethod
        def _replace_segments(cls, image: np.ndarray, segments: np.ndarray, draws: np.ndarray) -> np.ndarray:
            """By counting: 12 ms an image of 224 px, for 19 by regions."""
            own = (segments - segments.min()).ravel()
            counts = np.bincount(own)
            chosen = (np.resize(draws, len(counts)) > 0.5)[own]  # there may be more segments than draws
            flat = image.reshape(-1, image.shape[2])
            sums = np.stack([np.bincount(own, channel) for channel in flat.T], 1)
            means = np.round(sums / counts[:, None]).astype(image.dtype)
            return np.where(chosen[:, None], means[own], flat).reshape(image.shape)

    return Superpixels


def _piecewise_affine(iaa: Any) -> Any:
    """imgaug's, with each channel warped by itself: the same pixels in 12 ms an image of 224 px, for 16 in 3-D."""
    transform: Any = import_module("skimage.transform")
    restored = import_module("imgaug.dtypes").restore_dtypes_

    class PiecewiseAffine(iaa.PiecewiseAffine):  # type: ignore[misc]
        def _augment_images_by_samples(self, images: Any, samples: Any) -> Any:
            for i, image in enumerate(images):
                grid = samples.nb_rows[i], samples.nb_cols[i], samples.jitter[i]
                moved = self._get_transformer(image.shape, image.shape, *grid)
                if moved is not None:  # the jitter is more than nothing
                    where = transform.warp_coords(moved, image.shape[:2])
                    how = {"order": samples.order[i], "mode": samples.mode[i], "preserve_range": True}
                    how["cval"] = samples.get_clipped_cval(i, image.dtype)
                    channels = [transform.warp(channel, where, **how) for channel in np.moveaxis(image, 2, 0)]
                    images[i] = restored(np.stack(channels, 2), image.dtype)
            return images

    return PiecewiseAffine


def leaves(augmenter: Any) -> Iterator[Any]:
    """The operations of an augmenter: what has no children."""
    below = [child for children in augmenter.get_children_lists() for child in children]
    for child in below:
        yield from leaves(child)
    if not below:
        yield augmenter


@contextmanager
def undisturbed() -> Iterator[Any]:
    """imgaug's augmenters, for use on one thread that leaves the random numbers of others as they were."""
    iaa = _imgaug()
    random: Any = import_module("imgaug.random")
    shared, random.GLOBAL_RNG = random.GLOBAL_RNG, random.RNG(0)  # else made of numpy's global state, and moved on
    try:
        with warnings.catch_warnings(), _blas().limit(limits=1):
            warnings.filterwarnings("ignore", OUTDATED, FutureWarning)
            yield iaa
    finally:
        random.GLOBAL_RNG = shared


@lru_cache
def _blas() -> Any:
    """numpy's and scipy's linear algebra, whose threads wait for each other by spinning: on a busy machine with two,
    PiecewiseAffine takes 60 ms of CPU for 25."""
    return import_module("threadpoolctl").ThreadpoolController().select(user_api="blas")


@lru_cache
def _imgaug() -> Any:
    """imgaug.augmenters, imported with `np.sctypes`, which numpy 2 has not and imgaug reads while it is imported."""
    installed("imgaug", extra="imgaug")
    lacks = not hasattr(np, "sctypes")
    if lacks:
        np.sctypes = {  # type: ignore[attr-defined]
            "int": [np.int8, np.int16, np.int32, np.int64],
            "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
            "float": [np.float16, np.float32, np.float64, np.longdouble],
        }
    try:
        iaa = import_module("imgaug.augmenters")
    finally:
        if lacks:
            del np.sctypes  # type: ignore[attr-defined]
    import_module("cv2").setNumThreads(1)  # threads that it had would not survive the fork of a decoding process
    return iaa
