"""Small folders of photos with boxes, in VOC's layout, and with masks, in that of ADE20K."""

import struct
import zlib

import numpy as np
from PIL import Image

from harness.parts.data import ADE20K, VOC
from harness.parts.decay import DecayAll
from harness.parts.init import Xavier
from harness.parts.models import FCN, FasterRCNN, ResNet
from harness.parts.optimizers import SGD
from harness.parts.precision import FP32
from harness.parts.schedules import Piecewise
from harness.rng import streams
from harness.spec import Spec
from harness.tasks.detect import Detect
from harness.tasks.segment import Segment
from tests.kit.folders import CPU

# by list: of each image its width and height, and its boxes: name, xmin, ymin, xmax, ymax
ROOM = {
    "train": {
        "wide": (64, 40, [("cat", 1, 1, 20, 30), ("Dog", 30, 11, 64, 40)]),
        "tall": (30, 50, [("cat", 5, 6, 25, 46)]),
        "square": (40, 40, [("Dog", 2, 3, 39, 38), ("cat", 11, 12, 14, 16), ("cat", 20.5, 20, 30, 31.5)]),
        "empty": (48, 36, []),
    },
    "val": {"held": (50, 40, [("cat", 3, 4, 30, 30)])},
    "test": {"late": (44, 60, [("Dog", 4, 4, 40, 50)]), "later": (60, 44, [("cat", 1, 2, 3, 4)])},
}


def photo(path, width, height, seed=0, **options):
    """Smooth, so that it is still itself when it is resized, and with a little noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / rng.uniform(3, 9) + columns / rng.uniform(3, 9)) for _ in range(3)]
    pixels = 127 + 90 * np.stack(waves, -1) + rng.integers(-9, 10, (height, width, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)
    return path


def annotation(boxes, size=None, difficult=0):
    """The text of a VOC annotation; the tag `difficult` is left out for None."""
    mark = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    objects = "".join(
        f"<object><name>{name}</name>{mark}<bndbox><ymin>{ymin}</ymin><xmin>{xmin}</xmin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
        for name, xmin, ymin, xmax, ymax in boxes
    )
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><folder>VOC</folder>{told}{objects}</annotation>"


def devkit(root, lists=ROOM, year="2007"):
    """`root/VOC<year>`; answers that folder."""
    folder = root / f"VOC{year}"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for which, images in lists.items():
        (folder / "ImageSets" / "Main" / f"{which}.txt").write_text("".join(f"{one}\n" for one in images))
        for one, (width, height, boxes) in images.items():
            photo(folder / "JPEGImages" / f"{one}.jpg", width, height, zlib.crc32(one.encode()))
            (folder / "Annotations" / f"{one}.xml").write_text(annotation(boxes, (width, height)))
    return folder


def masked(root, split="training", name="a", size=(40, 30), classes=3, seed=0, mask=None):
    """A photo of (width, height) and its mask, of random blocks of 0..classes; answers the mask's path."""
    photo(root / "images" / split / f"{name}.jpg", *size, seed)  # type: ignore[call-arg]
    rng = np.random.default_rng(seed)
    if mask is None:
        blocks = rng.integers(0, classes + 1, (size[1] // 5 + 1, size[0] // 5 + 1), dtype=np.uint8)
        mask = blocks.repeat(5, 0).repeat(5, 1)[: size[1], : size[0]]
    path = root / "annotations" / split / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return path


def streets(root, train=5, test=3):
    """Images of several sizes, each with a mask of three classes."""
    sizes = [(64, 40), (30, 50), (40, 40), (48, 36), (44, 60)]
    for split, count in (("training", train), ("validation", test)):
        for i in range(count):
            masked(root, split, f"{split}{i}", sizes[i % len(sizes)], seed=i + 10 * (split == "validation"))
    return root


def grey_png(path, pixels, bits):
    """A greyscale png of 2 or 4 bits a pixel, which Pillow reads and does not write."""
    height, width = pixels.shape
    rows = b""
    for row in pixels:
        padded = [*row.tolist(), *[0] * (-width % (8 // bits))]
        groups = [padded[i : i + 8 // bits] for i in range(0, len(padded), 8 // bits)]
        rows += b"\0" + bytes(sum(v << (8 - bits * (k + 1)) for k, v in enumerate(group)) for group in groups)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def epoch(images, batch_size=2, number=0, augment=(), seed=0, start=0):
    return list(images.train(number, batch_size, augment, streams(seed), CPU, start=start))


NETWORK = ResNet(blocks=(1, 1), bottleneck=False, width=8, variant="B")


def detector(root, data=None):
    """A specification of a tiny detector, from scratch, of the devkit at `root`."""
    lists = {"train": (("2007", "train"),), "test": (("2007", "test"),)}
    model = FasterRCNN(
        backbone=NETWORK, anchors=(8, 16), anchor_samples=16, region_samples=8, pooled=3, before_nms=(60, 60)
    )
    data = data or VOC(root=root, short=32, long=64, **lists)
    return _trained(Detect(), data, model, SGD(lr=0.01, per=None))


def segmenter(root, data=None):
    """A specification of a tiny segmenter, from scratch, of the folder `root` in ADE20K's layout."""
    data = data or ADE20K(root=root, short=32, long=64)
    return _trained(Segment(), data, FCN(backbone=NETWORK), SGD(lr=0.01, per=None))


def _trained(task, data, model, optimizer):
    own = {"data": data, "model": model, "task": task, "optimizer": optimizer}
    common = {"init": (Xavier(),), "decay": DecayAll(), "schedule": Piecewise(), "precision": FP32()}
    return Spec(**own, **common, batch_size=2, epochs=2)
