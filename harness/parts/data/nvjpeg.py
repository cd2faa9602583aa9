"""Photos decoded by the GPU: processes read files and draw what is cut out; the device decodes and resizes a batch.

It resizes in whole numbers, as torch does uint8 on a CPU: of the same decoded pixels it makes those of
`harness.parts.data.tensors`, to the bit, on any device. Where there is no GPU libjpeg decodes in its stead. What is no
RGB JPEG is decoded by Pillow, where it is read.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.parts.augment import Crop
from harness.parts.data.reading import opened, rgb
from harness.parts.data.tensors import PLACES

APART = 2  # levels of 255, on average, that a GPU's pixels may be from Pillow's: what torchvision's own tests allow


class Window(NamedTuple):
    """What is shown of an image: a part of it, resized, and a square of that; in px."""

    top: int  # of the part
    left: int
    height: int
    width: int
    tall: int  # of the part, resized
    wide: int
    down: int = 0  # of the square there
    right: int = 0


def drawn(height: int, width: int, size: int, crop: Crop | None, rng: np.random.Generator | None) -> Window:
    """A crop, or the whole image where there is none, brought to `size` x `size`."""
    return Window(*(crop.box(height, width, rng) if crop and rng else (0, 0, height, width)), size, size)


def central(height: int, width: int, size: int, crop: float | None) -> Window:
    """The paper's test image, as `photos.centred` has it."""
    edge, short = round(size * 256 / 224) if crop is None else round(size / crop), min(height, width)
    tall, wide = (max(size, round(side * edge / short)) for side in (height, width))
    return Window(0, 0, height, width, tall, wide, (tall - size) // 2, (wide - size) // 2)


def taps(old: int, new: int, first: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Of `size` pixels from `first` of `new`, made of `old`: where each begins, its K weights, and their binary places.

    Triangles as wide as the larger pixel, cut at the edge, as whole numbers.
    """
    ratio = old / new
    reach = max(1.0, ratio)
    middle = (np.arange(new) + 0.5) * ratio
    begin = np.maximum(0, (middle - reach + 0.5).astype(int))
    end = np.minimum(old, (middle + reach + 0.5).astype(int))
    places = begin[:, None] + np.arange((end - begin).max())
    weights = np.maximum(0.0, 1 - np.abs(places + 0.5 - middle[:, None]) / reach) * (places < end[:, None])
    weights /= weights.sum(1, keepdims=True)
    binary = next(p for p in range(PLACES + 1) if p == PLACES or int(0.5 + weights.max() * 2 ** (p + 1)) >= 2**15)
    kept = slice(first, first + size)
    return begin[kept].astype(np.int32), np.floor(0.5 + weights[kept] * 2**binary).astype(np.int32), binary


class Encoded(NamedTuple):
    """A batch that is not decoded yet; all its tensors are on the CPU. "Across" goes before "down"."""

    names: list[str]
    read: Tensor  # uint8: the bytes of all files, one after another; of what is no RGB JPEG its pixels, H x W x 3
    lengths: Tensor  # N, int64: what of `read` is each one's
    sides: Tensor  # N x 2, int64: height and width of pixels; 0 of a JPEG
    parts: Tensor  # N x 4, int64: what is cut out of each: top, left, height, width
    begins: Tensor  # N x 2 x size, int32: where the pixels of `taps` begin
    weights: Tensor  # int32: their weights, one after another
    shapes: Tensor  # N x 2 x 2, int64: how many each has, and of how many binary places


def encoded(images: Iterable[Image.Image], window: Callable[[int, int], Window], size: int) -> Encoded:
    """Images of which no more than the header was read; `window(height, width)` is asked once of each, in order."""
    names, read, sides, parts = list[str](), list[np.ndarray](), list[tuple[int, int]](), list[tuple[int, ...]]()
    begins, weights, shapes = list[np.ndarray](), list[np.ndarray](), list[tuple[int, int]]()
    for image in images:
        names.append(str(getattr(image, "filename", "an image")))
        top, left, height, width, tall, wide, down, right = window(image.height, image.width)
        parts.append((top, left, height, width))
        for old, new, first in ((width, wide, right), (height, tall, down)):
            begin, weight, places = taps(old, new, first, size)
            begins.append(begin)
            weights.append(weight.reshape(-1))
            shapes.append((weight.shape[1], places))
        file = bytes_of(image)
        read.append(np.frombuffer(file, np.uint8) if file else np.asarray(rgb(image)).reshape(-1))
        sides.append((0, 0) if file else (image.height, image.width))
    lengths = torch.tensor([len(each) for each in read])
    whole, every = torch.from_numpy(np.concatenate(read)), torch.from_numpy(np.concatenate(weights))
    begun = torch.from_numpy(np.stack(begins)).view(-1, 2, size)
    return Encoded(
        names,
        whole,
        lengths,
        torch.tensor(sides),
        torch.tensor(parts),
        begun,
        every,
        torch.tensor(shapes).view(-1, 2, 2),
    )


def bytes_of(image: Image.Image) -> bytes:
    """The file of an RGB JPEG; nothing of others, which a GPU would not decode."""
    source: Any = getattr(image, "fp", None)
    if image.format != "JPEG" or image.mode != "RGB" or source is None:
        return b""
    source.seek(0)
    read: bytes = source.read()
    return read


def shown(batch: Encoded, size: int, device: torch.device) -> Tensor:
    """The batch, decoded and resized on `device`: uint8 N x 3 x size x size.

    Raises Problem, naming the file, if one does not decode.
    """
    files, sides = batch.read.split(batch.lengths.tolist()), batch.sides.tolist()
    jpegs = [place for place, (height, _) in enumerate(sides) if not height]
    whole = dict(zip(jpegs, _decoded([(batch.names[i], files[i]) for i in jpegs], device), strict=True))
    for place, (height, width) in enumerate(sides):
        if height:
            whole[place] = files[place].view(height, width, 3).permute(2, 0, 1).to(device, non_blocking=True)
    shapes, made = batch.shapes.tolist(), []
    own = batch.weights.to(device, non_blocking=True).split([size * count for axes in shapes for count, _ in axes])
    begins = batch.begins.to(device, non_blocking=True)
    for place, (top, left, height, width) in enumerate(batch.parts.tolist()):
        x = whole[place][:, top : top + height, left : left + width].int()
        for axis, (count, places) in enumerate(shapes[place]):
            weights = own[2 * place + axis].view(size, count)
            x = resized(x, begins[place, axis], weights, places).transpose(1, 2)
        made.append(x.byte())
    return torch.stack(made)


def resized(x: Tensor, begins: Tensor, weights: Tensor, places: int) -> Tensor:
    """Whole numbers 3 x R x C by `taps` to 3 x R x size, rounded: no sum is beyond 32 bits."""
    index = begins[:, None] + torch.arange(weights.shape[1], device=x.device)
    sums = (x[..., index.clamp(max=x.shape[2] - 1)] * weights).sum(-1, dtype=torch.int32)
    return (sums + (1 << places >> 1) >> places).clamp(0, 255)


def _decoded(files: Sequence[tuple[str, Tensor]], device: torch.device) -> list[Tensor]:
    """Of named JPEGs the pixels, 3 x H x W, uint8."""
    from torchcodec.decoders import decode_jpeg

    if not files:
        return []
    try:
        return list(decode_jpeg([file for _, file in files], device=device))
    except RuntimeError:  # of which one it is not said
        return [_one(name, file, partial(decode_jpeg, device=device)).to(device) for name, file in files]


def _one(name: str, file: Tensor, decode: Callable[[Tensor], Any]) -> Tensor:
    try:
        return torch.as_tensor(decode(file))
    except RuntimeError:  # Pillow says what is wrong with it, or bears it
        return torch.from_numpy(np.array(rgb(opened(Path(name), file.numpy().tobytes())))).permute(2, 0, 1)


def pixels(images: Sequence[Image.Image]) -> list[np.ndarray]:
    """For references: images H x W x 3, all of them, those of RGB JPEGs by the decoder that trains here, at once."""
    from torchcodec.decoders import decode_jpeg

    files = {place: file for place, image in enumerate(images) if (file := bytes_of(image))}
    found = {place: np.asarray(rgb(image)) for place, image in enumerate(images) if place not in files}
    if files:
        where = "cuda" if torch.cuda.is_initialized() else "cpu"
        every = decode_jpeg(list(files.values()), device=where)
        found |= {place: x.permute(1, 2, 0).cpu().numpy() for place, x in zip(files, every, strict=True)}
    return [found[place] for place in range(len(images))]
