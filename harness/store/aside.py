"""What was set aside: `runs/aside/<day>/<spec id>/<seed>`, until someone brings it back or frees its disk.

A second record of one run on one day is `<seed>.2`, and so on. Before there were days it was `<spec id>/<seed>.<n>`.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness import Problem
from harness.paths import sync_folder
from harness.store import Store, is_id, lock

DAY = re.compile(r"\d{4}-\d\d-\d\d")
OWN = re.compile(r"(0|[1-9]\d*)(\.\d+)?")
Key = tuple[str, int]


@dataclass(frozen=True)
class Aside:
    """One thing set aside: a run's folder where `key` says whose, else what another command moved out of its way."""

    day: str
    path: Path
    key: Key | None


def today() -> str:
    return time.strftime("%Y-%m-%d")


def a_day(text: str) -> str:
    """`text`, if it is a day that has begun. Raises Problem."""
    with suppress(ValueError):
        if DAY.fullmatch(text) and time.strptime(text, "%Y-%m-%d") and text <= today():
            return text
    raise Problem(f"{text} is not a day that has begun, as {today()} is")


def everything(store: Store) -> Iterator[Aside]:
    """All that was set aside, oldest day first."""
    root = store.root.parent / "aside"
    found = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if DAY.fullmatch(folder.name):
            for inner in sorted(folder.iterdir()):
                own = (
                    sorted(inner.iterdir()) if is_id(inner.name) else [inner]
                )  # none, where a move was ended before it
                found += [Aside(folder.name, path, _key(path)) for path in own]
        else:
            for path in sorted(folder.iterdir()) if is_id(folder.name) else [folder]:
                day = time.strftime("%Y-%m-%d", time.localtime(path.lstat().st_ctime))  # when it was moved there
                found.append(Aside(day, path, _key(path)))
    yield from sorted(found, key=lambda each: (each.day, _number(each.path)))


def _number(path: Path) -> int:
    """Which of the records of one run it is."""
    match = OWN.fullmatch(path.name)
    return int((match[2] or ".1")[1:]) if match else 1


def _key(path: Path) -> Key | None:
    match = OWN.fullmatch(path.name)
    return (path.parent.name, int(match[1])) if match and is_id(path.parent.name) else None


def put(store: Store, path: Path, name: str) -> Path:
    """Move what is no run, a report say, out of the way under `name`, which is no id; where it is then."""
    folder = store.root.parent / "aside" / today()
    folder.mkdir(parents=True, exist_ok=True)
    names = (f"{name}.{n}" if n > 1 else name for n in range(1, 10**6))
    free = next(folder / each for each in names if not (folder / each).exists())
    path.rename(free)
    for changed in (folder, *folder.parents[:2], path.parent):
        sync_folder(changed)
    return free


def bring_back(store: Store, one: Aside) -> bool:
    """Move a run back to where it was; False where it is no run, or one of its name is there. Raises Held."""
    if not one.key:
        return False
    place = store.folder(*one.key)
    with lock(place):  # makes it, with nothing but claims in it
        if not all(path.name.startswith(("claim", "beat-")) for path in place.iterdir()):
            return False
        for path in place.iterdir():
            path.unlink()
        one.path.rename(place)  # onto an empty folder: there is no moment in which somebody else could take its place
        sync_folder(place.parent)
    _tidy(one.path.parent, store)
    return True


def free(one: Aside, store: Store) -> None:
    """Remove it for good."""
    if one.path.is_dir() and not one.path.is_symlink():
        shutil.rmtree(one.path)
    else:
        one.path.unlink()
    _tidy(one.path.parent, store)


def _tidy(folder: Path, store: Store) -> None:
    """Remove the folders that are empty by now."""
    with suppress(OSError):
        while folder != store.root.parent:
            folder.rmdir()
            folder = folder.parent
