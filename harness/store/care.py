"""Looking after a store: how runs stand, and whether every byte is what it was."""

import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from harness import Problem
from harness.paths import write_atomic
from harness.store import FILES_OF, FORMAT, TRACEBACK, Record, Store, journal, kept, known_format, lease, sha256
from harness.store.helped import Look, helped

Key = tuple[str, int]
RECORD = ("spec.json", "journal.jsonl", *FILES_OF.values(), "result.json")
FILES = {*RECORD, "refused.json", "claim", TRACEBACK}
LIFE = "from harness.store import care, helped; helped.tell(care.look)"  # of a process that looks through runs too


def holder(store: Store, key: Key) -> lease.Owner | None:
    """The process that holds a run, here or elsewhere; None where none does."""
    return lease.holder(store.folder(*key))


def standing(store: Store, key: Key) -> dict[str, Any]:
    """How a run stands: its state, score, epochs done, bytes on disk, and when something last happened.

    The score, in percent, is that of its headline metric, whose name is `by`; None of a run that has no record.
    """
    folder = store.folder(*key)
    over = key in store or (folder / "refused.json").exists()
    events = [] if over else store.events(*key)  # of a run that is over the record tells, but when something happened
    last = journal.last(folder) if over else events[-1] if events else {}
    row: dict[str, Any] = {
        "state": {"failed": "failed", "interrupted": "interrupted"}.get(last.get("event", ""), "killed"),
        "score": None,
        "by": "",
        "epochs": _epochs(events),
        "bytes": size(folder),
        "time": last.get("time"),
    }
    try:
        record = store.read(*key) if key in store else store.refused(*key)
        if record:
            return row | {
                "state": record["status"],
                "score": float(record["metrics"][record.get("score", "top1")]),
                "by": record.get("score", "top1"),
                "epochs": len(record["epochs"]),
            }
    except Problem:
        return row | {"state": "damaged", "epochs": _epochs(store.events(*key))}
    owner = holder(store, key)
    return row | ({"state": f"held by {_short(owner)}"} if owner else {} if events else {"state": "not begun"})


def _epochs(events: list[journal.Event]) -> int:
    return len({event.get("epoch") for event in events if event["event"] == "epoch"})


def _short(owner: lease.Owner) -> str:
    return owner.pid if owner.host == socket.gethostname() else f"{owner.pid} on {owner.host}"


def size(folder: Path) -> int:
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a checkpoint gives way to the next
                total += os.stat(f"{at}/{name}").st_size
    return total


def troubles(store: Store, key: Key) -> list[str]:
    """What is wrong with a run's folder, a line each: its record, and whatever else lies there."""
    return [*damage(store, key)[1], *_strays(store, key)]


def damage(store: Store, key: Key) -> tuple[Record | None, list[str]]:
    """The record of a run, and what is wrong with it, a line each: every digest, and every line of the journal."""
    folder = store.folder(*key)
    found: list[str] = []

    def tell(path: Path, what: str) -> None:
        found.append(f"{path}: {what}")

    parts = journal.parts(folder)
    for part in parts:
        for number in part.damaged():
            tell(part.path, f"line {number} is damaged")
    path, events = parts[-1].path, journal.events_of(parts)
    if not found and [event["seq"] for event in events] != list(range(len(events))):
        tell(path, "lines are missing")
    try:
        for event in events:
            known_format(event.get("format", FORMAT), path)
        form = store.form(*key) if events or key in store else b""
        record = store.read(*key) if key in store else store.refused(*key)
    except Problem as problem:
        return None, [*found, str(problem)]
    if record:
        for what, name in FILES_OF.items():
            file = folder / name
            if record.get(what) is None and file.exists():
                tell(file, "is no part of its record")
            elif record.get(what) is not None and kept(record[what], file) is None:
                tell(file, "is damaged, its digest is another" if file.exists() else "is missing")
        if record["digest"] not in [event.get("digest") for event in events]:
            tell(path, "does not tell of the result")
        if parts[-1].torn:
            tell(path, "ends in half a line")
    spec = [event.get("spec") for event in events if event["event"] == "started"]
    if spec and sha256(form) != spec[-1]:
        tell(folder / "spec.json", "is damaged, its digest is another")
    return record, found


def _strays(store: Store, key: Key) -> Iterator[str]:
    """Checkpoints that are damaged, and files that are no part of a record."""
    sums = {event["file"]: event["sha256"] for event in store.events(*key) if event["event"] == "checkpoint"}
    for path in store.folder(*key).iterdir():
        if path.name in sums:
            with suppress(FileNotFoundError):  # it gives way to the next
                if sha256(path.read_bytes()) != sums[path.name]:
                    yield f"{path}: is damaged, its digest is another"
        elif not (
            path.name in FILES or path.name.startswith((".", "checkpoint-")) or lease.NUMBERED.fullmatch(path.name)
        ):
            yield f"{path}: is no part of a record"


def records(store: Store, keys: Iterable[Key]) -> Iterator[tuple[Key, Record | None, str]]:
    """Each of these runs, once: its record, where it is finished or refused; what is wrong, first, with a damaged one.

    A run found whole is not looked through again while its files have the size, times and inode that they had then,
    which `checked.json` beside the store remembers: 10,000 runs with weights of 100 MB would be read for an hour.
    Of many that were not, the other cores look through a part.
    """
    path = store.root.parent / "checked.json"
    known = _found_whole(path)
    whole = {}
    names = {key: f"{key[0]}/{key[1]}" for key in keys}
    with helped(store, [key for key, name in names.items() if name not in known], LIFE) as looked:
        for key, name in names.items():
            now = as_it_is(f"{store.root}/{name}")
            fresh = now and known.get(name) != now
            seen, wrong = looked(key) if fresh else (now, [])
            if seen != now:  # nobody has looked at it as it is
                record, wrong = damage(store, key)
            elif not wrong:
                record, wrong = _again(store, key)
            if fresh and not wrong:
                whole[name] = now
            yield key, None if wrong else record, wrong[0] if wrong else ""
    if whole:
        with suppress(OSError):  # a store that may not be written to is looked at each time
            write_atomic(path, json.dumps({"rules": _rules(), "runs": known | whole}).encode())


def _found_whole(path: Path) -> dict[str, str]:
    """Of the runs that were found whole, by the rules of now, what they looked like then: see `as_it_is`."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    rules, found = (told.get("rules"), told.get("runs")) if isinstance(told, dict) else (None, None)
    return found if rules == _rules() and isinstance(found, dict) else {}


def _again(store: Store, key: Key) -> tuple[Record | None, list[str]]:
    """The same as `damage`, of a run that was looked through: its digest is checked, and no more."""
    try:
        return store.read(*key, known=True) if key in store else store.refused(*key), []
    except Problem as problem:
        return None, [str(problem)]


def look(store: Store, key: Key) -> Look:
    """A run's files as they are, and what is wrong with them: of one that is not finished nothing is asked."""
    now = as_it_is(f"{store.root}/{key[0]}/{key[1]}")
    return now, damage(store, key)[1] if now else []


@cache
def _rules() -> str:
    """A digest of what records are held against: one found whole by other rules is looked through again."""
    from harness.store import schema  # pydantic's, which --help need not wait for

    return sha256(Path(schema.__file__).read_bytes())


def as_it_is(folder: str) -> str:
    """A digest of what the system tells of a finished run's files; "" of one that is not finished."""
    told = []
    for name in (*RECORD, "refused.json"):
        try:
            stat = os.stat(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        told.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    over = told and told[-1][0].startswith(("result", "refused"))
    return sha256(repr(told).encode())[:16] if over else ""
