"""Test images that training has too, but for how they were saved: the photo of another size, quality or frame."""

import hashlib
import json
from contextlib import suppress
from typing import Any

import numpy as np
import torch

import harness.parts.data.reading as disk
from harness.parts.data.images import Images, digests
from harness.paths import runs, write_atomic

SIDE, NEAR = 32, 8  # px, and of 255: images at that size that differ by less on average are one photo, saved twice
PAIRS = 10**7  # of a test and a training image; more are not compared


def near(images: Images) -> np.ndarray | None:
    """Of each test image, whether a training image differs from it by less than `NEAR` on average, at `SIDE` px.

    Both are prepared as test images are, at that size. None where images are no photos, or make more than `PAIRS`
    pairs. It is worked out once, and remembered by the images' content.
    """
    if not images.photos or images.counts["train"] * images.counts["test"] > PAIRS:
        return None
    own = digests(images), images.content("test"), images.channels, getattr(images, "fit", None)
    key = hashlib.sha256(json.dumps([SIDE, NEAR, *own]).encode()).hexdigest()[:16]
    memory = runs() / "cache" / "twins" / f"{key}.json"
    found: Any = None
    if disk.trusting:
        with suppress(OSError, ValueError):
            found = json.loads(memory.read_bytes())
    if not isinstance(found, list) or len(found) != images.counts["test"]:
        found = compared(thumbnails(images, "train"), thumbnails(images, "test"))
        write_atomic(memory, json.dumps(found).encode())
    return np.array(found, dtype=bool)


def told(images: Images) -> list[str]:
    """What the user should know of test images that are training images saved anew, and not to the byte."""
    if not images.photos:
        return []
    found = near(images)
    if found is None:
        pairs = images.counts["train"] * images.counts["test"]
        return [f"photos saved anew for training and test were not looked for: {pairs:,} pairs are too many"]
    trained = set(images.content("train"))
    anew = sum(
        twin and image not in trained for twin, image in zip(found.tolist(), images.content("test"), strict=True)
    )
    if not anew:
        return []
    how = f"they differ by less than {NEAR} of 255 on average, at {SIDE} px"
    return [
        f"{anew:,} of {len(found):,} test images are training images saved anew ({how}): accuracy is flattered; "
        "harness.gallery tells it without them"
    ]


def compared(trained: np.ndarray, tested: np.ndarray) -> list[bool]:
    """Of each test image, N x C x `SIDE` x `SIDE`, whether one of the training images is its twin."""
    rough = _rough(trained)
    found = []
    for image in tested:
        likely = trained[np.abs(rough - _rough(image[None])).mean(1) < NEAR]  # means of blocks differ by no more
        found.append(bool((np.abs(likely - image).mean((1, 2, 3)) < NEAR).any()))
    return found


def _rough(images: np.ndarray) -> np.ndarray:
    """The means of blocks of 4 x 4 px."""
    n, c = images.shape[:2]
    means: np.ndarray = images.reshape(n, c, SIDE // 4, 4, SIDE // 4, 4).mean((3, 5)).reshape(n, -1)
    return means


def thumbnails(images: Images, split: str) -> np.ndarray:
    """The images of a split, in order, as test images are prepared, of `SIDE` px: N x C x `SIDE` x `SIDE`, 0 to 255."""
    every = images.resized(SIDE).regrouped({"test": (split, np.arange(images.counts[split]))})
    mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (images.mean, images.std))
    return np.concatenate([x.numpy() * std + mean for x, _ in every.test(64, torch.device("cpu"))])
