"""A run that has every state a run can have, and processes in which it meets with harm.

They are forked from a server that has loaded all they need, so that one starts in milliseconds: `tests.faults.warm`.
"""

import errno
import itertools
import os
import re
import resource
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness import paths, store, train
from harness.engine import execute, settle
from harness.engine.ranks import Beside
from harness.engine.worker import work
from harness.spec import Augment, Model, Spec, stack, upstream
from harness.store import Held, Store, journal, lease
from harness.study import Run
from harness.train import PLAIN
from harness.tricks.cosine import cosine
from harness.tricks.distillation import distillation
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.no_bias_decay import no_bias_decay
from harness.tricks.warmup import warmup
from tests.faults.commands import FORKS
from tests.kit import tiny

ENDS = ("finished", "failed", "held", "interrupted", "died")
HANGS = 120.0  # seconds of silence
BEAT = 0.125  # seconds a batch, by the clock of `beat`: a power of two, so that sums are exact

Event = dict[str, Any]
Harm = Callable[[], None]  # done to a process before it works


class Dropping(Model):
    """A small network that draws by itself while it trains."""

    width: int = 8

    def build(self, channels: int, classes: int) -> nn.Module:
        layers = [nn.Conv2d(channels, self.width, 3, padding=1, bias=False), nn.BatchNorm2d(self.width)]
        layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3)]
        return nn.Sequential(*layers, nn.Linear(16 * self.width, classes))


class Counted(Augment):
    """Leaves images as they are, and adds a byte to `file` for each batch that is served."""

    served: ClassVar[int] = 0  # in this process
    file: Path | None = None

    def identity(self) -> dict[str, Any]:
        return {}

    def __call__(self, x: Tensor, rng: object) -> Tensor:
        if self.file and torch.is_grad_enabled():  # the loop's, and not those that its evidence asks for again
            Counted.served += 1
            with self.file.open("ab") as file:
                file.write(b".")
        return x


def counted(spec: Spec, file: Path) -> Spec:
    return spec.having("augment", Counted(file=file))


