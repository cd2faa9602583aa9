"""Looking after a store: how runs stand, whether every byte is what it was, and what no study asks for any more."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import Problem
from harness.spec import shape
from harness.store import FORMAT, Store, journal, known_format, lock, sha256, written

Key = tuple[str, int]
FILES = {"spec.json", "journal.jsonl", "weights.pt", "result.json", "refused.json", "claim"}


def holder(store: Store, key: Key) -> str | None:
    """The PID of the process that holds a run; None where none does."""
    path = store.folder(*key) / "claim"
    if not path.exists():
        return None
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return written(file)
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
        "epochs": max((event["epoch"] + 1 for event in events if event["event"] == "epoch"), default=0),
        "bytes": size(store.folder(*key)),
        "time": last.get("time"),
    }
    try:
        record = store.read(*key) if key in store else store.refused(*key)
    except Problem:
        return row | {"state": "damaged"}
    if record:
        return row | {"state": record["status"], "top1": record["metrics"]["top1"], "epochs": len(record["epochs"])}
    pid = holder(store, key)
    return row | ({"state": f"held by {pid}"} if pid else {} if events else {"state": "not begun"})


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def troubles(store: Store, key: Key) -> list[str]:
    """What is wrong with a record, a line each: every digest, and every line of the journal."""
    folder = store.folder(*key)
    found: list[str] = []

    def tell(path: Path, what: str) -> None:
        found.append(f"{path}: {what}")

    events, damaged, _ = journal.read(folder / "journal.jsonl")
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
            tell(folder / "journal.jsonl", "does not tell of the result")
    sums = {event["file"]: event["sha256"] for event in events if event["event"] == "checkpoint"}
    for path in folder.iterdir():
        if path.name in sums:
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
        away = store.root / f".removed.{key[0]}.{key[1]}"
        shutil.rmtree(away, ignore_errors=True)
        folder.rename(away)
    shutil.rmtree(away)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
