"""Images with boxes, in the layout of Pascal VOC (Everingham et al. 2010)."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from xml.dom import minidom
from xml.etree import ElementTree

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.augment import Cut
from harness.parts.data.folders import PAPER_MEAN, PAPER_STD, SAMPLE, Folder
from harness.parts.data.gathered import limited
from harness.parts.data.reading import brief, looked, size_of, told
from harness.parts.data.scenes import Scene, Scenes, apart, digested, followed, learnable, there
from harness.spec import Data, Spec

TWENTY = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SIDES = ("xmin", "ymin", "xmax", "ymax")
ImageSet = tuple[Annotated[str, Field(pattern=r"^\w+$")], Literal["train", "val", "trainval", "test"]]


class VOC(Data):
    """Photos with boxes: `root` is a VOCdevkit, with VOC<year>/JPEGImages, /Annotations and /ImageSets/Main.

    `train`, `test` and `held` are lists of images, by year and name; `held` is the split "val", measured while training
    goes on. By default VOC07+12 against VOC07's test set, as the paper's section 6.1 has it; what is in no list is not
    read. The short side is resized to `short` px, the long one to `long` px at most. The classes are VOC's twenty where
    all names in the annotations are of them, else the names of the training boxes, sorted, their case kept.

    As in `Files`, EXIF does not turn an image. Boxes that are no boxes (no width or height as written, or turned
    around, or beyond the image) are not trained on, others are cut at the image's edge; in `truth`, by which is tested,
    all stay as they are written, as VOC's devkit has it: there a box is 1-based with both ends in it, and one from 5 to
    5 has 1 px. All that is said in notes. Raises Problem on missing files, annotations that cannot be read, and classes
    that training has not. `limit` and `limit_test` take a slice, of which alone files are read.
    """

    root: Folder
    train: tuple[ImageSet, ...] = Field((("2007", "trainval"), ("2012", "trainval")), min_length=1)
    test: tuple[ImageSet, ...] = Field((("2007", "test"),), min_length=1)
    held: tuple[ImageSet, ...] = ()
    short: int = Field(600, ge=16)
    long: int = Field(1000, ge=16)
    mean: tuple[float, float, float] = PAPER_MEAN
    std: tuple[float, float, float] = PAPER_STD
    limit: int | None = Field(None, ge=1)
    limit_test: int | None = Field(None, ge=1)

    @property
    def channels(self) -> int:
        return 3

    @property
    def truth(self) -> Literal["class", "boxes", "mask"]:
        return "boxes"

    def check(self, spec: Spec) -> None:
        followed(spec)

    def load(self) -> "Boxes":
        return _loaded(self)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Annotations drawn from each split, read once more by another reader: each box is known as it is written."""
        images, amiss, boxes = self.load(), 0, 0
        for split, scenes in images.scenes.items():
            for place in trace.rng("audit", "boxes", split).permutation(len(scenes))[:SAMPLE].tolist():
                name = scenes[place].name.replace("/JPEGImages/", "/Annotations/").removesuffix("jpg") + "xml"
                due = Counter(_boxed(self.root / name))
                known = images.truth(split, place).tolist()
                served = Counter((images.classes[int(label) - 1], *edges) for label, *edges, _ in known)
                boxes += due.total()
                amiss += (due - served).total() + (served - due).total()
        what = f"boxes of images drawn, {SAMPLE} a split, that are known otherwise than they are written"
        yield Check(what, "0", f"{amiss} of {boxes}", amiss == 0)


def _boxed(path: Path) -> Iterable[tuple[str | float, ...]]:
    """(name, xmin, ymin, xmax, ymax) of each box that an annotation has, by the standard library's DOM."""
    for one in minidom.parse(str(path)).getElementsByTagName("object"):
        own: dict[str, Any] = {child.nodeName: child for child in one.childNodes}  # not those of its parts
        edges = [own["bndbox"].getElementsByTagName(side)[0].firstChild.data for side in SIDES]
        yield own["name"].firstChild.data.strip(), *map(float, edges)


