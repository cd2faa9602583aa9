"""Image files within tars, parquet or arrow files, which are unpacked once."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import ClassVar

import harness.parts.data.reading as disk
from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.containers import READERS, Columns, items, splits
from harness.parts.data.folders import Files
from harness.parts.data.gathered import USUAL
from harness.parts.data.listing import Listing, is_left
from harness.parts.data.reading import named_as_image, opened, told
from harness.parts.data.splits import chosen, is_known, lacking
from harness.parts.data.table import in_order
from harness.paths import runs
from harness.spec import Spec

DRAWN = 64  # images of a container that are looked at again
VERSION = 2  # of what is kept of a container


class Packed(Files):
    """Images in the containers below `root`, or in `root` itself: WebDataset's .tar, .parquet, and .arrow.

    So a folder that Hugging Face's `datasets` saved to disk, or a set's parquet files. In tables `columns` name the
    image, as bytes, its class, and its split. In a tar an image's class is in its `.cls`, or in its `.json` by the
    second of `columns`. Of tars, and of tables without a column of splits, a word of the path says it, train-0000.tar
    or train/data.arrow, the one nearest to its end. `train` and `test` name these splits, else see `splits.chosen`.
    Where there are none, a `split` of the part sets a test set apart. Classes are those of the training images,
    sorted, numbers by their value; by the names that `datasets` leaves in its files.

    The images are unpacked to the cache, once, and take as much room there; from then on they are files. Where they lie
    and in which order is not in the id. Beyond `Files`, raises Problem on containers that cannot be read, images
    without a class, and a class that only test images have.
    """

    place_fields: ClassVar[frozenset[str]] = Files.place_fields | {"columns", "train", "test"}

    columns: Columns = ("image", "label", "split")
    train: str | None = None
    test: str | None = None

    def listing(self) -> Listing:
        where, (paths, unread) = f"data.root={self.root}", _containers(self.root)
        inside = {path: splits(_at(self.root, path), self.columns) for path in paths}
        words = {path: self._word(path) if inside[path] is None else None for path in paths}
        there = {path: inside[path] or {word} - {None} for path, word in words.items()}
        found = sorted({word for own in there.values() for word in own if word})
        train, test, notes = chosen(found, self.train, self.test, f"{self.root}")
        if found and train is None:
            raise Problem(f"{where}: no path and no row says train; there are: {', '.join(found)}: name data.train")
        lacking(where, self.split, test, f"no path and no row says {'val' if found else 'train or val'}")
        parts = {"train": train, "test": test} if test else {"train": train}
        unread += [str(path) for path, own in there.items() if not own and found]
        wanted = [path for path, own in there.items() if not {*parts.values()}.isdisjoint(own or {None})]
        folder, entries = unpacked(self.root, wanted, self.columns)
        own = {
            split: [
                (file, label)
                for path in wanted
                for file, label, said in entries[str(path)]
                if (words[path] if said is None else said) == name
            ]
            for split, name in parts.items()
        }
        classes = {split: {label for _, label in some} for split, some in own.items()}
        strange = sorted(classes.get("test", set()) - classes["train"])
        if strange:
            what = told("classes that only test images have", strange)[0]
            raise Problem(f"{where}: {what}: nobody can learn them; name another data.test, or take more images")
        if len(classes["train"]) < 2:
            raise Problem(f"{where}: {len(classes['train'])} class of training images; at least two are needed")
        ordered = in_order(classes["train"])
        number = {name: place for place, name in enumerate(ordered)}
        files = {split: [(name, number[label]) for name, label in some] for split, some in own.items()}
        return Listing(ordered, folder, files, {split: USUAL[split] for split in files}, "content", unread, notes)

    def _word(self, path: Path) -> str | None:
        """The split that a path names."""
        for step in reversed(path.parts):
            for word in (step, *re.split(r"[^A-Za-z0-9]|(?<=[A-Za-z])(?=[0-9])", step)):
                if word in (self.train, self.test) or is_known(word):
                    return word
        return None

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """The first images of a container drawn, read once more: each is served as the class that it has there."""
        images, known = spec.data.load(), dict[str, set[str]]()
        classes = self.listing().classes
        for split in images.counts:
            for content, own in zip(images.content(split), images.labels(split).tolist(), strict=True):
                known.setdefault(content, set()).add(classes[own])
        paths, _ = _containers(self.root)
        path = paths[int(trace.rng("audit", "container").integers(len(paths)))]
        found, amiss = 0, 0
        for item in islice(items(_at(self.root, path), self.columns), DRAWN):
            served = known.get(self.stored(item.image))
            found += served is not None
            amiss += served is not None and item.label not in served
        yield Check(
            f"images of a container, {DRAWN} of it, served as another class", "0", f"{amiss} of {found}", amiss == 0
        )


def unpacked(
    root: Path, paths: Sequence[Path], columns: Columns
) -> tuple[Path, dict[str, list[tuple[str, str, str | None]]]]:
    """The folder of the images of containers, by their paths below `root`, and (name below it, class, split) of each.

    By path; the split is None of what has no column for it.

    Where one was touched all are unpacked anew.
    """
    stats = [(str(path), *disk.stat_of(str(_at(root, path)))) for path in paths]
    key = sha256(json.dumps([VERSION, str(root.resolve()), columns, stats]).encode()).hexdigest()[:16]
    folder = runs() / "cache" / "unpacked" / key
    if disk.trusting or key in _anew:
        with suppress(OSError, ValueError):
            return folder, json.loads((folder / "index.json").read_bytes())
    print(f"unpacking {len(paths):,} files of {root} into {folder}, once", file=sys.stderr)
    made = folder.with_name(f"{key}.{os.getpid()}")
    try:
        index = {str(path): _unpack(_at(root, path), made / f"{n:05}", columns) for n, path in enumerate(paths)}
        (made / "index.json").write_text(json.dumps(index))
        os.sync()  # once for all: what is there by its name is there whole
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(FileExistsError):  # another process was first
            made.rename(folder)
    except OSError as error:
        raise Problem(
            f"{made} cannot be written ({error.strerror}): make room, or set HARNESS_RUNS elsewhere"
        ) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _anew.add(key)
    return folder, index


_anew: set[str] = set()  # what this process has unpacked


def _unpack(path: Path, folder: Path, columns: Columns) -> list[tuple[str, str, str | None]]:
    folder.mkdir(parents=True)
    entries = []
    for number, item in enumerate(items(path, columns)):
        name = f"{number:08}-{re.sub(r'[^A-Za-z0-9.]', '_', f'{path.stem}_{item.name}')[-80:]}"
        name += "" if named_as_image(name) else f".{_format(item.image)}"
        (folder / name).write_bytes(item.image)
        entries.append((f"{folder.name}/{name}", item.label, item.split))
    return entries


def _format(image: bytes) -> str:
    try:
        return (opened(Path(), image).format or "jpeg").lower()
    except Problem:
        return "jpeg"  # so that reading it says what is wrong


def _containers(root: Path) -> tuple[list[Path], list[str]]:
    """The containers, by their paths below `root`, and what else lies there. Raises Problem where there is none."""
    if root.is_file() and root.suffix in READERS:
        return [Path(root.name)], []
    every = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()] if root.is_dir() else []
    shown = [path for path in every if not any(map(is_left, path.parts))]
    cached = [path for path in shown if path.suffix == ".arrow" and path.name.startswith("cache-")]  # of `datasets.map`
    paths = [path for path in shown if path.suffix in READERS and path not in cached]
    if not paths:
        raise Problem(f"data.root={root}: no {', '.join(READERS)} there; name a folder of such files, or one of them")
    plain = {".json", ".md", ".txt"}  # what `datasets` and people leave beside
    return paths, [str(path) for path in shown if path not in paths and path.suffix not in plain]


def _at(root: Path, path: Path) -> Path:
    return root if root.is_file() else root / path
