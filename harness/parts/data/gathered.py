"""Image files that are listed, read and divided: a loaded set of them."""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

import harness.parts.data.reading as disk
from harness import Problem
from harness.parts.data.images import SMALL, Images, Triple
from harness.parts.data.listing import Listing
from harness.parts.data.memory import Cached
from harness.parts.data.names import named
from harness.parts.data.photos import Decoder, Photos, centre, toned
from harness.parts.data.reading import is_image, opened, read_all, rgb, told
from harness.parts.data.splits import Split
from harness.paths import runs, write_atomic
from harness.rng import stream

Limits = tuple[int | None, int | None]  # of training and of test images
Entries = list[tuple[str, int]]
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R 601), as Pillow has it
USUAL = {"train": "train/", "test": "val/"}  # what folders are called in a digest, whatever they are called on disk


@dataclass(frozen=True)
class Look:
    """How image files are prepared: `size` px a side, with three channels or, `grey`, with one."""

    size: int
    mean: Triple  # of red, green and blue
    std: Triple
    fit: Literal["squash"] | None = None
    grey: bool = False
    decoder: Decoder | None = None  # of photos; None: Pillow

    @property
    def normal(self) -> tuple[Triple, Triple]:
        """Mean and s.d., one a channel."""
        if not self.grey:
            return self.mean, self.std
        mean, std = (sum(a * b for a, b in zip(LUMA, values, strict=True)) for values in (self.mean, self.std))
        return (round(mean, 3),), (round(std, 3),)


def gathered(
    where: str, found: Listing, look: Look, limits: Limits, split: Split | None = None, names: Path | None = None
) -> Images:
    """Raises Problem, beginning with `where`, on classes without images and on files that do not decode."""
    root, files = found.root, dict(found.files)
    skipped: list[str] = []
    for own, limit in zip(files, limits, strict=False):
        if limit and split is None:  # of images alone, or a class with other files among them would get fewer
            for_each_class(limit, len(found.classes), found.parts[own])
            none = {f for f, _ in files[own] if not is_image(os.path.join(root, f))}
            skipped += sorted(none)
            files[own] = sliced([entry for entry in files[own] if entry[0] not in none], limit)
    known, notes = read_all(root, [name for entries in files.values() for name, _ in entries], skipped)
    if found.named and (other := sorted({name for own in files.values() for name, _ in own} - {*known} | {*skipped})):
        what = told(f"{len(other)} named that {'is no image' if len(other) == 1 else 'are no images'}", other)[0]
        raise Problem(f"{where}: {what}; repair the file, or take its line out of the list")
    notes = [*found.notes, *told("skipped", found.unread), *notes]
    files = {own: [entry for entry in entries if entry[0] in known] for own, entries in files.items()}
    if found.by == "content":  # where they lie is not what they are
        files = {own: sorted(entries, key=lambda entry: (known[entry[0]], entry[1])) for own, entries in files.items()}
    if split:
        files = _divided(files["train"], known, split, found.classes)
        for own, limit in zip(files, limits, strict=True):
            for_each_class(limit, len(found.classes), f"what data.split makes ({own})")
            files[own] = sliced(files[own], limit)
    notes += whole(where, found, files)
    key = _key(found, files, known, split)
    counts = {own: len(entries) for own, entries in files.items()}
    mean, std = look.normal
    classes, channels = named(found.classes, names), len(mean)
    if look.size > SMALL:
        kept = root, files, known, look.fit, look.decoder
        return Photos(classes, channels, look.size, counts, key, mean, std, notes, *kept, photos=True)
    kind = "-".join(map(str, (look.size, *([look.fit] if look.fit else []), *(["grey"] if look.grey else []))))
    arrays = {
        own: (_decoded(root, look, f"{key}-{kind}-{own}", entries), np.array([label for _, label in entries]))
        for own, entries in files.items()
    }
    return Cached(classes, channels, look.size, counts, key, mean, std, notes, arrays, photos=True)


def limited(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Which of N images to keep, in order: `limit` of them, as even over the classes as can be; all for None.

    The same ones for the same labels; those of a smaller limit are among those of a greater one.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    shuffled = stream(0, "limit").permutation(len(labels))
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]
    firsts = np.searchsorted(labels[grouped], labels[grouped])
    turn = np.arange(len(labels)) - firsts  # of each image, within its class
    return np.sort(grouped[np.argsort(turn, kind="stable")[:limit]])


def sliced(entries: Entries, limit: int | None) -> Entries:
    return [entries[i] for i in limited(np.array([label for _, label in entries]), limit)]


def for_each_class(limit: int | None, classes: int, name: str) -> None:
    if limit and limit < classes:
        raise Problem(f"a slice of {limit} images of {name} leaves some of the {classes} classes without any")


def _divided(entries: Entries, known: dict[str, str], split: Split, classes: Sequence[str]) -> dict[str, Entries]:
    content, labels = [known[name] for name, _ in entries], np.array([label for _, label in entries])
    rest, out = split.apart(content, labels, classes)
    return {"train": [entries[i] for i in rest], "test": [entries[i] for i in out]}


def whole(where: str, found: Listing, files: dict[str, Entries]) -> list[str]:
    """Raise Problem where a class has no images; where it has no test image alone, and need not have, a note."""
    notes = []
    for own, entries in files.items():
        empty = sorted(set(range(len(found.classes))) - {label for _, label in entries})
        names = [found.classes[label] for label in empty]
        if not empty:
            continue
        if found.by != "content":
            raise Problem(f"{where}: no image in {found.parts[own]}{names[0]}")
        if own == "train" or not entries:
            what = told(f"{len(names)} of {len(found.classes)} classes", names)[0]
            of = "training" if own == "train" else "test"
            raise Problem(f"{where}: no {of} images of {what}; take more images, or these classes out")
        notes += told(f"{len(names)} of {len(found.classes)} classes have no test image", names)
    return notes


def _key(found: Listing, files: dict[str, Entries], known: dict[str, str], split: Split | None) -> str:
    """The digest of what is trained and tested on."""
    content: object = {own: [(known[name], label) for name, label in entries] for own, entries in files.items()}
    if found.by == "list":
        content = sorted((name, known[name], label) for entries in files.values() for name, label in entries)
    if found.by == "folder":  # the name says the class
        prefix = found.parts | ({"test": found.parts["train"]} if split else {})
        content = sorted(
            (USUAL[own] + name.removeprefix(prefix[own]), known[name]) for own in files for name, _ in files[own]
        )
    apart = [[split.share, split.seed]] if split else []
    return hashlib.sha256(json.dumps([found.classes, content, *apart]).encode()).hexdigest()[:16]


def _decoded(root: Path, look: Look, key: str, entries: Entries) -> np.ndarray:
    """The images of one split as uint8 N x C x size x size, from the cache or decoded now."""
    path = runs() / "cache" / "arrays" / f"{key}.npy"
    if not disk.trusting or not path.exists():

        def decode(entry: tuple[str, int]) -> np.ndarray:
            image, size = rgb(opened(root / entry[0])), look.size
            if look.fit == "squash":
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            else:
                image = centre(image, size, size)
            return toned(np.asarray(image), len(look.normal[0])).transpose(2, 0, 1)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            array = np.stack(list(pool.map(decode, entries)))
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomic(path, buffer.getvalue())
    decoded: np.ndarray = np.load(path)
    return decoded
