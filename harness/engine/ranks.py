"""The processes of a run on several ranks, beside rank 0, which is the worker that has the run: begun, watched, ended.

Each ends within a second of rank 0, whose child it is. Where one is gone, rank 0 ends at once: to the scheduler its
process is lost, and the run goes on from its checkpoint. One that fails says why, and the run fails by that.
"""

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from harness import Problem
from harness.ranks import Alone, Gone, joined
from harness.spec import Spec

LOST = 70  # the exit code of rank 0 where another rank is gone
GRACE = 10.0  # seconds for rank 0 to hear from its collective that a rank failed: NCCL's may wait for ever


@dataclass(frozen=True)
class Beside:
    """Where ranks 1, 2, … of a run have their places, names of devices, and how their processes start."""

    places: tuple[str, ...] = ()
    method: str = "spawn"


@contextmanager
def gathered(spec: Spec, device: Any, beside: Beside, follow: Callable[..., None]) -> Iterator[Alone]:
    """Rank 0, on `device`, of a run that is to be trained with others `beside`; alone where it is for one process.

    `follow(pipe, rank, file, place)` is the life of another rank: they meet by the `file`, and by the pipe it says why
    it failed.
    """
    if not spec.ranks:
        yield Alone()
        return
    places = beside.places
    if not places and device.type == "cpu":
        places = ("cpu",) * (spec.ranks - 1)
    if len(places) != spec.ranks - 1:
        raise Problem(
            f"ranks={spec.ranks} needs as many GPUs, and this run was given {len(places) + 1}: set ranks lower"
        )
    context: Any = multiprocessing.get_context(beside.method)
    with tempfile.TemporaryDirectory(prefix="harness-ranks-") as folder:
        others = _Others()
        for rank, place in enumerate(places, 1):
            others.begin(context, follow, (rank, Path(folder) / "meeting", place))
        threading.Thread(target=others.watch, daemon=True).start()
        try:
            with joined(0, spec.ranks, Path(folder) / "meeting", device) as own:
                yield own
        except Gone:
            others.verdict()
        finally:
            others.end()


class _Others:
    """The processes of ranks 1, 2, …"""

    def __init__(self) -> None:
        self.processes: list[Any] = []
        self.pipes: list[Any] = []
        self.ending = threading.Event()

    def begin(self, context: Any, follow: Callable[..., None], told: tuple[Any, ...]) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=follow, args=(theirs, *told))
        process.start()
        theirs.close()
        self.processes.append(process)
        self.pipes.append(ours)

    def watch(self) -> None:
        """Until the run ends: where a rank does before, the run does with it."""
        left = list(self.processes)
        while left and not self.ending.is_set():
            ready = wait([process.sentinel for process in left], 1.0)
            ended = [process for process in left if process.sentinel in ready]
            if any(process.exitcode for process in ended) and not self.ending.wait(GRACE * bool(self._said())):
                self._lose()
            left = [process for process in left if process not in ended]

    def _said(self) -> bool:
        return any(not pipe.closed and pipe.poll() for pipe in self.pipes)

    def verdict(self) -> None:
        """Rank 0 cannot go on: the error that a rank told, if one did; else this process ends."""
        for rank, pipe in enumerate(self.pipes, 1):
            with suppress(EOFError, OSError):
                if pipe.poll(1.0):
                    told = pipe.recv()
                    self.ending.set()
                    raise Problem(f"rank {rank}: {told}")
        self._lose()

    def _lose(self) -> None:
        for rank, pipe in enumerate(self.pipes, 1):  # one that failed before it joined: rank 0 waits, and cannot say it
            with suppress(EOFError, OSError):
                if pipe.poll():
                    print(f"rank {rank}: {pipe.recv()}", file=sys.stderr, flush=True)
        for process in self.processes:
            process.kill()
        os._exit(LOST)  # as if killed: nothing that it writes can be torn

    def end(self) -> None:
        self.ending.set()
        for process in self.processes:
            process.kill()  # it has nothing of its own
            process.join()


def end_with(parent: int) -> None:
    """In a rank that is not 0: end where rank 0 is gone, also in the middle of what takes for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)
