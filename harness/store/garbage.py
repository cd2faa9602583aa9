"""What nothing names any more: no study, no plan that was run here, no search, and no run that any of these name."""

import re
import socket
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import Problem
from harness.spec import shape
from harness.store import Store, spec_hash
from harness.store.care import Key, holder

ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
LONG = 86400.0  # seconds: what nothing was added to for so long is of no process, wherever that was


def remembered(folder: Path, but: Container[Path] = ()) -> set[str]:
    """Every id in what is kept of plans and searches under `folder`, the folder of runs, `but` for those files."""
    files = [path for room in ("studies", "searches") for path in (folder / room).glob("*") if path.is_file()]
    return named_in(path for path in files if path not in but)


def named_in(files: Iterable[Path]) -> set[str]:
    """Every id in these files, read as bytes and not as what they are.

    One that is damaged, or of another version, names what it named.
    """
    return {found.decode() for path in files for found in ID.findall(path.read_bytes())}


def inner(resolved: Any) -> Iterator[str]:
    """The ids of the specifications within a resolved one, at any depth."""
    for value in resolved.values() if isinstance(resolved, dict) else resolved if isinstance(resolved, list) else ():
        if isinstance(value, dict) and value.get("kind") == "Spec":
            yield spec_hash(value)
        yield from inner(value)


def unnamed(store: Store, ids: set[str], shapes: set[str]) -> list[Key]:
    """The runs that are garbage: of none of `ids`, nor of a specification in `shapes`, whatever its data holds.

    Left out are what those build on, what a process works on, and what is damaged: that is for `verify` to name.
    """
    kept = set(ids)
    forms: dict[str, Any] = {}
    for spec_id, seed in store:
        if spec_id not in forms:
            with suppress(Problem):
                forms[spec_id] = store.forms(spec_id, seed)["resolved"]
    kept |= {spec_id for spec_id, form in forms.items() if spec_id in kept or shape(form) in shapes}
    kept |= {upstream for spec_id, form in forms.items() if spec_id in kept for upstream in inner(form)}
    return [key for key in store if key[0] not in kept and not _damaged(store, key) and not holder(store, key)]


def _damaged(store: Store, key: Key) -> bool:
    try:
        store.forms(*key)
    except Problem:
        return store.folder(*key).joinpath("spec.json").exists()
    return False


def lives(pid: str) -> bool:
    """Whether a process of that number runs here: what it imports is not left over."""
    return pid.isdecimal() and Path("/proc", pid).exists()


def leftovers(store: Store) -> list[Path]:
    """Checkpoints of finished runs, and what a stopped removal or import left."""
    found = [path for path in sorted(store.root.glob(".*")) if not _in_use(path)]
    return found + [path for key in store if key in store for path in store.folder(*key).glob("checkpoint-*")]


def _in_use(path: Path) -> bool:
    """Whether a process may be at work in `.incoming.HOST.PID`; one of elsewhere, while something there is new."""
    host, _, pid = path.name.removeprefix(".incoming.").rpartition(".")
    if not path.name.startswith(".incoming.") or host in ("", socket.gethostname()):
        return lives(pid)
    return time.time() - max(each.lstat().st_mtime for each in (path, *path.rglob("*"))) < LONG
