"""The journal of a run: files of JSON lines that only grow, one line an event, one file an attempt.

Each line has `seq`, counted from 0 over all attempts at the run; `event`; `after`, seconds since the attempt began by
a clock that nobody sets; `time`, what the wall clock said; and last `crc`, of all before it. What a kill tears is the
last line: it is not read.

Attempt 7 writes `journal-7.jsonl`, so that no two processes add to one file. What it adds after attempt 8 has begun,
which bears numbers that attempt 8 has given too, is not of the record. The journals of a finished run are made one,
`journal.jsonl`.
"""

import json
import math
import os
import re
import time
import zlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.paths import sync, sync_folder, write_all, write_atomic

Event = dict[str, Any]
MARK = b', "crc": "'
ATTEMPT = re.compile(r"journal-([1-9][0-9]*)\.jsonl")


def line(event: Event) -> bytes:
    text = json.dumps(event).encode()[:-1]
    return text + MARK + b'%08x"}\n' % zlib.crc32(text)


def loads(data: bytes) -> Any:
    """What JSON says, and raises, as `json.loads` has it, in half the time; equal short texts are one."""
    from pydantic_core import from_json  # which --help need not wait for

    try:
        return from_json(data, cache_strings="all")
    except ValueError:  # it takes no lone surrogate, which a name of a file may have
        return json.loads(data)


@lru_cache(4096)
def parse(text: bytes) -> Event | None:
    """The event of a line that is whole, and is one; None of any other. Shared by those who read the line again."""
    import harness.store.schema as schema  # pydantic's, which --help need not wait for

    body, mark, end = text.rpartition(MARK)
    if not mark or end != b'%08x"}' % zlib.crc32(body):
        return None
    try:
        event = loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    return event if schema.event(event) else None


def read(path: Path) -> tuple[list[Event], list[int], int]:
    """The events that are whole, the numbers of damaged lines, from 1, and the length in bytes without a torn end."""
    data = path.read_bytes() if path.exists() else b""
    lines = data.split(b"\n")
    events, damaged = [], []
    torn = bool(lines.pop())  # what follows the last newline
    for number, text in enumerate(lines, 1):
        event = parse(text)
        if event is None:
            damaged.append(number)
        else:
            events.append(event)
    return events, damaged, data.rfind(b"\n") + 1 if torn else len(data)


def files(folder: Path) -> list[Path]:
    """The journals of a run: the merged one, be it there or not, and those of attempts, in order."""
    names = os.listdir(folder) if folder.is_dir() else []
    found = sorted((int(m[1]), m[0]) for name in names if (m := ATTEMPT.fullmatch(name)))
    return [folder / "journal.jsonl", *(folder / name for _, name in found)]


def events(folder: Path) -> list[Event]:
    """What the attempts at a run tell, in order."""
    return [event for part in _parts(folder) for event, _ in part if event]


def last(folder: Path) -> Event:
    """The last of `events`, of a finished run without a look at the others; empty where there is none."""
    merged, *numbered = files(folder)
    if numbered or not merged.exists():
        return (events(folder) or [{}])[-1]
    texts = merged.read_bytes().split(b"\n")[:-1]
    return next((event for text in reversed(texts) if (event := parse(text))), {})


def merge(folder: Path, digest: str) -> None:
    """Make one journal of those of a finished run, up to the attempt that came to the result of that digest."""
    merged, *numbered = files(folder)
    if numbered:
        write_atomic(merged, b"".join(text for part in _parts(folder, digest) for _, text in part))
    for path in numbered:
        path.unlink(missing_ok=True)


Line = tuple[Event | None, bytes]  # None where it is damaged


def _parts(folder: Path, digest: str = "") -> list[list[Line]]:
    """The lines of each journal that count."""
    merged, *numbered = files(folder)
    later = [_lines(path) for path in numbered]  # before the merged one, which somebody may be making of them now
    parts = [_lines(merged)]
    begun = max((event["seq"] for event, _ in parts[0] if event), default=-1)
    parts += [part for part in later if _first(part) > begun]  # what is in the merged one is not told twice
    for at, part in enumerate(parts):
        if digest and any(event and event.get("digest") == digest for event, _ in part):
            del parts[at + 1 :]
    ends = math.inf
    for part in reversed(parts):
        cut = next((at for at, (event, _) in enumerate(part) if event and event["seq"] >= ends), len(part))
        del part[cut:]
        ends = min(ends, _first(part))
    return parts


def _first(part: list[Line]) -> float:
    return next((event["seq"] for event, _ in part if event), math.inf)


def _lines(path: Path) -> list[Line]:
    try:
        texts = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [(parse(text), text + b"\n") for text in texts]


class Journal:
    """Adds events to the journal of an attempt."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self.path = folder / f"journal-{attempt}.jsonl"
        self.events = events(folder)
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self.size = os.fstat(self.file).st_size
        sync_folder(folder)
        self.began = time.monotonic()

    def add(self, event: str, safe: bool = False, **fields: Any) -> None:
        """One line. `safe` waits until it is on disk; others survive the process, though not a power cut."""
        seq = self.events[-1]["seq"] + 1 if self.events else 0
        after = round(time.monotonic() - self.began, 6)
        entry = {"seq": seq, "event": event, "after": after, "time": time.time(), **fields}
        text = line(entry)
        try:
            write_all(self.file, text)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self.file, self.size)  # what fitted on a full disk is no line
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self.size += len(text)
        self.events.append(entry)
        if safe:
            sync(self.file, self.path)

    def close(self) -> None:
        os.close(self.file)
