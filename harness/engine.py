"""Where runs execute: processes on this machine, one run at a time each."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from harness import Problem
from harness.spec import UPSTREAM_SEED, Spec, upstream
from harness.store import Store
from harness.study import Run

Event = dict[str, Any]


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


@dataclass
class _Process:
    connection: Connection
    process: Any
    run: Run | None = None


@dataclass
class Engine:
    """Executes runs; `events` yields what happens, as dicts with `kind` and `run` = (spec, seed).

    Kinds: "started"; "epoch" and "batch" with the loop's numbers under `at`; "finished"; "failed" with `why`. A run
    whose process dies, or that raises, fails alone; the rest goes on. A run waits for its upstream runs.
    """

    store: Store
    places: Sequence[str]
    processes: list[_Process] = field(default_factory=list)

    def events(self, runs: Sequence[Run]) -> Iterator[Event]:
        waiting = list(runs)
        lost: set[tuple[str, int]] = set()
        try:
            for place in self.places[: len(waiting)]:
                self.processes.append(self._start(place))
            while waiting or any(p.run for p in self.processes):
                for process in [p for p in self.processes if p.run is None]:
                    run = next((r for r in waiting if self._ready(r)), None)
                    if run:
                        waiting.remove(run)
                        process.run = run
                        with suppress(BrokenPipeError):  # it died idle: reading from it says so
                            process.connection.send(run)
                busy = {p.connection: p for p in self.processes if p.run}
                for connection in wait(list(busy)):
                    process = busy[connection]  # type: ignore[index]
                    event = self._hear(process)
                    yield event
                    if event["kind"] == "failed":
                        spec, seed = event["run"]
                        lost.add((spec.id, seed))
                        doomed = [r for r in waiting if any((u.id, UPSTREAM_SEED) in lost for u in upstream(r[0]))]
                        for run in doomed:
                            waiting.remove(run)
                            yield {"kind": "failed", "run": run, "why": "the run it builds on failed"}
        finally:
            self.stop()

    def _ready(self, run: Run) -> bool:
        return all((inner.id, UPSTREAM_SEED) in self.store for inner in upstream(run[0]))

    def _hear(self, process: _Process) -> Event:
        run = process.run
        assert run is not None
        try:
            event: Event = process.connection.recv()
        except (EOFError, ConnectionResetError):
            process.process.join()
            code = process.process.exitcode
            why = (
                f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended ({code})"
            )
            index = self.processes.index(process)
            self.processes[index] = self._start(self.places[index])
            return {"kind": "failed", "run": run, "why": why}
        if event["kind"] in ("finished", "failed"):
            process.run = None
        return {**event, "run": run}

    def _start(self, place: str) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.store, place, decoders(len(self.places))))
        process.start()
        theirs.close()
        return _Process(ours, process)

    def stop(self) -> None:
        """End the processes; a run in flight is given up, finished ones are in the store."""
        for process in self.processes:
            if process.run:
                process.process.terminate()
            else:
                with suppress(BrokenPipeError):
                    process.connection.send(None)
        for process in self.processes:
            process.process.join()
        self.processes.clear()


def decoders(jobs: int) -> int:
    """Processes that decode photos for each of `jobs`."""
    return max(1, min(8, len(os.sched_getaffinity(0)) // jobs))


def settle(place: str) -> Any:
    """Set this process up to train on the device of that name, which is returned."""
    import torch

    device = torch.device(place)
    if device.type == "cpu":
        torch.set_num_threads(1)  # one thread a process: fastest together, and bits do not depend on `jobs`
    elif device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.deterministic = True  # and no benchmark, whose pick of algorithms changes the bits
    return device


def _work(connection: Connection, store: Store, place: str, decoding: int) -> None:
    """A process's life: take a run, train it, say what happens; until told None, or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ["HARNESS_DECODERS"] = str(decoding)
    device = settle(place)
    while True:
        try:
            run: Run | None = connection.recv()
        except EOFError:
            return
        if run is None:
            return
        spec, seed = run
        try:
            connection.send({"kind": "started"})
            execute(spec, seed, store, device, connection.send)
            connection.send({"kind": "finished"})
        except BrokenPipeError:
            return
        except Exception as error:
            connection.send({"kind": "failed", "why": _why(error, spec)})


def execute(spec: Spec, seed: int, store: Store, device: Any, say: Any) -> None:
    """Train one run into the store, unless another process has by the time the claim is ours."""
    from harness.environment import environment
    from harness.spec import plain
    from harness.train import train

    def inner(upstream_spec: Spec) -> Any:
        status = store.read(upstream_spec.id, UPSTREAM_SEED)["status"]
        if status != "finished":
            raise Problem(f"the run it builds on, {upstream_spec.id}, was {status}")
        model = upstream_spec.model.build(upstream_spec.data.channels, len(upstream_spec.data.load().classes))
        model.load_state_dict(store.weights(upstream_spec.id, UPSTREAM_SEED))
        return model

    with store.claim(spec.id, seed):
        if (spec.id, seed) in store:
            return
        with store.journal(spec.id, seed) as note:

            def report(event: Event) -> None:
                if "batch" not in event:
                    note(event)
                say({"kind": "batch" if "batch" in event else "epoch", "at": event})

            trained = train(spec, seed, device, inner, report)
        result = {**trained.result, "environment": environment(device)}
        store.write(spec.id, seed, plain(spec), result, trained.model.state_dict())
    if result["status"] == "refused":
        bad = next(check for check in result["evidence"] if not check["ok"])
        seen = f"{bad['part']}, {bad['what']}: expected {bad['expected']}, seen {bad['seen']}"
        raise Problem(f"REFUSED by its evidence: {seen}; see {store.folder(spec.id, seed)}")


def _why(error: Exception, spec: Spec) -> str:
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return f"out of memory at batch_size={spec.batch_size} in {type(spec.precision).__name__}: set batch_size lower"
    if isinstance(error, Problem):
        return str(error)
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})".replace("\n", " ")
