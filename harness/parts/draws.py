"""What is drawn for the batches of an epoch: made together, and copied to the device together.

A part has a stream of its own for each batch, so when it draws changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import Problem
from harness.rng import Stream
from harness.spec import Augment, Draws, keeps_up

AHEAD = 64  # batches that are drawn together at most: while more are drawn a GPU could run out of work
MOST = 2**25  # bytes, of those: of a part that draws a number a pixel fewer are drawn together
ALIGNED = 8  # bytes, of the largest number

Shape = tuple[int, int, int]  # images, height, width
Task = tuple[int, int, Any]  # an epoch, the number of a batch there, an array of the places of its images, or None
Streams = list[tuple[Any, Callable[[], np.random.Generator]]]  # parts, each with what gives the generator of a batch
Drawing = list[tuple[Any, Any]]  # parts, each with the generator of a batch, or with what it drew for it, a `Drawn`


@dataclass(frozen=True)
class Drawn:
    """What a part drew for a batch of that shape; `stream` gives its generator anew, for a batch of another."""

    part: Any
    shape: Shape
    values: Draws  # numbers, and tensors on the device
    stream: Callable[[], np.random.Generator]


def drawn(part: Any, x: Tensor, rng: "np.random.Generator | Drawn") -> Draws:
    """What `part` draws for images N x C x H x W, or has drawn for them: numbers, and tensors beside them.

    Raises Problem where another part has drawn.
    """
    n, _, height, width = x.shape
    if isinstance(rng, Drawn):
        if rng.part is not part:
            one, other = type(part).__name__, type(rng.part).__name__
            raise Problem(f"{one} got what {other} drew: a part that calls another must have no draws")
        if rng.shape == (n, height, width):
            return rng.values
        rng = rng.stream()
    values: Draws
    (values,) = copied([drawing_of(part, (n, height, width), rng)], x.device)
    return values


def drawing_of(part: Any, shape: Shape, rng: np.random.Generator) -> Any:
    """The part's `draws`, or None. Raises Problem where they are neither, or hold what no tensor can."""
    values = part.draws(*shape, rng)
    if not isinstance(values, tuple | None):
        raise Problem(f"{type(part).__name__}.draws gives {type(values).__name__}: a tuple is needed")
    for array in (value for value in values or () if isinstance(value, np.ndarray)):
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > ALIGNED:
            raise Problem(f"{type(part).__name__}.draws gives an array of {array.dtype}: numbers are needed")
    return values


def copied(groups: Sequence[Draws | None], device: torch.device) -> list[Any]:
    """The same numbers, and the arrays among them as tensors on `device`: all of them are copied there together."""
    found = [value for group in groups for value in group or () if isinstance(value, np.ndarray)]
    if not found:
        return list(groups)
    arrays = [np.asarray(array, array.dtype.newbyteorder("="), order="C") for array in found]
    starts = list(accumulate((-(-array.nbytes // ALIGNED) * ALIGNED for array in arrays), initial=0))
    flat = np.zeros(max(ALIGNED, starts.pop()), np.uint8)
    for start, array in zip(starts, arrays, strict=True):
        flat[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    here = torch.from_numpy(flat)
    there = (here.pin_memory() if device.type == "cuda" else here).to(device, non_blocking=True)
    tensors = (
        there[start : start + array.nbytes].view(getattr(torch, array.dtype.name)).view(array.shape)
        for start, array in zip(starts, arrays, strict=True)
    )

    def made(group: Draws) -> Draws:
        return tuple(next(tensors) if isinstance(value, np.ndarray) else value for value in group)

    return [None if group is None else made(group) for group in groups]


def streamed(parts: Sequence[Any], rng: Stream, epoch: int, batch: int, purpose: str) -> Streams:
    """Each part with a stream of its own, so that adding one leaves the draws of the others as they were."""
    kinds = [type(part).__name__ for part in parts]
    again = [kinds[:i].count(kind) for i, kind in enumerate(kinds)]  # two of a kind draw apart
    names = [(kind, epoch, batch, *([n] if n else [])) for kind, n in zip(kinds, again, strict=True)]
    return [(part, partial(rng, purpose, *name)) for part, name in zip(parts, names, strict=True)]


def drawing(parts: Sequence[Any], rng: Stream, epoch: int, batch: int, purpose: str = "augment") -> Drawing:
    """The parts of one batch, each with its generator."""
    return [(part, stream()) for part, stream in streamed(parts, rng, epoch, batch, purpose)]


def ahead(
    tasks: Iterable[Task],
    steps: int,
    parts: Callable[[int, Any], Sequence[Any]],
    rng: Stream,
    shape: Shape,
    device: torch.device,
    purpose: str = "augment",
) -> Iterator[tuple[Any, Drawing]]:
    """Of each batch the places of its images, on the device, and the parts for it, each with what it drew.

    `parts` gives them for an epoch, which has so many `steps`, and for images at these places. One that does not know
    its draws before it has the images gets its generator.
    """
    told: list[Streams] = []
    groups: list[Draws | None] = []
    held = 0
    for epoch, batch, places in tasks:
        told.append(streamed(parts(epoch, places), rng, epoch, batch, purpose))
        new = [(places,), *(drawing_of(part, shape, stream()) if foresees(part) else None for part, stream in told[-1])]
        groups += new
        held += sum(value.nbytes for group in new for value in group or () if isinstance(value, np.ndarray))
        if batch == steps - 1 or len(told) == AHEAD or held > MOST:
            yield from served(told, iter(copied(groups, device)), shape)
            told, groups, held = [], [], 0
    if told:
        yield from served(told, iter(copied(groups, device)), shape)


def served(told: Sequence[Streams], there: Iterator[Any], shape: Shape) -> Iterator[tuple[Any, Drawing]]:
    """A batch at a time, of those that were drawn together."""
    for own in told:
        ((places,), *values) = islice(there, 1 + len(own))
        pairs = zip(own, values, strict=True)
        yield places, [(part, stream() if v is None else Drawn(part, shape, v, stream)) for (part, stream), v in pairs]


def foresees(part: Any) -> bool:
    """Whether its `draws` are those of its `__call__`."""
    return keeps_up(part, "draws", "__call__")


def placed(parts: Sequence[Augment], rng: Stream, epoch: int, places: np.ndarray) -> list[Augment]:
    """The parts, as they are for the training images at these places."""
    return [part.knowing(epoch, places, rng) for part in parts]


def augmented(x: Tensor, parts: Drawing) -> Tensor:
    for part, draw in parts:
        x = part(x, draw)
    return x
