"""A made-up folder of photos with the shape of ImageNet, and with what its files are like."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

KINDS = ("plain", "wide", "tall", "grey", "cmyk", "turned", "png", "profile", "progressive")
SHAPES = {"wide": (500, 40), "tall": (40, 500)}  # width, height; the others are 37 x 29


def colour(label: int) -> tuple[int, int, int]:
    """One for each of a thousand classes."""
    return 25 * (label // 100 % 10), 25 * (label // 10 % 10), 25 * (label % 10)


def make(root: Path, classes: int = 1000, train: int = 2, val: int = 1, seed: int = 0) -> None:
    """`root/train/nXXXXXXXX/FILE.JPEG` and `root/val/…`, every kind in turn, beside what torchvision leaves there."""
    rng, number = np.random.default_rng(seed), 0
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown a quarter turn to the right
    saved = {
        "turned": {"exif": turned},
        "png": {"format": "PNG"},
        "profile": {"icc_profile": profile},
        "progressive": {"progressive": True},
    }
    for part, count in (("train", train), ("val", val)):
        for label in range(classes):
            folder = root / part / f"n{label:08d}"
            folder.mkdir(parents=True)
            for i in range(count):
                kind = KINDS[number % len(KINDS)]
                width, height = SHAPES.get(kind, (37, 29))
                pixels = np.clip(np.array(colour(label)) + rng.integers(0, 6, (height, width, 1)), 0, 255)
                image = Image.fromarray(pixels.astype(np.uint8))
                image = image.convert({"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB"))
                buffer = io.BytesIO()
                image.save(buffer, **{"format": "JPEG", "quality": 95, **saved.get(kind, {})})
                (folder / f"{folder.name}_{i}_{kind}.JPEG").write_bytes(buffer.getvalue())
                number += 1
    for name in ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "meta.bin"):
        (root / name).write_bytes(b"no image")
