"""The operations of `harness.parts.operations`, of a batch on its device: the images that drew the same one together.

The same pixels as Pillow's to the last bit: whole numbers, float32 where Pillow blends, float64 where it stretches.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Op = tuple[str, float]  # an operation, and how far it goes
Batched = Callable[[Tensor, Tensor], Tensor]  # int32 N x C x H x W, and float64 N: magnitudes; on the CPU


def carried_out(x: Tensor, drawn: Sequence[Sequence[Op]]) -> Tensor:
    """Each of N images through the operations that were drawn for it, in order: int32 N x C x H x W, 0 to 255."""
    made = x.clone()
    for turn in range(max(map(len, drawn), default=0)):
        places: dict[str, list[int]] = {}
        for place, own in enumerate(drawn):
            if turn < len(own) and own[turn][0] != "Identity":
                places.setdefault(own[turn][0], []).append(place)
        for name, chosen in places.items():
            magnitudes = torch.tensor([drawn[place][turn][1] for place in chosen], dtype=torch.float64)
            index = torch.tensor(chosen).to(x.device, non_blocking=True)
            made[index] = OPERATIONS[name](made[index], magnitudes)
    return made


def beside(values: Sequence[float] | Tensor, x: Tensor) -> Tensor:
    """A number an image, N x 1 x 1 x 1 where the images are; of a sequence float64."""
    numbers = values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float64)
    return numbers.to(x.device, non_blocking=True)[:, None, None, None]


def _moved(x: Tensor, matrices: Sequence[Sequence[float]]) -> Tensor:
    """The pixel at (a, b, c, d, e, f) · (x, y), black where there is none: Pillow's fixed point, in 1/65,536 px."""
    channels, height, width = x.shape[1:]
    fixed = [
        [math.floor(v * 65536 + 0.5) for v in (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)]
        for a, b, c, d, e, f in matrices
    ]
    a, b, c, d, e, f = (beside(column, x)[:, 0] for column in torch.tensor(fixed).T)
    across = torch.arange(width, device=x.device)
    down = torch.arange(height, device=x.device)[:, None]
    column, row = (a * across + b * down + c) >> 16, (d * across + e * down + f) >> 16
    there = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    source = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)[:, None]
    found = x.flatten(2).gather(2, source.expand(-1, channels, -1)).view_as(x)
    return found * there[:, None]


def _turned(x: Tensor, degrees: Tensor) -> Tensor:
    """Counter-clockwise about the middle."""
    height, width = x.shape[2:]
    matrices = []
    for angle in (-math.radians(by % 360) for by in degrees.tolist()):
        c, s, dx, dy = round(math.cos(angle), 15), round(math.sin(angle), 15), width / 2, height / 2
        matrices.append((c, s, c * -dx + s * -dy + dx, -s, c, -s * -dx + c * -dy + dy))
    return _moved(x, matrices)


def _blended(other: Tensor, x: Tensor, magnitudes: Tensor) -> Tensor:
    by = beside((1 + magnitudes).float(), x)
    made: Tensor = other.float() + by * (x - other).float()
    return made.clamp(0, 255).int()


def _grey(x: Tensor) -> Tensor:
    """ITU-R 601-2 luma in 1/65,536, N x 1 x H x W."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.split(1, 1)
    luma: Tensor = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return luma


def _mean(x: Tensor) -> Tensor:
    return (_grey(x).sum((1, 2, 3), keepdim=True).double() / (x.shape[2] * x.shape[3]) + 0.5).int()


def _smoothed(x: Tensor) -> Tensor:
    """A pixel by 5 and its eight neighbours by 1, of 13; the border as it was."""
    made, (height, width) = x.clone(), x.shape[2:]
    if min(height, width) > 2:
        rows = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
        around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
        made[:, :, 1:-1, 1:-1] = (2 * (around + 4 * x[:, :, 1:-1, 1:-1]) + 13) // 26
    return made


def _posterized(x: Tensor, magnitudes: Tensor) -> Tensor:
    lost = beside(8 - magnitudes.int(), x)
    return x >> lost << lost


def _solarized(x: Tensor, magnitudes: Tensor) -> Tensor:
    return torch.where(x < beside((255.0 * magnitudes).ceil().int(), x), x, 255 - x)


def _stretched(x: Tensor, _: Tensor) -> Tensor:
    """Each channel from 0 to 255; one level stays."""
    low, high = (some[..., None, None] for some in x.flatten(2).aminmax(dim=2))
    span = (high - low).clamp(min=1).double()
    scale = torch.full_like(span, 255.0) / span  # of a number torch would make the reciprocal, and round twice
    return torch.where(high > low, (x * scale + -low * scale).int().clamp(0, 255), x)


def _equalised(x: Tensor, _: Tensor) -> Tensor:
    """Each channel by its own cumulative histogram; one level stays."""
    flat = x.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    last = counts.gather(2, flat.amax(2, keepdim=True))
    step = (flat.shape[2] - last) // 255
    before = counts.cumsum(2) - counts
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(0, 255)
    return torch.where(step[..., None] > 0, table.gather(2, flat).view_as(x).int(), x)


OPERATIONS: Mapping[str, Batched] = {
    "ShearX": lambda x, m: _moved(x, [(1, by, 0, 0, 1, 0) for by in m.tolist()]),
    "ShearY": lambda x, m: _moved(x, [(1, 0, 0, by, 1, 0) for by in m.tolist()]),
    "TranslateX": lambda x, m: _moved(x, [(1, 0, -int(by), 0, 1, 0) for by in m.tolist()]),
    "TranslateY": lambda x, m: _moved(x, [(1, 0, 0, 0, 1, -int(by)) for by in m.tolist()]),
    "Rotate": _turned,
    "Brightness": lambda x, m: _blended(torch.zeros_like(x), x, m),
    "Color": lambda x, m: _blended(_grey(x), x, m),
    "Contrast": lambda x, m: _blended(_mean(x), x, m),
    "Sharpness": lambda x, m: _blended(_smoothed(x), x, m),
    "Posterize": _posterized,
    "Solarize": _solarized,
    "AutoContrast": _stretched,
    "Equalize": _equalised,
    "Invert": lambda x, m: 255 - x,
}
