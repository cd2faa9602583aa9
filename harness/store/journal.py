"""The journal of a run: a file of JSON lines that only grows, one line an event.

Each line has `seq`, counted from 0 over all attempts at the run; `event`; `after`, seconds since the attempt began by
a clock that nobody sets; `time`, what the wall clock said; and last `crc`, of all before it. What a kill tears is the
last line: it is not read, and is cut off before the next is written.
"""

import json
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.paths import sync, sync_folder, write_all

Event = dict[str, Any]
MARK = b', "crc": "'


def line(event: Event) -> bytes:
    text = json.dumps(event).encode()[:-1]
    return text + MARK + b'%08x"}\n' % zlib.crc32(text)


def parse(text: bytes) -> Event | None:
    """The event of a line that is whole; None of any other."""
    body, mark, end = text.rpartition(MARK)
    if not mark or end != b'%08x"}' % zlib.crc32(body):
        return None
    try:
        event = json.loads(body + b"}")
    except ValueError:
        return None
    known = isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("seq"), int)
    return event if known else None


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


class Journal:
    """Adds events to the journal at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events, _, self.size = read(path)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.ftruncate(self.file, self.size)
        sync_folder(path.parent)
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
