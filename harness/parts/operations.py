"""Augmentation by operations that are drawn: torchvision's, of Pillow's images; and the same again in numpy.

Pillow's are the same on every machine to the last bit, for they round alike. Small images in memory go through
`batched` instead, which makes the same pixels of a whole batch.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from harness.parts.augment import OnPixels
from harness.parts.batched import Op, carried_out
from harness.spec import Spec, keeps_up

MANY, SMALL = 32, 48  # images of a batch, and px: of fewer and of larger ones Pillow is as fast, or faster
SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness")
PLAIN = ("Identity", "AutoContrast", "Equalize", "Invert")  # without a magnitude


class Operations(OnPixels):
    """Each image goes through operations that are drawn for it, each at one of `bins` magnitudes. Slot: `augment`.

    Pixels are rounded to uint8 first; what comes in at the border is black. Of photos it is done where they are
    decoded, after the crop and before the other parts; of batches of small images in memory by the CPU, a batch at
    once. RGB and grey. Data with boxes or masks refuse it.
    """

    bins: int = Field(31, ge=2)

    def check(self, spec: Spec) -> None:
        """Grey images will do too."""

    def ready(self) -> None:
        import torchvision.transforms.v2.functional  # noqa: F401  # before the processes are forked

    @abstractmethod
    def drawn(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        """The operations of one image of that size, in order."""

    @abstractmethod
    def again(self, height: int, width: int, rng: np.random.Generator) -> list[Op]:
        """`drawn`, written a second time, for the references."""

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        few = len(x) < MANY or max(x.shape[2:]) > SMALL
        of_pixels, of_batches = keeps_up(self, "on_pixels", "together"), keeps_up(self, "together", "on_pixels")
        if of_pixels and (few or not of_batches):  # a class below has what it does in one of the two alone
            return super().__call__(x, rng)
        pixels = x.round().clamp(0, 255).byte().cpu().int()  # `harness.bench --gpu` times both, and was never run
        return self.together(pixels, rng).byte().to(x.device).to(x.dtype)

    def together(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """`on_pixels`, of a batch on a device: int32 N x C x H x W, 0 to 255, to the same. Of photos nobody asks it."""
        return carried_out(x, [self.drawn(x.shape[2], x.shape[3], rng) for _ in x])

    def on_pixels(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        made = np.empty_like(images)
        for place, image in enumerate(images):
            photo = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
            for name, magnitude in self.drawn(image.shape[0], image.shape[1], rng):
                photo = done(photo, name, magnitude)
            made[place] = np.asarray(photo).reshape(image.shape)
        return made

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """By numpy alone: Pillow's whole numbers, its float32 where it blends, and its fixed point where it moves."""
        made = np.empty_like(x)
        for place, image in enumerate(np.clip(np.rint(x), 0, 255).astype(np.int64)):
            for name, magnitude in self.again(image.shape[1], image.shape[2], rng):
                image = AGAIN[name](image, magnitude)
            made[place] = image
        return made


@lru_cache
def steps(first: float, last: float, bins: int) -> tuple[float, ...]:
    """`bins` magnitudes, evenly, as torch's float32 has them."""
    return tuple(torch.linspace(first, last, bins).tolist())


def done(photo: Image.Image, name: str, magnitude: float) -> Image.Image:
    """An operation of torchvision's, as its AutoAugment calls it."""
    import torchvision.transforms.v2.functional as F

    if name in ("ShearX", "ShearY"):
        shear = [0.0, 0.0]
        shear[name == "ShearY"] = math.degrees(math.atan(magnitude))
        made = F.affine(photo, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, center=[0, 0])
    elif name in ("TranslateX", "TranslateY"):
        by = [0, 0]
        by[name == "TranslateY"] = int(magnitude)
        made = F.affine(photo, angle=0.0, translate=by, scale=1.0, shear=[0.0, 0.0])
    else:
        calls: Mapping[str, Callable[[], Any]] = {
            "Identity": lambda: photo,
            "Rotate": lambda: F.rotate(photo, angle=magnitude),
            "Brightness": lambda: F.adjust_brightness(photo, 1 + magnitude),
            "Color": lambda: F.adjust_saturation(photo, 1 + magnitude),
            "Contrast": lambda: F.adjust_contrast(photo, 1 + magnitude),
            "Sharpness": lambda: F.adjust_sharpness(photo, 1 + magnitude),
            "Posterize": lambda: F.posterize(photo, int(magnitude)) if magnitude >= 1 else black(photo),
            "Solarize": lambda: F.solarize(photo, 255.0 * magnitude),
            "AutoContrast": lambda: F.autocontrast(photo),
            "Equalize": lambda: F.equalize(photo),
            "Invert": lambda: F.invert(photo),
        }
        made = calls[name]()
    image: Image.Image = made
    return image