@dataclass
class Boxes(Scenes):
    """Images with boxes; of each as its file has them, float64 B x 6: label 1..K, xmin, ymin, xmax, ymax, difficult."""

    def truth(self, split: str, place: int) -> np.ndarray:
        boxes: np.ndarray = self.scenes[split][place].truth
        return boxes

    @cached_property
    def most(self) -> int:
        """Boxes of the training image that has most."""
        return max(len(usable(scene)) for scene in self.scenes["train"])

    def answers(self, places: np.ndarray, cuts: Sequence[Cut], canvas: tuple[int, int]) -> np.ndarray:
        y = np.zeros((len(places), self.most, 6), np.float32)
        for row, place, cut in zip(y, places, cuts, strict=True):
            scene = self.scenes["train"][place]
            boxes = usable(scene)
            row[: len(boxes)] = boxes * (1, *(cut.wide / scene.width, cut.tall / scene.height) * 2, 1)
        return y

    def batched(self, y: Tensor, frames: Tensor) -> Tensor:
        return torch.cat([frames[:, None], y], 1)

    def again(
        self, split: str, places: np.ndarray, cuts: Sequence[tuple[int, ...]], canvas: Sequence[int]
    ) -> np.ndarray:
        every = [list(_pixels(scene)) for scene in self.scenes[split]]
        y = np.zeros((len(places), max(map(len, every)), 6))
        for i, (place, (high, wide, *_)) in enumerate(zip(places, cuts, strict=True)):
            scene = self.scenes[split][place]
            for j, (label, (left, top, right, bottom), difficult) in enumerate(every[place]):
                across, down = ((side * wide / scene.width for side in (left, right)), (top, bottom))
                (x1, x2), (y1, y2) = across, (side * high / scene.height for side in down)
                y[i, j] = label, x1, y1, x2, y2, difficult
        return y

    def framed(self, split: str, places: np.ndarray, cuts: Sequence[tuple[int, ...]], y: np.ndarray) -> np.ndarray:
        scenes = [self.scenes[split][place] for place in places]
        rows = [(*cut[4:], *scene[2:4], place, 0) for cut, scene, place in zip(cuts, scenes, places, strict=True)]
        return np.concatenate([np.array(rows, dtype=np.float64)[:, None], y], 1)


def usable(scene: Scene) -> np.ndarray:
    """The boxes of an image that can be trained on, cut at its edges, continuous: x1 = xmin - 1, x2 = xmax."""
    boxes = scene.truth[(scene.truth[:, 3:5] > scene.truth[:, 1:3]).all(1)] - (0, 1, 1, 0, 0, 0)
    boxes[:, 1:5] = boxes[:, 1:5].clip(0, (scene.width, scene.height) * 2)
    kept: np.ndarray = boxes[(boxes[:, 3:5] > boxes[:, 1:3]).all(1)]
    return kept


def _pixels(scene: Scene) -> Iterable[tuple[float, tuple[float, ...], float]]:
    """`usable`, written a second time, a box at a time: (label, edges, difficult)."""
    for label, xmin, ymin, xmax, ymax, difficult in scene.truth.tolist():
        if xmin >= xmax or ymin >= ymax:
            continue
        left, right = max(xmin - 1, 0.0), min(xmax, float(scene.width))
        top, bottom = max(ymin - 1, 0.0), min(ymax, float(scene.height))
        if left < right and top < bottom:
            yield label, (left, top, right, bottom), difficult


class Written(NamedTuple):
    """What an annotation says."""

    names: list[str]  # of the boxes
    boxes: np.ndarray  # B x 5: xmin, ymin, xmax, ymax, difficult
    size: tuple[int, int] | None  # height, width, where it is told
    sha: str


def written(path: Path) -> Written:
    """Raises Problem, naming the file, where it is no annotation."""
    try:
        text = path.read_bytes()
        found = ElementTree.fromstring(text)
        names, rows = [], []
        for one in found.findall("object"):
            name, box = (one.findtext("name") or "").strip(), one.find("bndbox")
            if not name or box is None:
                raise ValueError("an object without name or bndbox")
            rows.append([*(float(box.findtext(side, "none")) for side in SIDES), int(one.findtext("difficult") or 0)])
            names.append(name)
            if not all(map(math.isfinite, rows[-1])):
                raise ValueError("a box of no finite numbers")
        told = [found.findtext(f"size/{side}") for side in ("height", "width")]
        size = (int(float(told[0])), int(float(told[1]))) if told[0] and told[1] else None
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise Problem(f"{path} is no annotation as VOC has them ({brief(error)}): repair it or take it out") from None
    return Written(names, np.array(rows, dtype=np.float64).reshape(-1, 5), size, hashlib.sha256(text).hexdigest())


def _read(root: Path, names: Sequence[str]) -> dict[str, Written]:
    """Raises Problem where annotations cannot be read, naming and counting them."""
    known, broken = dict[str, Written](), list[Problem]()
    for name in dict.fromkeys(names):
        try:
            known[name] = written(root / name)
        except Problem as problem:
            broken.append(problem)
    if broken:
        rest = f"; and {len(broken) - 5:,} more" if len(broken) > 5 else ""
        raise Problem(f"{len(broken)} of {len(names)} annotations: {'; '.join(map(str, broken[:5]))}{rest}")
    return known


