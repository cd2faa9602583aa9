"""Photos that were decoded, and made smaller, once: their pixels are one file, which is mapped into memory.

`python -m harness.prepare` writes such a folder. A batch of it is cut and resized, and nothing is decoded.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from PIL import Image
from pydantic import Field

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.folders import Files
from harness.parts.data.gathered import Look, for_each_class, limited
from harness.parts.data.images import SMALL, Images
from harness.parts.data.names import named
from harness.parts.data.photos import Photos
from harness.parts.data.reading import brief, opened, rgb, shrunk
from harness.paths import write_atomic
from harness.spec import Data, Spec

PIXELS, INDEX, FORMAT = "pixels.u8", "index.npz", 1
AT_ONCE = 256  # images that are decoded before they are written
LOOKED = 256  # images of a run's set whose bytes are read once more


class Span(NamedTuple):
    """Where an image lies in the file of pixels: from which byte, and how many rows and columns of RGB."""

    start: int
    height: int
    width: int

    @property
    def bytes(self) -> int:
        return 3 * self.height * self.width


class Prepared(Files):
    """A folder that `harness.prepare` wrote, of images whose short edge is `edge` px, or less where it was before.

    For `size` above 64 px. Its pixels are others than the source's, resized once more, so it is another set, with ids
    of its own: `edge` is declared, and must be the folder's. For the rest as `Files`; there is nothing to `split`.
    Raises Problem where the folder is not whole, or not of this `edge`.
    """

    edge: int = Field(ge=16)

    def listing(self) -> Any:
        raise Problem(f"data.root={self.root}: a prepared set has no files of images")

    def load(self) -> Images:
        return _loaded(self)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Images drawn from the set, read from the file of pixels without mapping it, against the index's digests."""
        images, index, amiss, others = spec.data.load(), Index.read(self.root), 0, 0
        due = set(zip(index.sums, index.labels.tolist(), strict=True))
        with (self.root / PIXELS).open("rb") as file:
            for place in trace.rng("audit", "prepared").permutation(len(index.sums))[:LOOKED].tolist():
                span = index.span(place)
                file.seek(span.start)
                amiss += hashlib.sha256(file.read(span.bytes)).hexdigest() != index.sums[place]
        for split in images.counts:
            served = zip(images.content(split), images.labels(split).tolist(), strict=True)
            others += sum(pair not in due for pair in served)
        yield Check("prepared images, drawn, whose pixels are not those that were written", "0", f"{amiss}", amiss == 0)
        yield Check("images that the index has not, or as another class", "0", f"{others}", others == 0)


@dataclass
class Mapped(Photos):
    """Photos whose pixels lie in one file."""

    spans: dict[str, Span] = field(default_factory=dict)

    def picture(self, name: str) -> Image.Image:
        start, height, width = self.spans[name]
        pixels = _mapped(self.root / PIXELS)[start : start + 3 * height * width]
        return Image.fromarray(pixels.reshape(height, width, 3))

    def again(self, name: str) -> Image.Image:
        """Read and not mapped."""
        span = self.spans[name]
        with (self.root / PIXELS).open("rb") as file:
            file.seek(span.start)
            return Image.frombytes("RGB", (span.width, span.height), file.read(span.bytes))


@lru_cache
def _mapped(path: Path) -> np.ndarray:
    return np.memmap(path, np.uint8, "r")