BASE = tiny.BASELINE.but(model=Dropping(), batch_size=100, epochs=3).having("augment", Counted())
SPEC = stack(
    BASE.but(microbatch=50),
    (
        partial(warmup, epochs=1),
        no_bias_decay,
        fp16,
        cosine,
        label_smoothing,
        partial(mixup, epochs=1),
        partial(distillation, model=tiny.BASELINE.model),
    ),
)
TEACHER = upstream(SPEC)[0]
SHORT = BASE.but(epochs=1, batch_size=298)  # two batches: for what is asked many times
BATCHES = SPEC.epochs * (597 // SPEC.batch_size)


# --- harm -----------------------------------------------------------------------------------------------------------


class Disk:
    """Stands for `os` where runs are written, counts the operations on files from 0, and does harm at one of them.

    `how` is "before", "half" of a write, or "after": the process kills itself; "full" or "full once": there is no space
    left from then on, or at this operation alone, after half of a write. Every operation's name goes to `log`.
    """

    def __init__(self, at: int = -1, how: str = "", log: Path | None = None) -> None:
        self.at, self.how, self.log = at, how, log
        self.count = 0
        self.full = False
        self.names: dict[int, str] = {}  # of open files

    def __call__(self) -> None:
        """Put it in the place of `os`, in this process."""
        unlink = Path.unlink
        for module in (paths, store, journal, lease):
            module.os = self  # type: ignore[attr-defined]
        Path.unlink = lambda path, *a, **k: self._do("unlink", path, lambda: unlink(path, *a, **k))  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        file: int = self._do("create" if flags & os.O_CREAT else "open", path, lambda: os.open(path, flags, mode))
        self.names[file] = name_of(path)
        return file

    def write(self, file: int, data: Any) -> int:
        half = len(data) // 2
        return self._do("write", file, lambda: os.write(file, data), lambda: os.write(file, data[:half]))

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        return self._do("write", file, lambda: os.pwrite(file, data, offset))

    def ftruncate(self, file: int, length: int) -> None:
        self._do("truncate", file, lambda: os.ftruncate(file, length))

    def fsync(self, file: int) -> None:
        self._do("fsync", file, lambda: os.fsync(file))

    def rename(self, old: Any, new: Any) -> None:
        self._do("rename", new, lambda: os.rename(old, new))

    def link(self, old: Any, new: Any) -> None:
        self._do("link", new, lambda: os.link(old, new))

    def _do(self, what: str, on: Any, whole: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        number, self.count = self.count, self.count + 1
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{what} {self.names[on] if isinstance(on, int) else name_of(on)}\n")
        if number == self.at:
            return self._harm(what, whole, half)
        if self.full and what in ("create", "write", "fsync"):
            self.full = self.how != "full once"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole()

    def _harm(self, what: str, whole: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
        if self.how.startswith("full"):
            if what == "write" and half:
                self.full = True
                return half()  # as the kernel does: what fits is written, and the next write fails
            self.full = self.how != "full once"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.how != "before":
            (half if self.how == "half" and half else whole)()
        os.kill(os.getpid(), signal.SIGKILL)


def name_of(path: Any) -> str:
    """A file's name without what differs from run to run: a process's number, an attempt's, a folder's name."""
    name = re.sub(r"(\.[0-9a-f]{8})?\.\d+$", "", Path(path).name)
    return "folder" if Path(path).is_dir() else re.sub(r"^(\.?\w+)-\d+(?=-|\.jsonl|\.pt|$)", r"\1", name)


def nothing() -> None: ...


def limit(size: int) -> None:
    """No file may grow beyond so many bytes: a disk that is full, by the kernel itself."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def step_back(after: int) -> None:
    """The wall clock loses a day when it was asked so many times."""
    real, asked = time.time, itertools.count()
    time.time = lambda: real() - 86_400 * (next(asked) >= after)


def both(one: Harm, other: Harm) -> None:
    one()
    other()


class beat:
    """Stands for `time` in the store and the loop: every batch takes `BEAT` seconds, and nothing else any."""

    time = staticmethod(time.time)

    @staticmethod
    def monotonic() -> float:
        return BEAT * Counted.served


def chatter() -> None:
    """Say something after every batch."""
    train.HEARTBEAT = 0.0


def keep_time_by_batches() -> None:
    store.time = train.time = beat  # type: ignore[assignment]


# --- processes ------------------------------------------------------------------------------------------------------


def _victim(connection: Connection, runs: Store, every: float, harm: Harm) -> None:
    said = os.open(runs.root.parent / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 2)
    harm()
    work(connection, runs, "cpu", 1, every, PLAIN)


def start(runs: Store, run: Run, every: float = 0.0, harm: Harm = nothing) -> tuple[Any, Connection]:
    """A worker as the engine has them, that was told to train a run; what it prints goes beside the store."""
    ours, theirs = FORKS.Pipe()
    with socket.socket(fileno=os.dup(theirs.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0)  # a few events that nobody reads, and the next one waits
    process = FORKS.Process(target=_victim, args=(theirs, runs, every, harm))
    process.start()
    theirs.close()
    ours.send((run, Beside()))
    return process, ours


def attempt(runs: Store, run: Run, moment: float | None = None, **how: Any) -> list[Event]:
    """What a worker says of an attempt at a run, up to its end; `moment` is when to kill it, in seconds."""
    process, connection = start(runs, run, **how)
    until = None if moment is None else time.monotonic() + moment
    said: list[Event] = []
    while not said or said[-1]["kind"] not in ENDS:
        if connection.poll(HANGS if until is None else max(0.0, until - time.monotonic())):
            try:
                said.append(connection.recv())
            except (EOFError, ConnectionResetError):
                said.append({"kind": "died"})
        else:
            process.kill()
            assert until, f"silent for {HANGS:g} s after {said}"
            until = None
    connection.close()  # it ends, as a worker does whose parent is gone
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return said


def contender(barrier: Any, connection: Connection, root: Path, runs: list[Run], rounds: int) -> None:
    """In each round, at once with the others, ask for the same runs until each is there; tells who held them."""
    device = settle("cpu")
    for number in range(rounds):
        held: list[tuple[str, str]] = []
        barrier.wait(HANGS)
        for run in runs:
            while True:
                try:
                    execute(*run, Store(root / str(number)), device)
                    break
                except Held as problem:
                    held.append((problem.owner.pid, str(problem)))
                    time.sleep(0.001)
        connection.send(held)
