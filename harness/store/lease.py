"""Who holds a run, on whatever machine: claims that are numbered, and a beat beside the newest.

`claim-7` names a process, which holds the run while there is no higher number. A thread of it counts on in `beat-7`,
four times a lease. Who sees no change there for a lease, by its own clock, makes `claim-8`. The former holder looks for
a higher number before it writes what must last, finds it, and stops. No claim is removed while the run is unfinished:
so no number comes twice, and no clock of one machine is set against that of another.

A look and the write that follows it are two things: two processes may train at once, for a moment. So each attempt
writes files of its own, which bear its number, and a result is put in place only where there is none.

A process of this machine that is gone holds nothing, and nobody waits for it. `flock` on `claim` keeps out a process of
an earlier version, which knows nothing else.

What is assumed of the folder, and what `harness.store.probe` tries:

- of two that create one name, by O_EXCL or by a link, one gets it;
- a rename is seen whole or not at all;
- what one machine has written, another reads in less than a lease. NFS caches for up to 60 s, so a lease is 90 s;
  HARNESS_LEASE=SECONDS says another, such as 10 where nothing is cached. A claim tells its own, and all heed that.
"""

import fcntl
import json
import math
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from harness import Problem
from harness.paths import flock, sync_folder, write_first

LEASE = 90.0  # seconds: more than the 60 for which NFS may keep what it knows of a folder
UNHEARD = 10  # leases by the file system's clock: then also a process that has watched for no lease takes over
NUMBERED = re.compile(r"(claim|beat|journal|weights|logits)-([1-9][0-9]{0,8})(\.jsonl|\.pt|\.npz|)")
RELEASED = b"released"


@dataclass(frozen=True)
class Owner:
    """A process, told from every other."""

    pid: str
    host: str
    kernel: str = ""  # on which kernel, and in which of its spaces of process numbers
    born: str = ""  # when it began: its number will be another's some day
    lease: float = LEASE  # seconds
    token: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def gone(self) -> bool:
        """Whether it is known to have ended; of other machines nothing is known."""
        return bool(self.kernel) and self.kernel == kernel() and born(self.pid) != self.born


class Held(Problem):
    """Another process holds the run."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(f"{owner} holds this run")
        self.owner = owner


class Lost(Held):
    """Another process has taken over a run that this one held."""

    def __init__(self, owner: Owner | None) -> None:
        Problem.__init__(self, f"{owner or 'another process'} took this run over: nothing of this attempt enters")
        self.owner = owner or Owner("?", "?")


def patience() -> float:
    """Seconds without a beat after which a run is another's to take."""
    text = os.environ.get("HARNESS_LEASE") or str(LEASE)
    with suppress(ValueError):
        if 0.01 <= float(text) < math.inf:
            return float(text)
    raise Problem(f"HARNESS_LEASE={text}: seconds are needed, such as {LEASE:.0f}")


@cache
def kernel() -> str:
    """What tells this kernel and space of processes from all others; "" where that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def born(pid: str) -> str:
    """When a process here began, in ticks since the kernel did; "" where there is none, or only what is left of it."""
    try:
        state, *rest = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def me() -> Owner:
    pid = str(os.getpid())
    return Owner(pid, socket.gethostname(), kernel(), born(pid), patience(), secrets.token_hex(8))


@dataclass(frozen=True)
class Word:
    """The newest claim in a folder, and its beat."""

    folder: Path
    number: int
    owner: Owner
    beat: bytes
    asked: float  # when this was looked up, by this process's clock

    @property
    def released(self) -> bool:
        return self.beat.startswith(RELEASED)

    def over(self) -> bool:
        """Whether its holder let go, ended, or was silent for too long."""
        return self.released or self.owner.gone() or self._silent() or self.unheard() > UNHEARD * self.owner.lease

    def _silent(self) -> bool:
        """Whether this process has seen no change for a lease, by its own clock."""
        heard, now = (self.number, self.owner.token, self.beat), time.monotonic()
        before, since = _watched.get(self.folder, (None, now))
        if heard != before:
            since = now
        _watched[self.folder] = heard, since
        return self.asked - since > self.owner.lease  # not `now`: who looks may itself be frozen after that

    def lives(self) -> bool:
        """Whether its holder works, as far as one look can tell: by the clock of the file system if it is elsewhere."""
        if self.released or self.owner.gone():
            return False
        return self.owner.kernel == kernel() or self.unheard() <= self.owner.lease

    def unheard(self) -> float:
        """Seconds since the beat, between two stamps of the file system's own clock."""
        then = 0.0
        for kind in ("claim", "beat"):
            with suppress(FileNotFoundError):
                then = os.stat(self.folder / f"{kind}-{self.number}").st_mtime
        try:
            return _stamp(self.folder / f".beat.{secrets.token_hex(4)}.{os.getpid()}") - then
        except OSError:  # a folder that may not be written to
            return time.time() - then


_watched: dict[Path, tuple[tuple[int, str, bytes], float]] = {}  # by folder: what was heard last, and since when


