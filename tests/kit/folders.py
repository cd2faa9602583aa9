"""Folders of small images in two classes."""

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem
from harness.parts.data import (
    ImageFolder,
    folders,
)
from harness.rng import streams

CPU = torch.device("cpu")
COLOURS = {"cat": (250, 0, 0), "dog": (0, 0, 250)}


def picture(colour, width=90, height=80, seed=0):
    """An image of one colour, plus a little noise, so that crops of it differ."""
    noise = np.random.default_rng(seed).integers(-5, 6, size=(height, width, 3))
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


def read_anew(root, size=8, **settings):
    """As another process would: this one keeps what it has loaded."""
    folders._loaded.cache_clear()
    return ImageFolder(root=root, size=size, **settings).load()


def batches(images, batch_size=4, epoch=0, augment=(), seed=0):
    return list(images.train(epoch, batch_size, augment, streams(seed), CPU))


def pixels(images, x):
    return x * torch.tensor(images.std).view(-1, 1, 1) + torch.tensor(images.mean).view(-1, 1, 1)


def smooth(width, height):
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y * x), np.sin(6 * x - 8 * y)], -1)
    return Image.fromarray((127 + 120 * waves).astype(np.uint8))


def save(path, shade=100, edge=24, seed=0, **options):
    noise = np.random.default_rng(seed).integers(0, 9, (edge, edge, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((noise + shade).astype(np.uint8)).save(path, **options)
    return path


def refused(root):
    with pytest.raises(Problem) as caught:
        read_anew(root)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{root}/", "")
