"""Looking after a store: how runs stand, whether every byte is what it was, and what no study asks for any more."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import Problem, one_line
from harness.paths import flock
from harness.spec import shape
from harness.store import FORMAT, Store, journal, known_format, lock, sha256, written

Key = tuple[str, int]
FILES = {"spec.json", "journal.jsonl", "weights.pt", "result.json", "refused.json", "claim"}

RESULT = {"status": str, "metrics": dict, "epochs": list, "correct": str, "environment": dict, "seconds": float}


def holder(store: Store, key: Key) -> str | None:
    """The PID of the process that holds a run; None where none does."""
    path = store.folder(*key) / "claim"
    if not path.exists():
        return None
    file = os.open(path, os.O_RDONLY)
    try:
        flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB, path)
    except BlockingIOError:
        return written(file) or None
    finally:
        os.close(file)
    return None


def standing(store: Store, key: Key) -> dict[str, Any]:
    """How a run stands: its state, top-1, epochs done, bytes on disk, and when something last happened."""
    events = store.events(*key)
    last = events[-1] if events else {}
    row: dict[str, Any] = {
        "state": {"failed": "failed", "interrupted": "interrupted"}.get(last.get("event", ""), "killed"),
        "top1": None,
        "epochs": len({event.get("epoch") for event in events if event["event"] == "epoch"}),
        "bytes": size(store.folder(*key)),
        "time": last.get("time"),
    }
    try:
        record = store.read(*key) if key in store else store.refused(*key)
        if record:
            top1 = float(record["metrics"]["top1"])
            return row | {"state": one_line(record["status"], 13), "top1": top1, "epochs": len(record["epochs"])}
    except (Problem, KeyError, TypeError, ValueError):
        return row | {"state": "damaged"}
    pid = holder(store, key)
    return row | ({"state": f"held by {pid}"} if pid else {} if events else {"state": "not begun"})


def size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a checkpoint gives way to the next
            total += path.stat().st_size if path.is_file() else 0
    return total


def troubles(store: Store, key: Key) -> list[str]:
    """What is wrong with a record, a line each: every digest, and every line of the journal."""
    folder = store.folder(*key)
    found: list[str] = []

    def tell(path: Path, what: str) -> None:
        found.append(f"{path}: {what}")

    path = folder / "journal.jsonl"
    events, damaged, whole = journal.read(path)
    for number in damaged:
        tell(folder / "journal.jsonl", f"line {number} is damaged")
    if not damaged and [event["seq"] for event in events] != list(range(len(events))):
        tell(folder / "journal.jsonl", "lines are missing")
    try:
        for event in events:
            known_format(event.get("format", FORMAT), folder / "journal.jsonl")
        if events or key in store:
            store.forms(*key)
        record = store.read(*key) if key in store else store.refused(*key)
    except Problem as problem:
        return [*found, str(problem)]
    if record:
        weights = folder / "weights.pt"
        if not weights.exists() or sha256(weights.read_bytes()) != record["weights"]:
            tell(weights, "is damaged, its digest is another" if weights.exists() else "is missing")
        if record["digest"] not in [event.get("digest") for event in events]:
            tell(path, "does not tell of the result")
        if whole < path.stat().st_size:
            tell(path, "ends in half a line")
        lacking = [name for name, kind in RESULT.items() if not isinstance(record.get(name), kind)]
        if lacking or record["status"] not in ("finished", "diverged", "refused"):
            tell(folder / "result.json", f"is no result: see {', '.join(lacking) or 'status'}")
    spec = [event.get("spec") for event in events if event["event"] == "started"]
    if spec and (folder / "spec.json").exists() and sha256((folder / "spec.json").read_bytes()) != spec[-1]:
        tell(folder / "spec.json", "is damaged, its digest is another")
    sums = {event["file"]: event["sha256"] for event in events if event["event"] == "checkpoint"}
    for path in folder.iterdir():
        if path.name in sums:
            with suppress(FileNotFoundError):  # it gives way to the next
                if sha256(path.read_bytes()) != sums[path.name]:
                    tell(path, "is damaged, its digest is another")
        elif path.name not in FILES and not path.name.startswith((".", "checkpoint-")):
            tell(path, "is no part of a record")
    return found


def unnamed(store: Store, shapes: set[str]) -> Iterator[Key]:
    """Runs whose specification is none of `shapes`, whatever their data holds, and that nobody is working on."""
    for key in store:
        try:
            known = shape(store.forms(*key)["resolved"]) in shapes
        except Problem:
            known = store.folder(*key).joinpath("spec.json").exists()  # damaged, not unwanted: `verify` names it
        if not known and not holder(store, key):
            yield key


def leftovers(store: Store) -> list[Path]:
    """Records set aside by a fresh start, checkpoints of finished runs, and what a stopped removal or import left."""
    aside = store.root.parent / "aside"
    found = sorted(aside.glob("*/*")) if aside.is_dir() else []
    found += sorted(store.root.glob(".*")) if store.root.is_dir() else []
    return found + [path for key in store if key in store for path in store.folder(*key).glob("checkpoint-*")]


def remove(store: Store, key: Key) -> None:
    """Remove a run, whole or not at all. Raises Held where a process has it."""
    folder = store.folder(*key)
    with lock(folder):
        away = store.root / f".removed.{key[0]}.{key[1]}.{os.getpid()}"
        shutil.rmtree(away, ignore_errors=True)
        folder.rename(away)
    shutil.rmtree(away)
    with suppress(OSError):  # other seeds are there
        folder.parent.rmdir()
