"""Where the images of each class lie, in folders or by lists; nothing is read yet."""

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness import Problem
from harness.parts.data.reading import brief
from harness.parts.data.splits import Split, chosen, lacking


@dataclass
class Listing:
    """Where the images of each class should be; nothing is read yet."""

    classes: tuple[str, ...]
    root: Path
    files: dict[str, list[tuple[str, int]]]  # (path below root, label) by split; without a test set of "train" alone
    parts: dict[str, str]  # what the splits are called there
    by: Literal["folder", "list", "content"]  # what the digest goes by: the names of folders, of files, neither
    unread: list[str] = field(default_factory=list)  # what lies beside, or is hidden
    notes: list[str] = field(default_factory=list)
    named: bool = False  # each file by a list or a table: none is passed over, whatever it is


# Folders that storage systems and archivers leave, by their names in lower case; hidden ones begin with a dot.
LEFT = {"@eadir", "@recycle", "@sharebin", "@tmp", "#recycle", "#snapshot", "~snapshot", "$recycle.bin", "__macosx"}
LEFT |= {"system volume information", "lost+found", "network trash folder", "temporary items"}


def tree(root: Path, train: str | None = None, test: str | None = None, split: Split | None = None) -> Listing:
    """The files in class folders, and what lies elsewhere or hidden, or was left by a storage system.

    `train` and `test` name the folders of the splits; where they do not, see `splits.chosen`. With a `split` there is
    no folder of test images, and where there is none of training images either, `root` itself has the classes.
    """
    if not is_folder(root):
        raise Problem(f"data.root={root}: no such folder; it should hold train/CLASS/FILE and val/CLASS/FILE")
    folders = {name for name, folder in listed(str(root)).items() if folder and not is_left(name)}
    trained, tested, notes = chosen(folders, train, test, f"data.root={root}")
    parts = _parts(root, folders, trained, tested, split)
    names: dict[str, tuple[str, ...]] = {}
    files: dict[str, list[tuple[str, int]]] = {}
    unread = []
    for own, part in parts.items():
        inside = listed(f"{root}/{part}") if is_folder(root / part) else {}
        names[own] = tuple(sorted(name for name, folder in inside.items() if folder and not is_left(name)))
        unread += [f"{part}{name}" for name in sorted(set(inside) - set(names[own]))]
        for name in set(inside) - set(names[own]):
            if not is_left(name) and not os.path.exists(f"{root}/{part}{name}"):
                raise Problem(f"{root}/{part}{name} is a link to nothing: mend it or take it out")
        if len(names[own]) < 2:
            what = f"{len(names[own])} class folders in" if inside else "no folder"
            raise Problem(f"data.root={root}: {what} {part}; at least two classes are needed, one folder each")
        files[own] = []
        above = frozenset(_inode(folder) for folder in (root, *root.resolve().parents, root / part))
        for label, name in enumerate(names[own]):
            below, passed = _below(root, f"{part}{name}", above)
            files[own] += [(file, label) for file in sorted(below)]
            unread += sorted(passed)
    if names["train"] != names.get("test", names["train"]):
        odd = [
            f"{name} is in {parts[own]} alone"
            for own, other in (("train", "test"), ("test", "train"))
            for name in sorted(set(names[own]) - set(names[other]))
        ]
        told = ", ".join(odd[:5])
        raise Problem(f"data.root={root}: classes differ: {told}: take them out, or put images in the other too")
    return Listing(names["train"], root, files, parts, "folder", unread, notes)


def _parts(
    root: Path, folders: Collection[str], train: str | None, test: str | None, split: Split | None
) -> dict[str, str]:
    """The folders of the splits, below `root`. Raises Problem where it has classes and they are not divided."""
    if train or test or len(folders) < 2:
        if train and (split or not test):
            lacking(f"data.root={root}", split, test and f"{test}/", f"no folder val/ beside {train}/")
            return {"train": f"{train}/"}
        return {"train": f"{train or 'train'}/", "test": f"{test or 'val'}/"}
    if split is None:
        some = ", ".join(sorted(folders)[:3])
        raise Problem(
            f"data.root={root}: no folder train/ or val/, but {len(folders)} others ({some}): if these are classes, "
            "set data.split=Split, which sets a fifth of each apart as the test set"
        )
    return {"train": ""}


def is_left(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFT


def _below(root: Path, place: str, above: frozenset[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """The files in a folder and in those below it, links followed, and what is passed over; paths below `root`.

    `above` are the folders that it lies in. Raises Problem on a link to one of these, or what has no end.
    """
    files, passed, pending = [], [], [(place, above)]
    while pending:
        place, above = pending.pop()
        here = _inode(root / place)
        if here in above:
            raise Problem(f"{root}/{place} is a link to a folder that it lies in: take it out")
        for name, folder in listed(f"{root}/{place}").items():
            if is_left(name):
                passed.append(f"{place}/{name}")
            elif folder:
                pending.append((f"{place}/{name}", above | {here}))
            else:
                files.append(f"{place}/{name}")
    return files, passed


def listed(folder: str) -> dict[str, bool]:
    """What is in a folder, by name, and whether it is a folder itself, or a link to one."""
    try:
        with os.scandir(folder) as found:
            return {entry.name: entry.is_dir() for entry in found}
    except OSError as error:
        raise _unlisted(error.filename or folder, error) from None


def is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unlisted(path, error) from None


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise _unlisted(path, error) from None
    return found.st_dev, found.st_ino


def _unlisted(path: str | Path, error: OSError) -> Problem:
    return Problem(f"{path} cannot be listed ({error.strerror}): make it readable, or take it out")


def places(root: Path, kind: str) -> Listing:
    """By the lists of classes and files; only what they name is read."""
    lists = {"train": "places365_train_standard.txt", "test": "places365_val.txt"}
    folders = {"train": f"data_{kind}_standard/", "test": f"val_{kind}/"}
    needed = ("categories_places365.txt", *lists.values(), *folders.values())
    missing = [name for name in needed if not (root / name).exists()]
    if missing:
        raise Problem(f"data.root={root}: no {', '.join(missing)}; lay it out as torchvision.datasets.Places365 does")
    classes = tuple(name for name, _ in sorted(_pairs(root / needed[0]), key=lambda pair: pair[1]))
    files = {split: [(folders[split] + name, y) for name, y in _pairs(root / lists[split])] for split in lists}
    for split, entries in files.items():
        odd = next((name for name, label in entries if not 0 <= label < len(classes)), None)
        if odd:
            raise Problem(f"{root / lists[split]}: the class of {odd} is not among the {len(classes)} in {needed[0]}")
    return Listing(classes, root, files, folders, "list", named=True)


def _pairs(path: Path) -> list[tuple[str, int]]:
    """The lines of Places' lists, "/a/airfield/00000001.jpg 0", as [(name without the first slash, number)]."""
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        return [(name.lstrip("/"), int(number)) for name, number in lines]
    except (OSError, ValueError) as error:
        raise Problem(f"{path} is not a list of names and numbers ({brief(error)})") from None