def _stamp(path: Path) -> float:
    """The time at which the file system makes a file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        os.write(file, b".")
        return os.fstat(file).st_mtime
    finally:
        os.close(file)
        path.unlink(missing_ok=True)


def numbers(folder: Path, *kinds: str) -> list[int]:
    """The numbers that files of these kinds bear."""
    return [int(m[2]) for name in os.listdir(folder) if (m := NUMBERED.fullmatch(name)) and m[1] in kinds]


def newest(folder: Path) -> Word | None:
    """The newest claim in a folder; None where there is none."""
    while True:
        asked = time.monotonic()
        number = max(numbers(folder, "claim"), default=0)
        if not number:
            return None
        with suppress(FileNotFoundError):  # the run came to its end meanwhile
            owner = _owner((folder / f"claim-{number}").read_bytes())
            beat = folder / f"beat-{number}"
            return Word(folder, number, owner, beat.read_bytes() if beat.exists() else b"", asked)


def _owner(data: bytes) -> Owner:
    try:
        told = json.loads(data)
        texts = {name: str(told[name])[:200] for name in ("pid", "host", "kernel", "born", "token")}
        return Owner(lease=max(0.01, float(told["lease"])), **texts)
    except (ValueError, KeyError, TypeError, RecursionError):
        return Owner("?", "?", lease=patience())  # half a claim, where no link makes it whole


def holder(folder: Path) -> Owner | None:
    """The process that holds the run in `folder`; None where none does."""
    path = folder / "claim"
    if not path.exists():
        return None
    file = os.open(path, os.O_RDONLY)
    try:
        free = _locked(file, fcntl.LOCK_SH, path)
        last = newest(folder)
        if last:
            return last.owner if last.lives() else None
        pid = "" if free else written(file)
        return Owner(pid, socket.gethostname()) if pid else None
    finally:
        os.close(file)


@contextmanager
def lock(folder: Path) -> Iterator["Lease"]:
    """Hold `folder`. Raises Held where another process does, here or elsewhere."""
    while True:
        try:
            file = _opened(folder)
        except FileNotFoundError:
            continue  # the folder was moved away meanwhile
        try:
            ours = _locked(file, fcntl.LOCK_EX, folder / "claim")
            lease = _taken(folder, file, ours)
            if lease:
                break
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    try:
        if ours:
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        try:
            yield lease
        finally:
            lease.release()
            if ours:
                os.ftruncate(file, 0)
    finally:
        os.close(file)


def _opened(folder: Path) -> int:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        sync_folder(folder.parent.parent)
    return os.open(folder / "claim", os.O_RDWR | os.O_CREAT, 0o666)


def _locked(file: int, how: int, path: Path) -> bool:
    try:
        flock(file, how | fcntl.LOCK_NB, path)
    except BlockingIOError:
        return False
    return True


def _taken(folder: Path, file: int, ours: bool) -> "Lease | None":
    """The next lease of a folder; None where that must be asked again. Raises Held."""
    try:
        if not os.path.samestat(os.fstat(file), os.stat(folder / "claim")):
            return None  # the folder was moved away between opening and locking
        last = newest(folder)
        if last and not last.over():
            raise Held(last.owner)
        if not (last or ours):  # one of an earlier version has it, or one that is about to make the first claim
            pid = written(file)
            if not pid:
                return None
            raise Held(Owner(pid, socket.gethostname()))
        lease = Lease(folder, 1 + max(numbers(folder, "claim", "journal"), default=0), me())
        write_first(folder / f"claim-{lease.number}", json.dumps(asdict(lease.owner)).encode())
        lease.begin()
        return lease
    except (FileNotFoundError, FileExistsError):  # moved away, or another was faster
        return None


def written(claim: int) -> str:
    """The PID in a claim that is held; "" where there is none: its owner writes it just after it took it."""
    for _ in range(50):
        pid = os.pread(claim, 40, 0).decode(errors="replace")
        if pid:
            return pid
        time.sleep(0.002)
    return ""


class Lease:
    """A run's folder that this process holds, until another takes it over."""

    def __init__(self, folder: Path, number: int, owner: Owner) -> None:
        self.folder, self.number, self.owner = folder, number, owner
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def begin(self) -> None:
        """Beat. A thread does, for a batch may take long; one of a process that is frozen does not."""
        self._say(b"0", os.O_CREAT)
        self.thread.start()

    def _beat(self) -> None:
        count = 0
        while not self.done.wait(self.owner.lease / 4):
            count += 1
            with suppress(OSError):  # a full disk: who says nothing for long loses the run
                self._say(str(count).encode())

    def _say(self, text: bytes, flags: int = 0) -> None:
        file = os.open(self.folder / f"beat-{self.number}", os.O_WRONLY | flags, 0o666)
        try:
            os.pwrite(file, text.ljust(12), 0)
        finally:
            os.close(file)

    def check(self) -> None:
        """Raises Lost where another process has taken the run over, or has moved it away."""
        try:
            last = newest(self.folder)
        except FileNotFoundError:
            last = None
        if not last or last.owner.token != self.owner.token:
            raise Lost(last.owner if last else None)

    def release(self) -> None:
        """Let go. A run that is finished needs no claims any more."""
        self.done.set()
        self.thread.join()  # its last beat is no word after this one
        with suppress(Lost, OSError):
            self.check()
            if not (self.folder / "result.json").exists():
                return self._say(RELEASED)
            kinds = [(m[1], int(m[2]), name) for name in os.listdir(self.folder) if (m := NUMBERED.fullmatch(name))]
            for kind, _, name in sorted(kinds):  # beats, then claims in order: the newest lives longest
                if kind in ("claim", "beat"):
                    (self.folder / name).unlink(missing_ok=True)
