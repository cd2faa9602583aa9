"""Augmentation: of batches of float images N x C x H x W in [0, 255], each image by its own draw."""

import math
from abc import abstractmethod
from collections.abc import Callable
from fractions import Fraction
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from harness import Problem
from harness.parts.draws import drawn
from harness.spec import Augment, Draws, Flag, Spec, keeps_up


def _needs_rgb(part: Augment, spec: Spec) -> None:
    if spec.data.channels != 3:
        raise ValueError(
            f"{type(part).__name__} needs RGB images; {type(spec.data).__name__} has {spec.data.channels} channel"
        )


def in_pieces(function: Callable[..., Tensor], x: Tensor, draws: Tensor) -> Tensor:
    """`function(x, draws)`, as `x` is, on a CPU a few images at a time: what it makes then stays in the core's cache.

    A batch of 64 photos is 38 MB, which to allocate, fill and give back takes longer than most of the arithmetic.
    """
    if x.is_cuda:
        return function(x, draws)
    n, made = max(1, 2**16 // (x.shape[2] * x.shape[3])), torch.empty_like(x)
    for there, *piece in zip(made.split(n), x.split(n), draws.split(n), strict=True):
        there.copy_(function(*piece))
    return made


class Shift(Augment):
    """Move each image by up to `pixels` each way, black coming in: the usual "pad and crop" of small images."""

    pixels: int = Field(1, ge=1)

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        return (rng.integers(0, 2 * self.pixels + 1, size=(2, n, 1)),)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        ((dy, dx),), (n, _, h, w) = drawn(self, x, rng), x.shape
        padded = nn.functional.pad(x, [self.pixels] * 4)
        rows, columns = (d + torch.arange(side, device=x.device) for d, side in ((dy, h), (dx, w)))
        image = torch.arange(n, device=x.device)[:, None, None]
        moved = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2)

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each image by itself, cut out of a black frame."""
        p, (n, _, h, w) = self.pixels, x.shape
        down, right = rng.integers(0, 2 * p + 1, size=(2, n, 1))
        framed = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        moved = [framed[i, :, down[i, 0] : down[i, 0] + h, right[i, 0] : right[i, 0] + w] for i in range(n)]
        return np.stack(moved)


class Flip(Augment):
    """Mirror left and right with probability ½, boxes and masks as well."""

    def pair(self, x: Tensor, y: Tensor, sizes: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Each image within its own width: what pads it stays on the right."""
        for i in np.flatnonzero(rng.random(len(x)) < 0.5).tolist():
            width = int(sizes[i, 1])
            x[i, :, :, :width] = x[i, :, :, :width].flip(2)
            if y.is_floating_point():
                there = y[i, :, 0] > 0  # else a row that pads would become a box
                y[i, :, 1:4:2] = torch.where(there[:, None], width - y[i, :, 1:4:2].flip(1), y[i, :, 1:4:2])
            else:
                y[i, :, :width] = y[i, :, :width].flip(1)
        return x, y

    def reference_pair(
        self, x: np.ndarray, y: np.ndarray, sizes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """An image at a time; of a box the left edge becomes the right one, as far from the other side."""
        images, truths = x.copy(), y.copy()
        for image, truth, (_, width), coin in zip(images, truths, sizes, rng.random(len(x)), strict=True):
            if coin >= 0.5:
                continue
            image[..., :width] = image[..., :width][..., ::-1].copy()
            if np.issubdtype(y.dtype, np.integer):
                truth[:, :width] = np.fliplr(truth[:, :width])
                continue
            for box in truth:
                if box[0]:
                    box[1], box[3] = width - box[3], width - box[1]
        return images, truths

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.stack(
            [image[..., ::-1] if coin < 0.5 else image for image, coin in zip(x, rng.random(len(x)), strict=True)]
        )

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        return (rng.random(n) < 0.5,)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        (flip,) = drawn(self, x, rng)
        return in_pieces(mirrored, x, flip[:, None, None, None])


def mirrored(x: Tensor, flip: Tensor) -> Tensor:
    """Those images of N x C x H x W of which `flip`, N x 1 x 1 x 1, says so."""
    if len(x) == 1 and x.device.type == "cpu":  # a photo, which is looked at by itself: half of them stay as they are
        return x.flip(3) if flip else x
    return torch.where(flip, x.flip(3), x)


class Crop(Augment):
    """A part of each image, brought to the image's size. Photos are cut by `box` while they are decoded.

    Images in memory are resized one by one; with `together` a batch at once, by products of matrices, so that a GPU
    need not start several kernels for each image. The last digits may be others, so it is a field.
    """

    together: Flag | None = None

    def check(self, spec: Spec) -> None:
        kind = type(self).__name__
        if self.together and not spec.data.load().in_memory:
            raise ValueError(f"{kind}(together=True) is for images in memory, and these are cut where they are decoded")
        if self.together and not keeps_up(self, "draws", "__call__"):
            raise ValueError(f"{kind}(together=True): its own `__call__` has no `draws` beside it, which this asks for")

    @abstractmethod
    def box(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """(top, left, height, width) in pixels of one cut from an image of that height and width."""

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws | None:
        if not self.together:
            return None
        cuts = [self.box(height, width, rng) for _ in range(n)]
        if not all(0 <= t < t + h <= height and 0 <= l < l + w <= width for t, l, h, w in cuts):
            raise Problem(f"{type(self).__name__}.box: a cut is not within its image of {height} x {width} px")
        return (np.array(cuts, dtype=np.float32),)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        height, width = x.shape[2:]
        if self.together:
            cuts: Tensor
            (cuts,) = drawn(self, x, rng)
            top, left, tall, wide = cuts.T
            return bilinear(top, tall, height) @ x @ bilinear(left, wide, width).mT
        boxes = [self.box(height, width, rng) for _ in x]
        return torch.cat(
            [
                nn.functional.interpolate(
                    image[None, :, t : t + h, l : l + w],
                    size=(height, width),
                    mode="bilinear",
                    align_corners=False,
                    antialias=True,
                )
                for image, (t, l, h, w) in zip(x, boxes, strict=True)
            ]
        )


def bilinear(first: Tensor, count: Tensor, side: int) -> Tensor:
    """What each of `side` pixels is made of, where `count` of them, from the `first` on, are brought to that number.

    Of N images the weights N x 1 x side x side, a row a new pixel. A cut is never larger than its image, so pixels are
    only made more: each by the two that are nearest, cut off at the edges.
    """
    first, count = first[:, None, None, None], count[:, None, None, None]
    middle = torch.arange(side, device=first.device) + 0.5
    away = (middle - first - middle[:, None] * count / side).abs()
    weights = (1 - away).clamp(min=0) * ((middle > first) & (middle < first + count))
    return weights / weights.sum(3, keepdim=True)


class Cut(NamedTuple):
    """What is taken of an image that is resized first; in px."""

    tall: int  # of the whole, resized
    wide: int
    top: int  # of what is taken
    left: int
    height: int
    width: int


class ScaledCrop(Augment):
    """A cut of `size` x `size` px out of an image whose short side is U[scale] times that of the data's `short`.

    For images with masks alone. They are cut while they are decoded, before the other parts, wherever it stands among
    them. An image that is smaller is padded right and below, with the mean colour; the padding is not labelled. After
    gluon-cv's `segbase` (December 2018), where base 520 and scale 0.5 to 2 make 260 to 1040 px, and padding is black.
    """

    size: int = Field(480, ge=16)
    scale: tuple[float, float] = (0.5, 2.0)

    def check(self, spec: Spec) -> None:
        if spec.data.truth != "mask":
            raise ValueError(f"ScaledCrop cuts images with masks, and {type(spec.data).__name__} has none")
        if sum(isinstance(part, ScaledCrop) for part in spec.augment) > 1:
            raise ValueError("ScaledCrop is there twice: images are cut once, while they are decoded")

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        raise Problem("ScaledCrop cuts images while they are decoded: it cannot be called on a batch")

    def cut(self, height: int, width: int, short: int, rng: np.random.Generator) -> Cut:
        """Of an image of that height and width."""
        least, side = min(height, width), max(1, round(short * rng.uniform(*self.scale)))
        tall, wide = ((2 * side * edge + least) // (2 * least) for edge in (height, width))
        top, left = (int(rng.integers(0, max(0, edge - self.size) + 1)) for edge in (tall, wide))
        return Cut(tall, wide, top, left, min(self.size, tall), min(self.size, wide))

    def reference(self, height: int, width: int, short: int, rng: np.random.Generator) -> tuple[int, ...]:
        """`cut`, said again for the references: scaled in whole fractions, halves up, and then placed by chance."""
        low, high = self.scale
        side = max(1, round(rng.uniform(low, high) * short))
        by = Fraction(side, min(height, width))
        rows, columns = math.floor(height * by + Fraction(1, 2)), math.floor(width * by + Fraction(1, 2))
        down = int(rng.integers(0, 1 + rows - self.size)) if rows > self.size else int(rng.integers(0, 1))
        right = int(rng.integers(0, 1 + columns - self.size)) if columns > self.size else int(rng.integers(0, 1))
        return rows, columns, down, right, min(rows, self.size), min(columns, self.size)


class OnPixels(Augment):
    """Works on pixels as they are stored, uint8 RGB. Of photos it is done where they are decoded, after the crop."""

    def ready(self) -> None:
        """Load what it needs, before the decoding processes are forked."""

    @abstractmethod
    def on_pixels(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 images N x H x W x 3 to the same, each by its own draw."""

    def check(self, spec: Spec) -> None:
        _needs_rgb(self, spec)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        pixels = x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(self.on_pixels(pixels, rng)).permute(0, 3, 1, 2).to(x.device, x.dtype).contiguous()


class RandomAreaCrop(Crop):
    """Area 8 to 100 % of the image, aspect ratio 3/4 to 4/3, log-uniform (He et al. 2019, section 2.1, step 2).

    After ten cuts that do not fit, the largest centred one of an allowed ratio.
    """

    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def box(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        for _ in range(10):
            area = height * width * rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Pillow's resizing, of each image and channel."""
        height, width = x.shape[2:]
        made = np.empty_like(x)
        for i, image in enumerate(x):
            top, left, h, w = self.window(height, width, rng)
            cut = (left, top, left + w, top + h)
            for c, channel in enumerate(image):
                whole = Image.fromarray(channel.astype(np.float32))
                cropped = whole.crop(cut)
                made[i, c] = np.asarray(cropped.resize((width, height), Image.Resampling.BILINEAR))
        return made

    def window(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """`box`, said again for the references: the first of ten draws of area and shape that fits (section 2.1)."""
        (least, most), (narrow, wide) = self.area, self.ratio
        for _ in range(10):
            pixels = rng.uniform(least, most) * width * height
            shape = np.exp(rng.uniform(np.log(narrow), np.log(wide)))  # width by height
            across, down = round(float(np.sqrt(pixels * shape))), round(float(np.sqrt(pixels / shape)))
            if min(across, down) > 0 and across <= width and down <= height:
                top = int(rng.integers(0, height - down + 1))
                return top, int(rng.integers(0, width - across + 1)), down, across
        shape = np.clip(width / height, narrow, wide)
        across, down = min(width, round(height * shape)), min(height, round(width / shape))
        return (height - down) // 2, (width - across) // 2, down, across


class ColorJitter(Augment):
    """Scale hue, saturation and brightness, as H, S and V, by coefficients uniform in [0.6, 1.4] (section 2.1, step 4).

    Hue wraps around; saturation and brightness stop at full. RGB only.
    """

    moves: ClassVar[bool] = False
    low: float = Field(0.6, ge=0)
    high: float = 1.4

    def check(self, spec: Spec) -> None:
        _needs_rgb(self, spec)

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        return (rng.uniform(self.low, self.high, size=(3, n, 1, 1)).astype(np.float32),)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        (by,) = drawn(self, x, rng)
        return in_pieces(_jittered, x, by.transpose(0, 1))

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """By matplotlib's HSV."""
        from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

        by = rng.uniform(self.low, self.high, size=(3, len(x), 1, 1))
        hsv = rgb_to_hsv(np.moveaxis(x, 1, 3) / 255)
        hue, saturation, value = (hsv[..., c] * by[c] for c in range(3))
        changed = np.stack([hue % 1, np.minimum(saturation, 1), np.minimum(value, 1)], -1)
        return np.moveaxis(hsv_to_rgb(changed), 3, 1) * 255


def _jittered(x: Tensor, by: Tensor) -> Tensor:
    hue, saturation, value = rgb_to_hsv(x)
    hue = hue * by[:, 0]
    return hsv_to_rgb(hue - hue.floor(), (saturation * by[:, 1]).clamp(max=1), (value * by[:, 2]).clamp(max=255))


def rgb_to_hsv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """N x 3 x H x W to hue and saturation in [0, 1], and value on the scale of `x`, each N x H x W.

    By minima and maxima alone: `torch.where` would take three times as long on a CPU.
    """
    r, g, b = x.unbind(1)
    high, low = torch.maximum(g, b), torch.minimum(g, b)
    value, middle = torch.maximum(r, high), torch.minimum(r, high)
    span = value - torch.minimum(middle, low)
    bluer = (g - b).sign().clamp(max=0)  # -1 where blue is above green, else 0
    not_red = (high - r).sign().clamp(min=0)  # 1 where red is not the largest, else 0
    start = bluer - not_red * (2 * bluer + 1 / 3)  # red 0 or -1, green -1/3, blue 2/3: hue up to sign
    hue = (start + (middle - low) / (6 * span).clamp(min=1e-12)).abs()
    return hue, span / value.clamp(min=1e-12), value


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of `rgb_to_hsv`."""
    sixths, chroma = 6 * hue, saturation * value
    away = 2 - (sixths - 3).abs(), (sixths - 2).abs() - 1, (sixths - 4).abs() - 1  # from red, green, blue, in sixths
    return torch.stack([value - chroma * distance.clamp(0, 1) for distance in away], 1)


class PCANoise(Augment):
    """Add α_i λ_i v_i over the principal components of ImageNet's RGB, α ~ N(0, 0.1) (section 2.1, step 5; AlexNet)."""

    moves: ClassVar[bool] = False
    sd: float = Field(0.1, ge=0)

    def check(self, spec: Spec) -> None:
        _needs_rgb(self, spec)

    def draws(self, n: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        values = np.array([55.46, 4.794, 1.148])  # of the RGB covariance of ImageNet, pixels in [0, 255]
        vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
        noise = (rng.normal(0, self.sd, size=(n, 3)) * values) @ vectors.T
        return (noise.astype(np.float32)[:, :, None, None],)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        noise: Tensor
        (noise,) = drawn(self, x, rng)
        return x + noise

    def reference(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """AlexNet's p₁p₂p₃ (α₁λ₁, α₂λ₂, α₃λ₃), an image at a time (Krizhevsky et al. 2012, section 4.1)."""
        roots = (55.46, 4.794, 1.148)
        p = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
        alphas, made = rng.normal(0, self.sd, size=(len(x), 3)), x.copy()
        for image, alpha in zip(made, alphas, strict=True):
            for c in range(3):
                image[c] += sum(p[c][k] * alpha[k] * roots[k] for k in range(3))
        return made


PAPER = (RandomAreaCrop(), Flip(), ColorJitter(), PCANoise())
