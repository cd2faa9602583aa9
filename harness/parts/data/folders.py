"""Images in files: any ImageFolder tree, and Places365.

Every file is read and decoded once before the first epoch; see `harness.parts.data.reading`.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import AfterValidator, Field

import harness.parts.data.nvjpeg as nvjpeg
import harness.parts.data.reading as disk
from harness import Problem, installed
from harness.evidence import Check, Trace
from harness.parts.augment import OnPixels
from harness.parts.data.gathered import Look, gathered
from harness.parts.data.images import SMALL, Images
from harness.parts.data.listing import Listing, places, tree
from harness.parts.data.photos import Decoder, Photos, toned
from harness.parts.data.reading import opened, rgb
from harness.parts.data.splits import Split
from harness.paths import expanded
from harness.spec import Data, Flag, Spec

LOOKED, SAMPLE = 32, 8  # classes, and files of each, that are looked at again
PAPER_MEAN, PAPER_STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)
Folder = Annotated[Path, AfterValidator(expanded)]


class Files(Data):
    """Image files below `root`, at `size` x `size` px, RGB.

    Up to 64 px images are brought to `size` by their short edge and centre; larger ones are cut as the augmentation
    says, and by the paper's centre crop for test: the first Crop of an augmentation is done there, so before the other
    parts, wherever it stands among them, and next those on pixels, in their order. With `fit="squash"` the whole image
    is resized to a square, its aspect ratio given up: for test, and of small images always; and for training where
    there is no Crop, as without it. `decoder="torchcodec"` has photos decoded by torchcodec and resized by torch:
    other pixels than Pillow's, in less time; see `harness.parts.data.tensors`. `decoder="nvjpeg"` has them decoded by
    the GPU, in batches, and resized there; see `harness.parts.data.nvjpeg`.

    Images are as they are stored: a camera's note of its orientation (EXIF) is not heeded, as torchvision and timm do
    not. Normalised by the paper's mean and s.d. unless given. Raises Problem on a class without images and on images
    that do not decode; nothing is ever substituted. `limit` and `limit_test` take a slice, of which alone the files are
    read (and the headers of files without an image ending); see `limited`. `grey` gives one channel, by the luma of
    red, green and blue, and of mean and s.d. too. `split` sets a test set apart where there is none. `names` is a file
    of what the classes are called, as `names.named` reads it; it is no part of a specification, as is all that says
    where the images lie.
    """

    place_fields: ClassVar[frozenset[str]] = Data.place_fields | {"names"}

    root: Folder
    size: int = Field(224, ge=4)
    mean: tuple[float, float, float] = PAPER_MEAN
    std: tuple[float, float, float] = PAPER_STD
    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)
    fit: Literal["squash"] | None = None
    decoder: Decoder | None = None
    grey: Flag | None = None
    split: Split | None = None
    names: Folder | None = None

    @property
    def channels(self) -> int:
        return 1 if self.grey else 3

    def settings(self) -> dict[str, Any]:
        """With how photos are decoded, as `shrunk` has it: runs by other pixels have other ids."""
        return super().settings() | ({"decoding": 2} if self.size > SMALL else {})

    def check(self, spec: Spec) -> None:
        if self.decoder and self.size <= SMALL:
            raise ValueError(f"data.decoder is for photos, above {SMALL} px: leave it out")
        if self.decoder:
            installed("torchcodec", extra="torchcodec")
        if self.decoder == "nvjpeg":
            if self.grey:
                raise ValueError("data.decoder='nvjpeg' gives colours: leave data.grey out, or the decoder")
            for part in spec.augment:
                if isinstance(part, OnPixels):
                    kind = type(part).__name__
                    raise ValueError(f"{kind} works where processes decode photos: leave data.decoder='nvjpeg' out")

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Photos drawn from those for training: decoded by the GPU they are about what Pillow makes of them."""
        images = spec.data.load()
        if isinstance(images, Photos) and images.decoder == "nvjpeg":
            drawn = trace.rng("audit", "decoder").permutation(images.counts["train"])[:SAMPLE]
            every = [images.again(images.files["train"][place][0]) for place in drawn]
            pairs = zip(nvjpeg.pixels(every), (np.asarray(rgb(image), np.float64) for image in every), strict=True)
            gap = max(float(np.abs(ours - theirs).mean()) for ours, theirs in pairs)
            what = f"{len(drawn)} photos decoded, from Pillow's, of 255: mean gap"
            yield Check(what, f"below {nvjpeg.APART}", f"{gap:.2g}", gap < nvjpeg.APART)

    @abstractmethod
    def listing(self) -> "Listing":
        """Raises Problem where what is there is laid out otherwise."""

    def load(self) -> Images:
        return _loaded(self)

    def stored(self, read: bytes) -> str:
        """What `Images.content` has of a file, for proofs: its digest, or of a small image that of its pixels."""
        if self.size > SMALL:
            return hashlib.sha256(read).hexdigest()
        try:
            whole = rgb(opened(Path("an image"), read))
        except Problem:  # no image, which is told elsewhere
            return ""
        size, (width, height) = self.size, whole.size
        if self.fit == "squash":
            pixels = np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR))
        else:
            wide, high = (max(size, round(side * size / min(width, height))) for side in (width, height))
            left, top = (wide - size) // 2, (high - size) // 2
            grown = whole if (wide, high) == whole.size else whole.resize((wide, high), Image.Resampling.BILINEAR)
            pixels = np.asarray(grown)[top : top + size, left : left + size]
        pixels = toned(pixels, self.channels)
        return hashlib.sha256(np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()).hexdigest()


