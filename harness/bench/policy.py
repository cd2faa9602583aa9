"""The imgaug policy against the source's own function."""

import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from harness import Problem
from harness.bench.photos import BATCH, cpu_seconds, show_beside

POLICY_IMAGES = 512  # of a pass, unless there are fewer
WHOLE = ("the source's function", "the policy")


def prepared(root: Path, rounds: int) -> Iterator[tuple[str, float, float]]:
    """("source", "1 worker" or "2 workers", images a second, CPU milliseconds an image), in turn, after a pass of each
    that warms up.

    From file to pixels in [-1, 1] at 224 px, by the whole policy: as the monkey report does, in one process, and an
    epoch of the harness from the start of its workers, of the same files. Linear algebra, OpenCV and
    torch have one thread a process.
    """
    import torch

    from harness.parts.data import ImageFolder, Photos
    from harness.parts.imgaug_policy import ImgAug
    from harness.rng import streams

    half = (127.5, 127.5, 127.5)
    images = ImageFolder(root=root, limit=POLICY_IMAGES, fit="squash", mean=half, std=half).load()
    assert isinstance(images, Photos)
    count = images.counts["train"] // BATCH * BATCH
    if not count:
        raise Problem(f"--imgaug {root}: {images.counts['train']} training images, and a batch has {BATCH}")
    torch.set_num_threads(1)
    part = ImgAug()
    part.ready()

    def ours(workers: int, epoch: int) -> int:
        os.environ["HARNESS_DECODERS"] = str(workers)
        return sum(len(y) for _, y in images.train(epoch, BATCH, (part,), streams(0), torch.device("cpu")))

    def theirs(epoch: int) -> int:
        chosen = np.concatenate(images.order(epoch, BATCH, streams(0)))
        return len([normalised(read(root / images.files["train"][i][0])) for i in chosen])

    ways: dict[str, Callable[[int], int]] = {
        "source": theirs,
        "1 worker": partial(ours, 1),
        "2 workers": partial(ours, 2),
    }
    for number in range(-1, rounds):
        for name, way in ways.items():
            used, began = cpu_seconds(), time.monotonic()
            if way(number + 1) != count:
                raise Problem(f"--imgaug {root}: {name} did not prepare {count} images")
            seconds = time.monotonic() - began
            if number >= 0:
                yield name, count / seconds, 1000 * (cpu_seconds() - used) / count


def read(path: Path) -> np.ndarray:
    """RGB, decoded whole and resized to 224 px, as the source does."""
    import cv2

    image = cv2.imread(str(path))
    if image is None:
        raise Problem(f"{path} is not read by OpenCV: repair it or take it out")
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (224, 224))


def normalised(image: np.ndarray) -> np.ndarray:
    """The source's `normalize_img`, of sections 2.4.1 and 2.4.2, as it is printed: all is built for each image."""
    from harness.parts.imgaug_policy import undisturbed

    images = np.array([image])
    with undisturbed() as iaa, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        iaa.meta.ia.seed(random.randint(0, 10000))
        images = source(iaa)(images=images)
    return np.transpose(images[0], (2, 0, 1)).astype("float32") / 255.0 * 2.0 - 1.0


def source(iaa: Any) -> Any:
    """The report's `image_augment_imgauglib`, with imgaug's own Superpixels."""
    sometimes = partial(iaa.Sometimes, 0.5)
    percent = {"x": (-0.2, 0.2), "y": (-0.2, 0.2)}
    scale = {"x": (0.8, 1.2), "y": (0.8, 1.2)}
    affine = {"scale": scale, "translate_percent": percent, "rotate": (-45, 45), "shear": (-16, 16)}
    edges = [iaa.EdgeDetect(alpha=(0, 0.7)), iaa.DirectedEdgeDetect(alpha=(0, 0.7), direction=(0.0, 1.0))]
    rectangles = iaa.CoarseDropout((0.03, 0.15), size_percent=(0.02, 0.05), per_channel=0.2)
    twelve = [
        sometimes(iaa.Superpixels(p_replace=(0, 1.0), n_segments=(20, 200))),
        iaa.OneOf([iaa.GaussianBlur((0, 3.0)), iaa.AverageBlur(k=(2, 7)), iaa.MedianBlur(k=(3, 11))]),
        iaa.Sharpen(alpha=(0, 1.0), lightness=(0.75, 1.5)),
        iaa.Emboss(alpha=(0, 1.0), strength=(0, 2.0)),
        sometimes(iaa.OneOf(edges)),
        iaa.AdditiveGaussianNoise(loc=0, scale=(0.0, 0.05 * 255), per_channel=0.5),
        iaa.OneOf([iaa.Dropout((0.01, 0.1), per_channel=0.5), rectangles]),
        iaa.Add((-10, 10), per_channel=0.5),
        iaa.Multiply((0.5, 1.5), per_channel=0.5),
        iaa.LinearContrast((0.5, 2.0), per_channel=0.5),
        sometimes(iaa.ElasticTransformation(alpha=(0.5, 3.5), sigma=0.25)),
        sometimes(iaa.PiecewiseAffine(scale=(0.01, 0.05))),
    ]
    every = [iaa.Fliplr(0.5), iaa.Flipud(0.2), sometimes(iaa.Crop(percent=(0, 0.1)))]
    every.append(sometimes(iaa.Affine(**affine, order=[0, 1], cval=(0, 255), mode="ALL")))
    every.append(iaa.SomeOf((0, 5), twelve, random_order=True))
    return iaa.Sequential(every, random_order=True)


def costs(root: Path, rounds: int) -> dict[str, float]:
    """CPU milliseconds an image of 224 px that is in memory, the median of `rounds` passes over 64.

    Of the source's function and of the policy; then of each operation where it is drawn, the dearest first.
    """
    from harness.parts.data import ImageFolder, Photos
    from harness.parts.imgaug_policy import GROUPS, ImgAug, leaves, policy, undisturbed

    images = ImageFolder(root=root, limit=POLICY_IMAGES).load()
    assert isinstance(images, Photos)
    files = images.files["train"]
    pixels = np.stack([read(root / files[i * len(files) // BATCH][0]) for i in range(BATCH)])

    def alone(leaf: Any, rng: np.random.Generator) -> None:
        leaf.seed_(int(rng.integers(2**63)))
        with undisturbed():
            for image in pixels:
                leaf.augment_image(image)

    ways = (lambda rng: [normalised(image) for image in pixels], lambda rng: ImgAug().on_pixels(pixels, rng))
    work: dict[str, Any] = dict(zip(WHOLE, ways, strict=True))
    work |= {type(leaf).__name__: partial(alone, leaf) for leaf in leaves(policy(GROUPS))}
    seen: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, way in work.items():
            used = cpu_seconds()
            way(np.random.default_rng(number))
            seen[name].append(1000 * (cpu_seconds() - used) / BATCH)
    middle = {name: median(values[1:]) for name, values in seen.items()}  # the first warmed up
    return dict(sorted(middle.items(), key=lambda pair: (pair[0] not in WHOLE, -pair[1])))


def show_prepared(root: Path, rounds: int) -> None:
    print(f"training images of {root}, from file to [-1, 1] at 224 px, by the monkeys' policy, on CPU", flush=True)
    show_beside("source", ("source", "1 worker", "2 workers"), prepared(root, rounds))
    print("CPU ms an image that is in memory:", flush=True)
    for name, spent in costs(root, rounds).items():
        print(f"  {name:<24}{spent:8.2f}", flush=True)
