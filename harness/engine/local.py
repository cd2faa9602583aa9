"""Processes on this machine: they are started, told what to do, and heard."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from harness import Problem
from harness.engine.ranks import LOST, Beside
from harness.engine.scheduler import ENDS, Event
from harness.engine.signals import unheard
from harness.engine.worker import FAULT, STOP, work
from harness.spec import Spec
from harness.store import Store
from harness.study import Run
from harness.train import PLAIN, How


def places(device: str | None, jobs: int | None) -> list[str]:
    """A device name for each process: one a core on the CPU, one a GPU on CUDA, unless `jobs` says otherwise.

    Raises Problem on a device that is not there.
    """
    import torch

    try:
        kind = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise Problem(f"--device {device}: unknown; use cpu, cuda or cuda:N") from None
    if kind.type == "cpu":
        return ["cpu"] * (jobs or len(os.sched_getaffinity(0)))
    if kind.type != "cuda":
        raise Problem(f"--device {device}: only cpu and cuda are supported")
    count = torch.cuda.device_count()
    if count <= (kind.index or 0):
        raise Problem(f"--device {device}: this machine has {count} CUDA devices")
    chosen = [kind.index] if kind.index is not None else list(range(count))
    return [f"cuda:{chosen[i % len(chosen)]}" for i in range(jobs or len(chosen))]


def decoders(jobs: int) -> int:
    """Processes that decode photos for each of `jobs`."""
    return max(1, min(8, len(os.sched_getaffinity(0)) // jobs))


@dataclass(eq=False)
class Worker:
    """A process, which trains one run at a time."""

    connection: Connection
    process: Any
    place: str
    run: Run | None = None
    others: list[str] = field(default_factory=list)  # places of its run's further ranks


@dataclass
class Local:
    """The launcher of this machine: a process for each of `places`, once there is a run for it; see `Launcher`.

    A run's handle is the process that has it. Each rank of a run takes a place, unless `beside` says where they go.
    """

    store: Store
    places: Sequence[str]
    every: float  # seconds between checkpoints within an epoch
    method: str = "spawn"  # how processes start
    beside: Callable[[Spec], Beside] | None = None
    how: How = PLAIN
    life: Callable[..., None] = work  # of a process
    workers: list[Worker] = field(default_factory=list, init=False)

    def free(self) -> int:
        return len(self.places) - sum(self.width(worker.run) for worker in self.workers if worker.run)

    def width(self, run: Run) -> int:
        return 1 if self.beside else run[0].places

    def start(self, run: Run) -> Worker:
        left = list(self.places)
        for place in (p for each in self.workers if each.run for p in (each.place, *each.others)):
            left.remove(place)
        idle = (worker for worker in self.workers if worker.run is None and worker.place in left)  # no rank is there
        worker = next(idle, None) or self._begin(left[0])
        left.remove(worker.place)
        worker.run, worker.others = run, left[: self.width(run) - 1]
        own = Beside(tuple(worker.others), "spawn" if self.method == "spawn" else "fork")
        with suppress(OSError):  # it died idle: reading from it says so
            worker.connection.send((run, self.beside(run[0]) if self.beside else own))
        return worker

    def poll(self, seconds: float) -> list[tuple[Worker, Event]]:
        busy = {worker.connection: worker for worker in self.workers if worker.run}
        return [(busy[heard], self._hear(busy[heard])) for heard in wait(list(busy), seconds)]  # type: ignore[index]

    def stop(self, worker: Worker) -> None:
        with suppress(OSError):
            worker.connection.send(STOP)

    def kill(self, worker: Worker) -> None:
        worker.process.kill()  # nothing it writes can be torn

    def close(self) -> None:
        for worker in self.workers:
            with suppress(OSError):
                worker.connection.send(None)
        for worker in self.workers:
            worker.process.join()
        self.workers.clear()

    def _begin(self, place: str) -> Worker:
        context: Any = multiprocessing.get_context(self.method)
        ours, theirs = context.Pipe()
        how = self.how if place == "cpu" else replace(self.how, sharing=self.places.count(place))
        arguments = theirs, self.store, place, decoders(len(self.places)), self.every, how
        process = context.Process(target=self.life, args=arguments)
        with unheard():
            process.start()
        theirs.close()
        self.workers.append(Worker(ours, process, place))
        return self.workers[-1]

    def _hear(self, worker: Worker) -> Event:
        try:
            event: Event = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            event = {"kind": "lost", "why": self._bury(worker)}
        if event["kind"] in ENDS:
            worker.run = None
        return event

    def _bury(self, worker: Worker) -> str:
        """Why a process is gone."""
        worker.connection.close()
        worker.process.join()
        self.workers.remove(worker)
        code = worker.process.exitcode
        if code == LOST:
            return "one of its ranks is gone"
        if code == FAULT:
            return "its card failed, by this run or another that MPS has on it"
        return f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended ({code})"
