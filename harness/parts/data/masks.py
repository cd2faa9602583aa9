"""Images with masks, a class a pixel: the layouts of ADE20K (Zhou et al. 2017) and Cityscapes (Cordts et al. 2016)."""

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.augment import Cut
from harness.parts.data.folders import PAPER_MEAN, PAPER_STD, SAMPLE, Folder
from harness.parts.data.gathered import limited
from harness.parts.data.listing import is_folder, is_left, listed
from harness.parts.data.reading import brief, looked, named_as_image, opened, size_of, told
from harness.parts.data.scenes import Scene, Scenes, digested, followed, learnable, there
from harness.spec import Data, Spec

Pairs = dict[str, list[tuple[str, str]]]  # (image, mask), paths below the root, by split
VALUES = 2**16  # that a pixel of a mask may have
CITY = {  # by the value in labelIds; the place among these is that in labelTrainIds
    **{7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light"},
    **{20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car"},
    **{27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"},
}


@dataclass(frozen=True)
class Found:
    """Which images and masks there are, and what the values of a mask are."""

    pairs: Pairs
    notes: list[str]  # on what lies beside
    labels: dict[int, int] | None  # by value; None: 1..K are 0..K-1, K the greatest there is
    classes: tuple[str, ...] | None  # None: "1".."K"
    void: frozenset[int]  # values that say that a pixel is not labelled


class Segmented(Data):
    """Photos with a mask each, of one channel: greyscale of 8 or 16 bits, or a palette, which is read by its indices.

    The short side is resized to `short` px, the long one to `long` px at most, bilinear; of a mask the nearest pixel is
    taken. As in `Files`, EXIF does not turn an image. It is tested by the mask at its own size: see `Masks.truth`.
    Values that name no class are not labelled, and told. Raises Problem on missing files, masks of another size than
    their image, masks in colours, and classes that training has not. `limit` and `limit_test` take a slice, of which
    alone files are read.
    """

    root: Folder
    short: int = Field(520, ge=16)
    long: int = Field(2048, ge=16)
    mean: tuple[float, float, float] = PAPER_MEAN
    std: tuple[float, float, float] = PAPER_STD
    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)

    @property
    def channels(self) -> int:
        return 3

    @property
    def truth(self) -> Literal["class", "boxes", "mask"]:
        return "mask"

    def check(self, spec: Spec) -> None:
        followed(spec)

    @abstractmethod
    def found(self) -> Found:
        """Raises Problem where what is there is laid out otherwise."""

    def load(self) -> "Masks":
        return _loaded(self)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Masks drawn from each split, counted once more by Pillow: as many pixels are known to be of each class."""
        images, amiss, pixels = self.load(), 0, 0
        for split, scenes in images.scenes.items():
            for place in trace.rng("audit", "masks", split).permutation(len(scenes))[:SAMPLE].tolist():
                with Image.open(self.root / scenes[place].truth) as image:
                    if image.mode not in ("L", "P") or _bits(image) < 8:  # which Pillow does not count
                        continue
                    due = Counter[int]()
                    for value, count in enumerate(image.histogram()):
                        due[images.named.get(value, -1)] += count
                known = Counter(images.truth(split, place).ravel().tolist())
                pixels += due.total()
                amiss += (due - known).total()
        what = f"pixels of masks drawn, {SAMPLE} a split, that are known otherwise than they are stored"
        yield Check(what, "0", f"{amiss:,} of {pixels:,}", amiss == 0)


class ADE20K(Segmented):
    """`root/images/{training,validation}` and a png each in `root/annotations/{…}`, as ADEChallengeData2016 has them.

    0 is not labelled, and 1..K are the classes 0..K-1: those that objectInfo150.txt names or, without it, "1".."K" up
    to the greatest there is. The validation images are the test set.
    """

    def found(self) -> Found:
        splits = {"train": "training", "test": "validation"}
        pairs, alone, unread = Pairs(), list[str](), list[str]()
        for split, part in splits.items():
            images = _files(self.root, f"images/{part}")
            masks = _files(self.root, f"annotations/{part}")
            shown = [name for name in images if named_as_image(name)]
            pairs[split] = [
                (f"images/{part}/{name}", f"annotations/{part}/{Path(name).with_suffix('.png')}") for name in shown
            ]
            used = {Path(mask).name for _, mask in pairs[split]}
            alone += [f"annotations/{part}/{name}" for name in masks if name not in used]
            unread += [f"images/{part}/{name}" for name in images if name not in shown]
        names = _names(self.root / "objectInfo150.txt")
        labels = {value: value - 1 for value in range(1, len(names) + 1)} if names else None
        notes = [*told(f"{len(alone)} masks without an image, skipped", alone), *told("skipped", unread)]
        return Found(pairs, notes, labels, names, frozenset({0}))


class Cityscapes(Segmented):
    """`root/leftImg8bit/{train,val}/CITY/X_leftImg8bit.png`, `root/gtFine/{train,val}/CITY/X_gtFine_labelTrainIds.png`.

    Where there is none of these, X_gtFine_labelIds.png, of whose values the 19 classes are taken that Cityscapes
    judges. 255 is not labelled. The `val` images are the test set.
    """

    def found(self) -> Found:
        pairs, unread = dict[str, list[tuple[str, str, str]]](), list[str]()
        for split, part in {"train": "train", "test": "val"}.items():
            pairs[split] = []
            for city, folder in sorted(_listed(self.root, f"leftImg8bit/{part}").items()):
                for name in _files(self.root, f"leftImg8bit/{part}/{city}") if folder and not is_left(city) else ():
                    stem, ours, _ = name.partition("_leftImg8bit.png")
                    if not ours:
                        unread.append(f"leftImg8bit/{part}/{city}/{name}")
                        continue
                    mask = f"gtFine/{part}/{city}/{stem}_gtFine_label"
                    pairs[split].append((f"leftImg8bit/{part}/{city}/{name}", f"{mask}TrainIds.png", f"{mask}Ids.png"))
        trained = any((self.root / mask).exists() for own in pairs.values() for _, mask, _ in own)
        chosen = {split: [(own[0], own[1 if trained else 2]) for own in some] for split, some in pairs.items()}
        labels = {value if not trained else label: label for label, value in enumerate(CITY)}
        void = {255} if trained else {255, *range(34)} - set(CITY)  # labelIds has 34, with those that are not judged
        return Found(chosen, told("skipped", unread), labels, tuple(CITY.values()), frozenset(void))


def _listed(root: Path, part: str) -> dict[str, bool]:
    if not is_folder(root / part):
        raise Problem(f"data.root={root}: no folder {part}; see the class of data for how files are to lie")
    return listed(f"{root}/{part}")


def _files(root: Path, part: str) -> list[str]:
    return sorted(name for name, folder in _listed(root, part).items() if not folder and not is_left(name))


def _names(path: Path) -> tuple[str, ...] | None:
    """The classes of objectInfo150.txt: after a line of titles the number comes first, the name last, tabs between."""
    if not path.exists():
        return None
    try:
        rows = [line.split("\t") for line in path.read_text().splitlines()[1:] if line.strip()]
        numbers, names = [int(row[0]) for row in rows], tuple(row[-1].strip() for row in rows)
    except (OSError, ValueError) as error:
        raise Problem(f"{path} is no table of classes ({brief(error)}): repair it or take it out") from None
    if not rows or numbers != list(range(1, len(rows) + 1)) or len(set(names)) < len(names):
        raise Problem(f"{path}: classes 1, 2, … are needed, one a line, each with a name of its own, tabs between")
    return names


@dataclass
class Masks(Scenes):
    """Images with a class a pixel; of each the mask at its own size, int16 H x W: 0..K-1, and -1 for not labelled."""

    named: dict[int, int] = field(default_factory=dict)  # labels by the values of the files

    @cached_property
    def table(self) -> np.ndarray:
        """The label of every value that a pixel may have."""
        table = np.full(VALUES, -1, np.int16)
        table[list(self.named)] = list(self.named.values())
        return table

    def truth(self, split: str, place: int) -> np.ndarray:
        mask: np.ndarray = self.table[values(opened(self.root / self.scenes[split][place].truth))]
        return mask

    def answers(self, places: np.ndarray, cuts: Sequence[Cut], canvas: tuple[int, int]) -> np.ndarray:
        y = np.full((len(places), *canvas), -1, np.int64)
        for into, place, cut in zip(y, places, cuts, strict=True):
            mask = self.truth("train", int(place))
            rows = nearest(mask.shape[0], cut.tall)[cut.top : cut.top + cut.height]
            columns = nearest(mask.shape[1], cut.wide)[cut.left : cut.left + cut.width]
            into[: cut.height, : cut.width] = mask[np.ix_(rows, columns)]
        return y

    def again(
        self, split: str, places: np.ndarray, cuts: Sequence[tuple[int, ...]], canvas: Sequence[int]
    ) -> np.ndarray:
        y = np.full((len(places), *canvas), -1, np.int64)
        for padded, place, (high, wide, top, left, rows, columns) in zip(y, places, cuts, strict=True):
            with Image.open(self.root / self.scenes[split][place].truth) as image:
                by = {2: 85, 4: 17}.get(_bits(image), 1)
                stored = np.array(image).astype(np.int64)
            down, across = Fraction(stored.shape[0], high), Fraction(stored.shape[1], wide)
            of = [int((top + i + Fraction(1, 2)) * down) for i in range(rows)]
            at = [int((left + j + Fraction(1, 2)) * across) for j in range(columns)]
            shown = stored[of][:, at]
            for value, label in self.named.items():
                padded[:rows, :columns][shown == by * value] = label
        return y


def nearest(old: int, new: int) -> np.ndarray:
    """The pixel, of `old`, that lies under the middle of each of `new`; in integers, floats would miss some."""
    places: np.ndarray = (2 * np.arange(new) + 1) * old // (2 * new)
    return places


def _bits(image: Image.Image) -> int:
    """Of a pixel as it is stored: Pillow makes 0..255 of 2 and 4 bits of grey, and then 1 is 85 or 17."""
    raw = [str(tile[3][0] if isinstance(tile[3], tuple) else tile[3]) for tile in getattr(image, "tile", ())]
    return next((bits for bits in (2, 4) if f"L;{bits}" in raw), 8)


def values(image: Image.Image) -> np.ndarray:
    """What a mask's pixels are as they are stored, int64 H x W; of a palette its indices."""
    bits = _bits(image)  # before it is decoded
    stored = np.asarray(image).astype(np.int64)
    return stored // (255 // (2**bits - 1)) if bits < 8 else stored


def mask_of(path: Path) -> list[Any]:
    """[height, width, mode, pixels by value, digest of the values], of a mask file; of one in colours no values."""
    image = opened(path)
    width, height = image.size
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        return [height, width, image.mode, {}, ""]
    stored = values(image)
    found, counts = np.unique(stored, return_counts=True)
    counted = {str(value): int(count) for value, count in zip(found.tolist(), counts.tolist(), strict=True)}
    return [height, width, image.mode, counted, hashlib.sha256(stored.tobytes()).hexdigest()]


@disk.kept
@lru_cache
def _loaded(part: Segmented) -> Masks:
    root, found = part.root, part.found()
    pairs = dict(found.pairs)
    for split, limit in (("train", part.limit), ("test", part.limit_test)):
        if not pairs[split]:
            raise Problem(f"data.root={root}: there are no {'training' if split == 'train' else 'test'} images")
        chosen = limited(np.zeros(len(pairs[split]), dtype=np.int64), limit)
        pairs[split] = [pairs[split][i] for i in chosen]
    every = [pair for own in pairs.values() for pair in own]
    there(root, [name for pair in every for name in pair])
    sums, notes = digested(root, [image for image, _ in every])
    masks, _ = digested(root, [mask for _, mask in every])  # its notes are of photos
    sizes, seen = looked(root, sums, size_of), looked(root, masks, mask_of)
    _fitting(root, {mask: (seen[mask], sizes[image]) for image, mask in every})
    counted = {mask: {int(value): n for value, n in seen[mask][3].items()} for _, mask in every}
    named, classes = found.labels, found.classes
    if named is None or classes is None:
        most = max(value for one in counted.values() for value in one)
        named, classes = {value: value - 1 for value in range(1, most + 1)}, tuple(map(str, range(1, most + 1)))
    scenes = {split: list[Scene]() for split in pairs}
    for split, (image, mask) in ((split, pair) for split, own in pairs.items() for pair in own):
        present = frozenset(named[value] for value in counted[mask] if value in named)
        (height, width), mark = sizes[image], seen[mask][4]
        scenes[split].append(Scene(image, sums[image], height, width, mask, mark, present))
    content = {split: [(image, sums[image], masks[mask]) for image, mask in own] for split, own in pairs.items()}
    key = hashlib.sha256(json.dumps([classes, sorted(named.items()), content]).encode()).hexdigest()[:16]
    counts = {split: len(own) for split, own in scenes.items()}
    notes = [*found.notes, *notes, *_amiss(counted, named, found.void)]
    images = Masks(classes, 3, part.short, counts, key, part.mean, part.std, notes, root, scenes, part.long, named)
    if not images.present("train"):
        raise Problem(f"data.root={root}: no training mask has a pixel that is labelled")
    idle = [name for label, name in enumerate(classes) if label not in images.present("train") | images.present("test")]
    notes += told(f"{len(idle)} of {len(classes)} classes are in no mask", idle)
    notes += learnable(images, part.limit is not None)
    return images


def _fitting(root: Path, seen: dict[str, tuple[list[Any], list[int]]]) -> None:
    """Raise Problem where masks are in colours, or of another size than their images."""
    colours = [f"{mask} ({own[2]})" for mask, (own, _) in seen.items() if not own[4]]
    if colours:
        what = told(f"{len(colours)} masks are in colours", colours)[0]
        raise Problem(
            f"data.root={root}: {what}; save them with the number of the class in each pixel, grey or palette"
        )
    others = [f"{m} ({own[1]} x {own[0]} px on {w} x {h})" for m, (own, (h, w)) in seen.items() if own[:2] != [h, w]]
    if others:
        what = told(f"{len(others)} masks are of another size than their images", others)[0]
        raise Problem(f"data.root={root}: {what}; nobody knows which pixel is whose: make them anew")


def _amiss(counted: dict[str, dict[int, int]], named: dict[int, int], void: frozenset[int]) -> list[str]:
    """What is odd in masks, a line a kind, counted."""
    beyond, empty = list[str](), list[str]()
    for mask, pixels in counted.items():
        strange = sorted(value for value in pixels if value not in named and value not in void)
        if strange:
            beyond.append(f"{mask} ({', '.join(f'{value}: {pixels[value]:,} px' for value in strange[:3])})")
        if not any(value in named for value in pixels):
            empty.append(mask)
    return [
        *told(f"{len(beyond)} masks with values that are no class, taken as not labelled", beyond),
        *told(f"{len(empty)} masks without a labelled pixel", empty),
    ]
