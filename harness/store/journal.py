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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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


Line = tuple[Event | None, bytes]  # None where it is damaged


@dataclass(frozen=True)
class Part:
    """A file of a journal as it was read."""

    path: Path
    lines: list[Line]
    torn: int  # bytes after the last newline

    def damaged(self) -> list[int]:
        """The numbers of damaged lines, from 1."""
        return [number for number, (event, _) in enumerate(self.lines, 1) if event is None]


def read(path: Path) -> Part:
    """A journal's lines; none of one that is not there."""
    try:
        *texts, rest = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Part(path, [], 0)
    return Part(path, [(parse(text), text + b"\n") for text in texts], len(rest))


def files(folder: Path) -> list[Path]:
    """The journals of a run: the merged one, be it there or not, and those of attempts, in order."""
    names = os.listdir(folder) if folder.is_dir() else []
    found = sorted((int(m[1]), m[0]) for name in names if (m := ATTEMPT.fullmatch(name)))
    return [folder / "journal.jsonl", *(folder / name for _, name in found)]


def parts(folder: Path) -> list[Part]:
    """The journals of a run as they are, those of attempts read before the merged one: somebody may be making it."""
    merged, *numbered = files(folder)
    later = [read(path) for path in numbered]
    return [read(merged), *later]


def events(folder: Path) -> list[Event]:
    """What the attempts at a run tell, in order."""
    return events_of(parts(folder))


def events_of(read: Sequence[Part]) -> list[Event]:
    """The same, of parts that were read."""
    return [event for lines in _counting(read) for event, _ in lines if event]


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
        write_atomic(merged, b"".join(text for lines in _counting(parts(folder), digest) for _, text in lines))
    for path in numbered:
        path.unlink(missing_ok=True)


def _counting(read: Sequence[Part], digest: str = "") -> list[list[Line]]:
    """The lines of each journal that count."""
    merged, *later = (list(part.lines) for part in read)
    begun = max((event["seq"] for event, _ in merged if event), default=-1)
    found = [merged, *(lines for lines in later if _first(lines) > begun)]  # what the merged one has is not told twice
    for at, lines in enumerate(found):
        if digest and any(event and event.get("digest") == digest for event, _ in lines):
            del found[at + 1 :]
    ends = math.inf
    for lines in reversed(found):
        cut = next((at for at, (event, _) in enumerate(lines) if event and event["seq"] >= ends), len(lines))
        del lines[cut:]
        ends = min(ends, _first(lines))
    return found


def _first(lines: Sequence[Line]) -> float:
    return next((event["seq"] for event, _ in lines if event), math.inf)


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
