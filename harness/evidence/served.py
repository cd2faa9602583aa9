"""What a step should have got: images and targets made anew, from the data as it is stored and the draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.evidence.trace import ordered
from harness.rng import Stream
from harness.spec import Spec, referenced


@dataclass(frozen=True)
class Served:
    """A batch, made anew: float64 images N x C x H x W, labels N, targets N x K."""

    x: np.ndarray
    labels: np.ndarray
    y: np.ndarray
    mixed_x: np.ndarray
    mixed_y: np.ndarray
    changed: float  # images that augmentation changed


def served(spec: Spec, task: Any, images: Any, classes: int, rng: Stream, epoch: int, batch: int) -> Served:
    """What the network should get, from the data as it is stored and the streams of the seed."""
    size = spec.batch_size
    places = ordered(spec, images.strata("train"), rng, epoch)[batch * size : (batch + 1) * size]
    augment = [(part.knowing(epoch, places, rng), names) for part, names in named(spec.augment, epoch, batch)]
    draws = [(part, rng("augment", *names)) for part, names in augment]
    labels = images.truths("train", places, [(part, rng("augment", *names)) for part, names in augment])
    x = images.reference("train", places, draws)
    plain = images.reference("train", places, []) if draws else x
    changed = float(len(x))  # a cut of another size changes all
    if x.shape == plain.shape:
        changed = float((np.abs(x - plain).reshape(len(x), -1).max(1) > 1e-2).sum())
    mean, std = (np.asarray(values, dtype=np.float64).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    x = (x - mean) / std
    for resize in spec.resolution:
        if referenced(resize):
            x = resize.reference(x, epoch, spec.epochs)
        else:
            x = resize(torch.from_numpy(x).float(), epoch, spec.epochs).double().numpy()
    y = task.targets_again(labels, classes)
    for part in spec.targets:
        y = part.reference(y) if referenced(part) else part(torch.from_numpy(y).float()).double().numpy()
    mixed_x, mixed_y = x, y
    for mix, name in named(spec.mix, epoch, batch):
        draw = rng("mix", *name)
        if referenced(mix):
            mixed_x, mixed_y = mix.reference(mixed_x, mixed_y, draw)
        else:
            pair = mix(torch.from_numpy(mixed_x).float(), torch.from_numpy(mixed_y).float(), draw)
            mixed_x, mixed_y = (tensor.double().numpy() for tensor in pair)
    return Served(x, labels, y, mixed_x, mixed_y, changed)


def named(parts: tuple[Any, ...], epoch: int, batch: int) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    """Each part of an augmentation, and the name of its stream: by its kind, and from the second of a kind numbered."""
    met: dict[str, int] = {}
    for part in parts:
        kind = type(part).__name__
        again = met.get(kind, 0)
        met[kind] = again + 1
        yield part, (kind, epoch, batch, *((again,) if again else ()))
