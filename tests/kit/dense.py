"""A detector and a segmenter that train in a second, on photos of several sizes that are made here."""

import copy
import os
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch

from experiments.digits import BASELINE
from harness import train as loop
from harness.evidence import Upstream
from harness.parts.augment import Flip
from harness.parts.data.boxes import VOC
from harness.parts.data.masks import ADE20K
from harness.parts.decay import DecayAll
from harness.parts.grouping import HeadRates
from harness.parts.models import FCN, FasterRCNN, ResNet
from harness.parts.optimizers import NAG
from harness.parts.schedules import Piecewise, Poly
from harness.spec import Spec
from harness.tasks.detect import Detect
from harness.tasks.segment import Segment
from tests.kit.coloured import Coloured
from tests.kit.scenes import annotation, devkit, masked

HOME = tempfile.TemporaryDirectory(prefix="harness-scenes-")
os.environ.setdefault("HARNESS_RUNS", HOME.name)  # for what this process reads of images
SIZES = [(64, 48), (40, 56), (48, 48), (64, 40), (56, 48), (44, 60), (60, 44), (48, 64)]  # px, width and height
COUNTS = {"train": 8, "val": 5, "test": 6}


def _boxes(width: int, height: int, place: int) -> list[tuple[str, int, int, int, int]]:
    """A large object and, on two of three images, a small one."""
    found = [("cat" if place % 2 else "Dog", 3 + place, 4, width - 6, height - 2 - place)]
    if place % 3:
        found.append(("Dog" if place % 2 else "cat", 5, 6 + place, 22 + 2 * place, 30))
    return found


def _photos(root: Path) -> None:
    """Of VOC's layout: train, val and test, one image without a box, some difficult boxes, and one without area."""
    lists = {
        split: {
            f"{split}{i}": (*SIZES[i], [] if (split, i) == ("train", 7) else _boxes(*SIZES[i], i)) for i in range(count)
        }
        for split, count in COUNTS.items()
    }
    folder = devkit(root / "voc", lists)
    for name, place in (("train3", 3), ("test1", 1), ("test4", 4)):
        size = SIZES[place]
        hard = [("cat", 8, 10, size[0] - 9, 38)]
        text = annotation(_boxes(*size, place), size).replace(
            "</annotation>", annotation(hard, difficult=1)[len("<annotation><folder>VOC</folder>") :]
        )
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    flat = [*_boxes(*SIZES[5], 5), ("cat", 30, 20, 30, 20)]
    (folder / "Annotations" / "train5.xml").write_text(annotation(flat, SIZES[5]))
    for split, count in (("training", COUNTS["train"]), ("validation", COUNTS["test"])):
        for i in range(count):
            masked(root / "ade", split, f"{split}{i}", SIZES[i], seed=i + 20 * (split == "validation"), mask=_mask(i))


def _mask(place: int) -> np.ndarray:
    """Bands of classes 1 to 3, and some of 0, which is not labelled."""
    width, height = SIZES[place]
    rows, columns = np.mgrid[0:height, 0:width]
    bands: np.ndarray = (rows // (7 + place) + columns // (11 + place)) % 4
    return bands.astype(np.uint8)


_photos(Path(HOME.name))
NETWORK = ResNet(blocks=(1, 1, 1), bottleneck=False, width=8, variant="B")
BACKBONE: Spec = BASELINE.but(data=Coloured(), model=NETWORK, batch_size=12, epochs=2, augment=())
DETECTOR: Spec = BASELINE.but(
    data=VOC(root=f"{HOME.name}/voc", train=(("2007", "train"),), test=(("2007", "test"),), short=40, long=64),
    model=FasterRCNN(
        backbone=BACKBONE,
        frozen_stages=2,
        anchors=(16, 32),
        anchor_samples=32,
        region_samples=16,
        proposals=(60, 100),
        before_nms=(200, 200),
        pooled=4,
        nms=0.5,
        detections=40,
    ),
    task=Detect(),
    decay=DecayAll(),
    optimizer=NAG(lr=0.01, per=None),
    batch_size=2,
    epochs=3,
    augment=(Flip(),),
)
SEGMENTER: Spec = BASELINE.but(
    data=ADE20K(root=f"{HOME.name}/ade", short=40, long=64),
    model=FCN(backbone=BACKBONE, output_stride=4),
    task=Segment(),
    decay=DecayAll(),
    optimizer=NAG(lr=0.05, per=None),
    rates=HeadRates(heads=2.0),
    schedule=Piecewise(shape=Poly()),
    batch_size=2,
    epochs=3,
    augment=(Flip(),),
)


@cache
def _below(spec: Spec, seed: int) -> loop.Trained:
    return loop.train(spec, seed, torch.device("cpu"), lambda up: below(up, seed))


def below(spec: Spec, seed: int) -> Upstream:
    """The trained run of a backbone."""
    done = _below(spec, seed)
    return Upstream(copy.deepcopy(done.model), spec.id, done.result, seed)
