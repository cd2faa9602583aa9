"""Pictures of a study's data of one class an image: how many, how large, and what augmentation makes of some."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import Problem

if TYPE_CHECKING:  # torch and matplotlib take seconds, which --help need not wait for
    from matplotlib.figure import Figure

    from harness.parts.data import Files, Images
    from harness.spec import Data, Spec

ROWS, DRAWS = 6, 7  # of the sheet of augmented images


def class_names(data: Data, classes: Sequence[str]) -> list[str]:
    """The classes as people call them: their "Common Name" by the "Label" in the folder's labels.csv, if it has one.

    They are for pictures alone, and no part of a specification. Where two classes would have one name, none is used.
    Raises Problem where that file cannot be read.
    """
    path = getattr(data.source, "root", Path()) / "labels.csv"
    if not path.is_file():
        return list(classes)
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise Problem(f"{path} cannot be read ({error}): mend it or take it out") from None
    told = {row.get("Label"): (row.get("Common Name") or "").strip() for row in rows}
    named = [told.get(name) or name for name in classes]
    return named if len(set(named)) == len(named) else list(classes)


def label_counts(images: Images) -> dict[str, np.ndarray]:
    """Images of each class, by split."""
    splits = [split for split in ("train", "val", "test") if split in images.counts]
    return {split: np.bincount(images.labels(split), minlength=len(images.classes)) for split in splits}


def file_sizes(data: Files) -> dict[str, np.ndarray]:
    """Width and height of the files of each split, N x 2 px, from their headers."""
    from harness.parts.data import SMALL, Photos

    photos = data.but(size=max(data.size, SMALL + 1)).load()  # small ones keep no list of their files
    assert isinstance(photos, Photos)
    return {split: np.array([photos.picture(name).size for name, _ in files]) for split, files in photos.files.items()}


def pixels(images: Images, x: Any) -> list[np.ndarray]:
    """Normalised images N x C x H x W as uint8, H x W x C each."""
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    whole = np.rint(x.cpu().numpy() * std + mean).clip(0, 255).astype(np.uint8)
    return list(whole.transpose(0, 2, 3, 1))


def prepared(images: Images, split: str, places: np.ndarray) -> list[np.ndarray]:
    """The images of `split` at `places`, as test images are prepared."""
    import torch

    few = images.regrouped({"test": (split, places)})
    return [image for x, _ in few.test(len(places), torch.device("cpu")) for image in pixels(images, x)]


def augmented(images: Images, spec: Spec, places: np.ndarray, draws: int, seed: int = 0) -> list[list[np.ndarray]]:
    """`draws` times the training images at `places`, as the network gets them."""
    import torch

    from harness.rng import streams

    few, made, rng = images.regrouped({"train": ("train", places)}), [], streams(seed)
    for epoch in range(draws):
        order = few.order(epoch, len(places), rng)[0]
        (x, _), *_ = few.train(epoch, len(places), spec.augment, rng, torch.device("cpu"))
        by_place = dict(zip(order.tolist(), pixels(images, x), strict=True))
        made.append([by_place[i] for i in range(len(places))])
    return made


def of_data(study: str, spec: Spec, names: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    from harness.parts.data import Files, limited
    from harness.report import pictures

    images, data = spec.data.load(), spec.data.source
    yield "labels", pictures.labels(study, names, label_counts(images))
    if isinstance(data, Files):
        yield "sizes", pictures.sizes(study, file_sizes(data))
    if spec.augment:
        labels = images.labels("train")
        places = limited(labels, ROWS)  # of as many classes
        told = [names[label] for label in labels[places]]
        drawn = augmented(images, spec, places, DRAWS)
        yield "samples", pictures.samples(study, prepared(images, "train", places), drawn, told)


def chosen(count: int, wanted: int, purpose: str) -> np.ndarray:
    """Places of `wanted` of `count` images, all if there are no more: the same for every run."""
    from harness.rng import stream

    return np.sort(stream(0, "gallery", purpose).permutation(count)[:wanted])