def _listed(root: Path, lists: Sequence[ImageSet], name: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The images of some lists as (year, id), each once, and those that were there twice."""
    found, twice = dict[tuple[str, str], None](), []
    for year, which in lists:
        path = root / f"VOC{year}" / "ImageSets" / "Main" / f"{which}.txt"
        try:
            ids = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise Problem(
                f"data.{name}: {path} cannot be read ({brief(error)}); data.root is to hold "
                "VOC<year>/{Annotations,ImageSets/Main,JPEGImages}"
            ) from None
        odd = next((one for one in ids if len(one.split()) > 1), None)
        if odd or not ids:
            raise Problem(f"data.{name}: {path} is no list of ids, one a line" + (f": {odd}" if odd else ""))
        for one in ids:
            if (year, one) in found:
                twice.append(one)
            found[year, one] = None
    return list(found), twice


@disk.kept
@lru_cache
def _loaded(part: VOC) -> Boxes:
    root, notes = part.root, []
    entries: dict[str, list[tuple[str, str]]] = {}
    for split, name, lists in (("train", "train", part.train), ("val", "held", part.held), ("test", "test", part.test)):
        if lists:
            entries[split], twice = _listed(root, lists, name)
            notes += told(f"{len(twice)} images are listed twice in data.{name}, and taken once", twice)
    for split, limit in (("train", part.limit), ("test", part.limit_test)):
        chosen = limited(np.zeros(len(entries[split]), dtype=np.int64), limit)
        entries[split] = [entries[split][i] for i in chosen]
    paths = {
        split: [(f"VOC{year}/JPEGImages/{one}.jpg", f"VOC{year}/Annotations/{one}.xml") for year, one in listed]
        for split, listed in entries.items()
    }
    every = [pair for pairs in paths.values() for pair in pairs]
    there(root, [name for pair in every for name in pair])
    sums, more = digested(root, [image for image, _ in every])
    sizes = looked(root, sums, size_of)
    known = _read(root, [annotation for _, annotation in every])
    classes = _classes({split: [known[own] for _, own in pairs] for split, pairs in paths.items()}, root)
    label = {name: place for place, name in enumerate(classes, 1)}
    scenes = {split: list[Scene]() for split in paths}
    for split, pairs in paths.items():
        for image, annotation in pairs:
            labels = np.array([label[name] for name in known[annotation].names], dtype=np.float64)
            boxes = np.column_stack([labels, known[annotation].boxes])
            mark = hashlib.sha256(boxes.tobytes()).hexdigest()
            height, width = sizes[image]
            scene = Scene(image, sums[image], height, width, boxes, mark, frozenset())
            seen = usable(scene) if split == "train" else boxes
            scenes[split].append(scene._replace(present=frozenset((seen[:, 0] - 1).astype(int).tolist())))
    content = {split: [(image, sums[image], known[own].sha) for image, own in pairs] for split, pairs in paths.items()}
    key = hashlib.sha256(json.dumps([classes, content]).encode()).hexdigest()[:16]
    counts = {split: len(own) for split, own in scenes.items()}
    images = Boxes(classes, 3, part.short, counts, key, part.mean, part.std, notes, root, scenes, part.long)
    if not images.most:
        raise Problem(f"data.root={root}: no training image has a box that can be trained on")
    apart(images)
    notes += [*more, *_names(classes), *_amiss(images, {image: known[own] for image, own in every})]
    notes += learnable(images, part.limit is not None)
    return images


def _classes(known: dict[str, list[Written]], root: Path) -> tuple[str, ...]:
    """VOC's twenty, or the names of the training boxes. Raises Problem where others have a name that these have not."""
    named = {split: {name for one in own for name in one.names} for split, own in known.items()}
    if set().union(*named.values()) <= set(TWENTY):
        return TWENTY
    strange = sorted(set().union(*named.values()) - named["train"])
    if strange:
        what = told("classes that only test images have", strange)[0]
        raise Problem(f"data.root={root}: {what}: nobody can learn them; correct the names, or take more images")
    return tuple(sorted(named["train"]))


def _names(classes: Sequence[str]) -> list[str]:
    """What to know of the names: those beside VOC's own, and those that differ by case alone."""
    folded = [name.lower() for name in classes]
    alike = [name for name in classes if folded.count(name.lower()) > 1]
    others = [name for name in classes if name not in TWENTY] if set(classes) & set(TWENTY) else []
    return [
        *told("classes beside VOC's twenty, so that there are those that training has", others),
        *told("classes that differ by case alone, and are two", alike),
    ]


def _amiss(images: Boxes, known: dict[str, Written]) -> list[str]:
    """What is odd in annotations, a line a kind, counted."""
    flat, turned, beyond, empty, sized = list[str](), list[str](), list[str](), list[str](), list[str]()
    for scene in (scene for scenes in images.scenes.values() for scene in scenes):
        stem = Path(scene.name).stem
        for label, xmin, ymin, xmax, ymax, _ in scene.truth.tolist():
            edges = f"{xmin:g},{ymin:g},{xmax:g},{ymax:g}"
            box = f"{stem} ({images.classes[int(label) - 1]} {edges})"
            if xmin > xmax or ymin > ymax:
                turned.append(box)
            elif xmin == xmax or ymin == ymax:
                flat.append(box)
            if min(xmin, ymin) < 1 or xmax > scene.width or ymax > scene.height:
                beyond.append(box)
        if not len(scene.truth):
            empty.append(stem)
        size = known[scene.name].size
        if size and size != scene[2:4]:
            sized.append(f"{stem} ({size[1]} x {size[0]}, and it is {scene.width} x {scene.height})")
    return [
        *told(f"{len(flat)} boxes without width or height, left out of training", flat),
        *told(f"{len(turned)} boxes that end before they begin, left out of training", turned),
        *told(f"{len(beyond)} boxes reach beyond their image, cut there in training", beyond),
        *told(f"{len(empty)} images without a box", empty),
        *told(f"{len(sized)} images of another size than their annotation says", sized),
    ]