def black(photo: Image.Image) -> Image.Image:
    """Of no bits, which Pillow refuses."""
    return Image.new(photo.mode, photo.size)


# --- the same again: whole numbers C x H x W, 0 to 255 ----------------------------------------------------------------


def evenly(first: float, last: float, bins: int, place: int) -> float:
    """`steps`, one of them. In torch's float32 too: another rounding would be another pixel."""
    return torch.linspace(first, last, bins)[place].item()


def moved(image: np.ndarray, across: tuple[float, float, float], down: tuple[float, float, float]) -> np.ndarray:
    """The pixel at (across, down) · (x, y, 1), black where there is none; in 1/65,536 px, from the pixel's centre."""
    height, width = image.shape[1:]
    y, x = np.mgrid[:height, :width]

    def at(a: float, b: float, c: float) -> np.ndarray:
        fixed = [math.floor(v * 65536 + 0.5) for v in (a, b, c + a * 0.5 + b * 0.5)]
        place: np.ndarray = (fixed[0] * x + fixed[1] * y + fixed[2]) >> 16
        return place

    column, row = at(*across), at(*down)
    there = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    found = image[:, row.clip(0, height - 1), column.clip(0, width - 1)]
    made: np.ndarray = np.where(there, found, 0)
    return made


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise about the middle."""
    height, width = image.shape[1:]
    angle = -math.radians(degrees % 360)
    c, s = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return moved(image, (c, s, c * -x + s * -y + x), (-s, c, -s * -x + c * -y + y))


def blended(other: np.ndarray | int, image: np.ndarray, factor: float) -> np.ndarray:
    """other + factor · (image - other) in float32, cut off to whole numbers."""
    by = np.float32(factor)
    value = np.float32(other) + by * (image - other).astype(np.float32)
    made: np.ndarray = np.clip(value, 0, 255).astype(np.int64)
    return made


def grey(image: np.ndarray) -> np.ndarray:
    """ITU-R 601-2 luma in 1/65,536."""
    if len(image) == 1:
        return image
    red, green, blue = image
    luma: np.ndarray = (19595 * red + 38470 * green + 7471 * blue + 32768)[None] >> 16
    return luma


def smoothed(image: np.ndarray) -> np.ndarray:
    """A pixel by 5 and its eight neighbours by 1, of 13; the border as it was."""
    made = image.copy()
    height, width = image.shape[1:]
    if min(height, width) > 2:
        around = sum(image[:, i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3))
        made[:, 1:-1, 1:-1] = (2 * (around + 4 * image[:, 1:-1, 1:-1]) + 13) // 26
    return made


def stretched(image: np.ndarray, _: float) -> np.ndarray:
    """Each channel from 0 to 255."""
    made = image.copy()
    for channel in made:
        low, high = int(channel.min()), int(channel.max())
        if high > low:
            scale = 255.0 / (high - low)
            channel[:] = np.clip((channel * scale + -low * scale).astype(np.int64), 0, 255)
    return made


def equalised(image: np.ndarray, _: float) -> np.ndarray:
    """Each channel by its own cumulative histogram."""
    made = image.copy()
    for channel in made:
        counts = np.bincount(channel.ravel(), minlength=256)
        step = (counts.sum() - counts[channel.max()]) // 255
        if step:
            before = np.cumsum(counts) - counts
            channel[:] = np.clip((step // 2 + before) // step, 0, 255)[channel]
    return made


AGAIN: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "Identity": lambda image, m: image,
    "ShearX": lambda image, m: moved(image, (1, m, 0), (0, 1, 0)),
    "ShearY": lambda image, m: moved(image, (1, 0, 0), (m, 1, 0)),
    "TranslateX": lambda image, m: moved(image, (1, 0, -int(m)), (0, 1, 0)),
    "TranslateY": lambda image, m: moved(image, (1, 0, 0), (0, 1, -int(m))),
    "Rotate": turned,
    "Brightness": lambda image, m: blended(0, image, 1 + m),
    "Color": lambda image, m: blended(grey(image), image, 1 + m),
    "Contrast": lambda image, m: blended(int(grey(image).mean() + 0.5), image, 1 + m),
    "Sharpness": lambda image, m: blended(smoothed(image), image, 1 + m),
    "Posterize": lambda image, m: image >> (8 - int(m)) << (8 - int(m)),
    "Solarize": lambda image, m: np.where(image < 255.0 * m, image, 255 - image),
    "AutoContrast": stretched,
    "Equalize": equalised,
    "Invert": lambda image, m: 255 - image,
}
