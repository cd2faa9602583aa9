"""The processes of a run on several ranks, beside rank 0, which is the worker that has the run: begun, watched, ended.

Each ends within a second of rank 0, whose child it is. Where one is gone, rank 0 ends at once: to the scheduler its
process is lost, and the run goes on from its checkpoint. One that fails says why, and the run fails by that.

A job of Slurm's that has several nodes has ranks on all of them: `srun` begins those of the others, and they read what
to train from its input, which also tells them, by its end, that rank 0 is gone.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from harness import Problem
from harness.ranks import Alone, Gone, joined
from harness.spec import Spec, upstream
from harness.study import Run

LOST = 70  # the exit code of rank 0 where another rank is gone
GRACE = 10.0  # seconds for rank 0 to hear from its collective that a rank failed: NCCL's may wait for ever


@dataclass(frozen=True)
class Beside:
    """Where ranks 1, 2, … of a run have their places, names of devices, and how their processes start.

    "NODE/DEVICE" is another node's; `begin` is the command that `srun` is to run there, and `folder` all nodes see.
    """

    places: tuple[str, ...] = ()
    method: str = "spawn"
    begin: tuple[str, ...] = ()
    folder: Path | None = None


def widest(runs: Iterable[Run]) -> int:
    """Ranks, at most, of these runs and of what they build on."""
    return max((each.places for run in runs for each in (run[0], *upstream(run[0]))), default=1)


@contextmanager
def gathered(spec: Spec, device: Any, beside: Beside, follow: "partial[None]") -> Iterator[Alone]:
    """Rank 0, on `device`, of a run that is to be trained with others `beside`; alone where it is for one process.

    `follow(pipe, rank, file, far, place)` is the life of another rank: they meet by the `file`, and by the pipe it says
    why it failed.
    """
    if not spec.ranks:
        yield Alone()
        return
    places = beside.places
    if not places and device.type == "cpu":
        places = ("cpu",) * (spec.ranks - 1)
    if len(places) != spec.ranks - 1:
        raise Problem(
            f"ranks={spec.ranks} needs as many GPUs, and this run was given {len(places) + 1}: ask for more, of Slurm "
            'by --slurm "gres=gpu:N" or "nodes=N", or set ranks lower'
        )
    context: Any = multiprocessing.get_context(beside.method)
    far = any("/" in place for place in places)
    with tempfile.TemporaryDirectory(prefix="harness-ranks-", dir=beside.folder if far else None) as folder:
        others, meeting = _Others(), Path(folder) / "meeting"
        for rank, place in enumerate(places, 1):
            life = partial(elsewhere, begin=beside.begin, run=follow.keywords) if "/" in place else follow
            others.begin(context, life, (rank, meeting, far, place))
        threading.Thread(target=others.watch, daemon=True).start()
        try:
            with joined(0, spec.ranks, meeting, device, far) as own:
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
        left: dict[Any, int] = {pipe: rank for rank, pipe in enumerate(self.pipes, 1)}
        until = time.monotonic() + GRACE
        while left and (ready := wait(left, max(0.0, until - time.monotonic()))):
            pipe: Any
            for pipe in ready:  # it was told something, or its rank has ended
                rank = left.pop(pipe)
                with suppress(EOFError, OSError):
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


def elsewhere(
    pipe: Any, rank: int, file: Path, far: bool, place: str, *, begin: tuple[str, ...], run: dict[str, Any]
) -> None:
    """In a process of this node: a rank of another node, begun there, and what it says at its end."""
    from harness.engine.mailbox import written

    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    node, device = place.split("/")
    line = ["srun", "--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={node}", "--input=0", *begin]
    order = {"run": written((run["spec"], run["seed"])), "rank": rank, "file": str(file), "place": device}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as there:
        assert there.stdin
        assert there.stdout
        there.stdin.write(json.dumps(order) + "\n")
        there.stdin.flush()  # and left open
        said, code = there.stdout.read().strip(), there.wait()
    if said:
        with suppress(OSError):
            pipe.send(said.splitlines()[-1])
    os._exit(code)


def end_with(parent: int) -> None:
    """In a rank that is not 0: end where rank 0 is gone, also in the middle of what takes for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)
