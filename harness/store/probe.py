"""Whether a folder does what the store asks of it: what one machine can find out by itself."""

import fcntl
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness import Problem
from harness.paths import flock, sync, write_all
from harness.store.lease import patience

Seen = tuple[bool, str]
LOCKS = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def probe(folder: Path) -> list[tuple[str, bool, str]]:
    """What `harness.store.lease` assumes of `folder`: what it is, whether it holds, and what was seen."""
    place = folder / f".probe.{secrets.token_hex(4)}.{os.getpid()}"  # a probe of another node may bear the number
    place.mkdir(parents=True)
    try:
        return [(what, *_tried(attempt, place)) for what, attempt in ATTEMPTS.items()]
    finally:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


def _tried(attempt: Callable[[Path], Seen], place: Path) -> Seen:
    try:
        return attempt(place)
    except (OSError, Problem) as error:
        return False, str(error)


def _excludes(place: Path) -> Seen:
    for winner in (True, False):
        try:
            os.close(os.open(place / "first", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return not winner, "a second is refused" if not winner else "a name is taken that nobody took"
    return False, "two make one name"


def _renames(place: Path) -> Seen:
    (place / "old").write_bytes(b"old")
    (place / "new").write_bytes(b"new")
    (place / "new").rename(place / "old")
    seen = (place / "old").read_bytes()
    return seen == b"new" and not (place / "new").exists(), f"the name holds {seen.decode()}"


def _links(place: Path) -> Seen:
    (place / "one").write_bytes(b"whole")
    try:
        os.link(place / "one", place / "two")
    except OSError as error:
        return False, f"{error.strerror}: a result that is being placed by a process that is killed may be torn"
    try:
        os.link(place / "one", place / "two")
    except FileExistsError:
        return True, "a second is refused"
    return False, "two links make one name"


def _appends(place: Path) -> Seen:
    path = place / "lines"
    for line in (b"one\n", b"two\n"):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            write_all(file, line)
            sync(file, path)
        finally:
            os.close(file)
    seen = path.read_bytes()
    return seen == b"one\ntwo\n", f"{len(seen)} of 8 bytes"


def _locks(place: Path) -> Seen:

    with (place / "locked").open("w") as file:
        flock(file.fileno(), fcntl.LOCK_EX, place / "locked")
        other = subprocess.run([sys.executable, "-ISc", LOCKS, place / "locked"], capture_output=True, check=False)
    return other.returncode != 0, "another process waits" if other.returncode else "two processes lock one file"


def _in_time(place: Path) -> Seen:
    (place / "now").write_bytes(b".")
    skew = (place / "now").stat().st_mtime - time.time()
    return abs(skew) < patience(), f"{skew:+.2f} s, a lease is {patience():g} s"


ATTEMPTS: dict[str, Callable[[Path], Seen]] = {
    "exclusive creation": _excludes,
    "rename over a file": _renames,
    "links": _links,
    "append and flush": _appends,
    "locks between processes here": _locks,
    "clock of the folder against this machine's": _in_time,
}