class ImageFolder(Files):
    """A tree `root/train/CLASS/FILE`, `root/val/CLASS/FILE`; `val` is the test set. ImageNet as torchvision leaves it.

    `train` and `test` name the two folders where they are called otherwise; without, `test` for `val` and the like are
    guessed, which a note says. With a `split` there is no `val`, and `root/CLASS/FILE` will do as well. What the
    folders are called, and where they lie, is not in the id. What is an image is decided by content, not by ending;
    EXIF does not turn it. Beyond `Files`, raises Problem on a missing or empty folder, on one class, and on classes
    that differ between the two.
    """

    place_fields: ClassVar[frozenset[str]] = Files.place_fields | {"train", "test"}

    train: str | None = None
    test: str | None = None

    def listing(self) -> Listing:
        return tree(self.root, self.train, self.test, self.split)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Images drawn from the folders, read by Pillow alone: each is served as its folder's class."""
        yield from super().proof(spec, trace)
        images, known, there = spec.data.load(), dict[str, set[int]](), self.listing()
        for split in images.counts:
            for content, label in zip(images.content(split), images.labels(split).tolist(), strict=True):
                known.setdefault(content, set()).add(label)
        found, amiss = 0, 0
        classes = sorted(there.classes)
        for label in sorted(trace.rng("audit", "classes").permutation(len(classes))[:LOOKED].tolist()):
            folders = [self.root / part / classes[label] for part in there.parts.values()]
            every = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
            drawn = trace.rng("audit", "class", label).permutation(len(every))[:SAMPLE]
            for path in (every[i] for i in drawn):
                served = known.get(self.stored(path.read_bytes()))
                found += served is not None
                amiss += served is not None and label not in served
        what = f"images drawn from {min(LOOKED, len(classes))} classes' folders, {SAMPLE} each, served as another class"
        yield Check(what, "0", f"{amiss} of {found}", amiss == 0)


class Places365(Files):
    """Places365-Standard as `torchvision.datasets.Places365` lays it out; its validation images are the test set.

    `root` holds categories_places365.txt, places365_train_standard.txt, places365_val.txt, and the images of
    `small` (256 x 256 px) in data_256_standard/ and val_256/, the others in data_large_standard/ and val_large/.
    """

    small: bool = True

    def listing(self) -> Listing:
        return places(self.root, "256" if self.small else "large")


@disk.kept
@lru_cache
def _loaded(part: Files) -> Images:
    look = Look(part.size, part.mean, part.std, part.fit, bool(part.grey), part.decoder)
    return gathered(
        f"data.root={part.root}", part.listing(), look, (part.limit, part.limit_test), part.split, part.names
    )


def distrust() -> None:
    """From now on, in this process, read every file anew, whatever is remembered of it."""
    disk.trusting = False
    for load in disk.loads:
        load.cache_clear()