@dataclass
class Index:
    """What a prepared folder holds, an entry an image, in the order of its pixels."""

    edge: int
    source: str  # the digest of the images that it was made from
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    split: np.ndarray  # of each image, its place in `splits`
    labels: np.ndarray
    shapes: np.ndarray  # N x 2: rows and columns
    sums: list[str]  # the sha256 of each image's pixels
    names: list[str]  # below the source's root

    def __post_init__(self) -> None:
        sizes = 3 * self.shapes.astype(np.int64).prod(1)
        self.starts = np.concatenate([[0], np.cumsum(sizes)])

    def span(self, place: int) -> Span:
        return Span(int(self.starts[place]), *map(int, self.shapes[place]))

    def write(self, folder: Path) -> None:
        words = {name: getattr(self, name) for name in ("edge", "source", "classes", "splits", "names")}
        told = np.frombuffer(json.dumps({"format": FORMAT, **words}).encode(), np.uint8)
        sums = np.frombuffer(bytes.fromhex("".join(self.sums)), np.uint8)
        arrays: dict[str, Any] = {
            "told": told,
            "split": self.split,
            "labels": self.labels,
            "shapes": self.shapes,
            "sums": sums,
        }
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomic(folder / INDEX, buffer.getvalue())

    @classmethod
    def read(cls, folder: Path) -> "Index":
        """Raises Problem where `folder` holds no prepared set that is whole."""

        def no(why: str) -> NoReturn:
            raise Problem(f"{folder}: {why}: python -m harness.prepare writes it") from None

        try:
            with np.load(io.BytesIO((folder / INDEX).read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("told", "split", "labels", "shapes", "sums")}
            words = json.loads(arrays.pop("told").tobytes())
            if words.pop("format") != FORMAT:
                no("a prepared set of another version")
            rows = arrays.pop("sums").reshape(-1, 32)
            lists = {name: tuple(words.pop(name)) for name in ("classes", "splits")}
            held: dict[str, Any] = {**words, **lists, **arrays}
            made = cls(**held, sums=[row.tobytes().hex() for row in rows])
        except FileNotFoundError:
            no("no prepared set, or one whose writing was stopped")
        except Problem:
            raise
        except Exception as error:  # numpy's and zip's many readers raise whatever damaged bytes lead them to
            no(f"its {INDEX} cannot be read ({brief(error)})")
        pixels = folder / PIXELS
        size = pixels.stat().st_size if pixels.exists() else 0
        if size != made.starts[-1]:
            no(f"its {PIXELS} has {size:,} bytes and not {made.starts[-1]:,}")
        return made


@disk.kept
@lru_cache
def _loaded(part: Prepared) -> Images:
    where = f"data.root={part.root}"
    if part.split:
        raise Problem(f"{where}: data.split is for what is not prepared: prepare it with its test set")
    if part.size <= SMALL:
        raise Problem(f"{where}: data.size={part.size}: up to {SMALL} px images are in memory; take their own folder")
    index = Index.read(part.root)
    if index.edge != part.edge:
        raise Problem(f"{where}: was prepared with a short edge of {index.edge} px: data.edge={index.edge}")
    files: dict[str, list[tuple[str, int]]] = {}
    sums: dict[str, str] = {}
    spans: dict[str, Span] = {}
    limits = {"train": part.limit, "test": part.limit_test}
    for number, own in enumerate(index.splits):
        (places,) = np.nonzero(index.split == number)
        for_each_class(limits.get(own), len(index.classes), own)
        places = places[limited(index.labels[places], limits.get(own))]
        files[own] = [(index.names[i], int(index.labels[i])) for i in places]
        sums |= {index.names[i]: index.sums[i] for i in places}
        spans |= {index.names[i]: index.span(i) for i in places}
    content = {own: [(sums[name], label) for name, label in entries] for own, entries in files.items()}
    key = hashlib.sha256(json.dumps([index.edge, index.classes, content]).encode()).hexdigest()[:16]
    mean, std = Look(part.size, part.mean, part.std, part.fit, bool(part.grey)).normal
    counts = {own: len(entries) for own, entries in files.items()}
    told = part.root, files, sums, part.fit
    notes = [f"prepared with a short edge of {index.edge} px"]
    classes = named(index.classes, part.names)
    return Mapped(classes, len(mean), part.size, counts, key, mean, std, notes, *told, spans=spans, photos=True)


# --- writing --------------------------------------------------------------------------------------------------------


def size_at(image: Image.Image, edge: int) -> tuple[int, int]:
    """Rows and columns of an image whose short edge is brought to `edge` px; of a smaller one as they are."""
    width, height = image.size
    by = min(1.0, edge / min(width, height))
    return max(1, round(height * by)), max(1, round(width * by))


def smaller(image: Image.Image, edge: int) -> np.ndarray:
    """An image's pixels at `size_at`, uint8 H x W x 3; bilinear, each a mean over what it covers."""
    (height, width), (wide, high) = size_at(image, edge), image.size
    by = shrunk(image, min(wide, high) / edge)
    whole = rgb(image)
    if (height, width) != (high, wide) or by > 1:
        whole = whole.resize((width, height), Image.Resampling.BILINEAR, (0, 0, wide / by, high / by))
    return np.asarray(whole)


def prepare(data: Data, edge: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the photos of `data`, no short edge above `edge` px, into `folder`; says its disk first.

    Answers with folder, images, bytes, edge and the source's digest. A set that is there and whole, and of the same
    images and edge, is left as it is. Raises Problem where data are no photos, where another set is there, and where
    the disk has no room.
    """
    images = data.load()
    if not isinstance(images, Photos) or isinstance(images, Mapped):
        raise Problem("photos above 64 px, in files, can be prepared: no digits, no small sets, and no prepared ones")
    if (folder / INDEX).exists():
        there = Index.read(folder)
        if (there.edge, there.source) != (edge, images.digest):
            raise Problem(f"{folder}: another set, or another edge, is there: give another folder, or remove it")
        say(f"{folder}: is there, and whole")
        return _answer(folder, there)
    entries = [(own, name, label) for own, files in images.files.items() for name, label in files]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shapes = np.array(list(pool.map(partial(_shape, images, edge), (name for _, name, _ in entries))), np.int64)
        needed = int(3 * shapes.prod(1).sum())
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        say(f"{len(entries):,} images, no short edge above {edge} px: {needed / 1e9:.2f} GB in {folder}")
        if needed > free:
            raise Problem(f"{folder}: {needed / 1e9:.2f} GB are needed, and {free / 1e9:.2f} GB are free: take less")
        sums = []
        with (folder / f"{PIXELS}.part").open("wb") as file:
            for start in range(0, len(entries), AT_ONCE):
                some = [name for _, name, _ in entries[start : start + AT_ONCE]]
                for pixels in pool.map(partial(_pixels, images, edge), some):
                    sums.append(hashlib.sha256(pixels).hexdigest())
                    file.write(pixels)
            file.flush()
            os.fsync(file.fileno())
    os.replace(folder / f"{PIXELS}.part", folder / PIXELS)
    splits = tuple(images.files)
    made = Index(
        edge,
        images.digest,
        images.classes,
        splits,
        np.array([splits.index(own) for own, _, _ in entries], np.uint8),
        np.array([label for _, _, label in entries], np.int32),
        shapes.astype(np.int32),
        sums,
        [name for _, name, _ in entries],
    )
    made.write(folder)
    return _answer(folder, made)


def verify(folder: Path) -> Iterator[str]:
    """The names of images whose pixels are not those that were written. Raises Problem as `Index.read` does."""
    index = Index.read(folder)
    with (folder / PIXELS).open("rb") as file:
        for place, sha in enumerate(index.sums):
            if hashlib.sha256(file.read(index.span(place).bytes)).hexdigest() != sha:
                yield index.names[place]


def _shape(images: Photos, edge: int, name: str) -> tuple[int, int]:
    return size_at(opened(images.root / name), edge)


def _pixels(images: Photos, edge: int, name: str) -> bytes:
    return smaller(images.picture(name), edge).tobytes()


def _answer(folder: Path, index: Index) -> dict[str, Any]:
    size = int(index.starts[-1])
    return {
        "folder": folder,
        "images": len(index.sums),
        "bytes": size,
        "edge": index.edge,
        "source": index.source,
        "data": f"Prepared(root={str(folder)!r}, edge={index.edge})",
    }
