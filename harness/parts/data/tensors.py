"""Photos as tensors: decoded by torchcodec, brought to size by torch. Other pixels than Pillow's, in less time.

torchcodec's JPEGs are Pillow's to the bit. torch resizes what is cut out, where Pillow looks beyond its edge; and a
large JPEG is decoded whole, where Pillow is asked for a half or a quarter.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.parts.augment import Crop
from harness.parts.data.memory import triangles
from harness.parts.data.reading import rgb

PLACES = 22  # binary places of weights, at most; as many as leave the greatest below 2¹⁵


def decoded(image: Image.Image) -> Tensor:
    """An image that is not decoded yet, 3 x H x W, uint8. Raises Problem, naming the file, if it does not decode."""
    source: Any = getattr(image, "fp", None)
    if image.format == "JPEG" and image.mode == "RGB" and source is not None:
        from torchcodec.decoders import decode_jpeg

        source.seek(0)
        try:
            return torch.as_tensor(decode_jpeg(source.read()))
        except RuntimeError:
            source.seek(0)  # Pillow says what is wrong with it, or bears it
    return torch.from_numpy(np.array(rgb(image))).permute(2, 0, 1)


def sized(x: Tensor, height: int, width: int) -> Tensor:
    """C x H x W, uint8, at another size, bilinear; each pixel of a smaller one is a mean over what it covers."""
    if x.shape[1:] == (height, width):
        return x
    return torch.nn.functional.interpolate(x[None], (height, width), mode="bilinear", antialias=True)[0]


def cut_out(image: Image.Image, size: int, crop: Crop | None, rng: np.random.Generator | None) -> np.ndarray:
    """A crop, or the whole image where there is none, brought to `size` x `size`: H x W x 3."""
    x = decoded(image)
    top, left, h, w = crop.box(x.shape[1], x.shape[2], rng) if crop and rng else (0, 0, *x.shape[1:])
    return shown(sized(x[:, top : top + h, left : left + w], size, size))


def centred(image: Image.Image, size: int, crop: float | None) -> np.ndarray:
    """The paper's test image, as `photos.centred` has it: H x W x 3."""
    x, edge = decoded(image), round(size * 256 / 224) if crop is None else round(size / crop)
    short = min(x.shape[1:])
    h, w = (max(size, round(side * edge / short)) for side in x.shape[1:])
    top, left = (h - size) // 2, (w - size) // 2
    return shown(sized(x, h, w)[:, top : top + size, left : left + size])


def shown(x: Tensor) -> np.ndarray:
    made: np.ndarray = x.permute(1, 2, 0).numpy()
    return made


def in_whole_numbers(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """`sized` of H x W x C, said again in whole numbers: across and then down, rounded to 8 bits after each."""
    for axis, new in ((1, width), (0, height)):
        old = x.shape[axis]
        if old == new:
            continue
        weights = triangles(old, new)
        places = next(p for p in range(PLACES + 1) if p == PLACES or int(0.5 + weights.max() * 2 ** (p + 1)) >= 2**15)
        whole = np.floor(0.5 + weights * 2**places)  # as floats, which hold such sums exactly and multiply fast
        sums = np.moveaxis(np.tensordot(whole, x.astype(np.float64), (1, axis)), 0, axis)
        x = np.clip(np.floor((sums + 2 ** (places - 1)) / 2**places), 0, 255)
    return x
