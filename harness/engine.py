"""Where runs execute: processes on this machine, one run at a time each."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic, sleep
from typing import Any, Protocol

from harness import Problem
from harness.cli import open_displays
from harness.evidence import Upstream, apart
from harness.parts.data import decoding
from harness.spec import UPSTREAM_SEED, Spec, blame, plain, resolved, sources, upstream
from harness.store import EVERY, TRACEBACK, Claim, Held, Store, is_seed
from harness.study import Run
from harness.train import LAYOUT, Keeper, State, train

Event = dict[str, Any]
Key = tuple[str, int]
Say = Callable[[Event], None]
RETRIES = 2  # of a run whose process died
RETRY = 0.25  # seconds between looks at what others hold, and at Ctrl-C
ECHO = 0.5  # seconds in which a second Ctrl-C is still the first
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


def key(run: Run) -> Key:
    return run[0].id, run[1]


@dataclass
class _Process:
    connection: Connection
    process: Any
    place: str
    run: Run | None = None
    asked: bool = False  # to stop


@dataclass
class Engine:
    """Executes runs; `events` yields what happens, as dicts with `kind` and `run` = (spec, seed).

    Kinds: "started"; "epoch" and "batch" with the loop's numbers under `at`; "note" with `text`; "finished", with
    `reused` where another invocation trained it; "failed" with `why`; "interrupted". A run waits for its upstream
    runs, and for whoever else holds it. One whose process dies goes on from its checkpoint in a new one, at most twice;
    one that raises fails alone. The first Ctrl-C, or SIGTERM, stops every run at a checkpoint; the second kills.
    """

    store: Store
    places: Sequence[str]
    every: float = EVERY  # seconds between checkpoints within an epoch
    method: str = "spawn"  # how processes start
    stopping: bool = field(default=False, init=False)
    processes: list[_Process] = field(default_factory=list, init=False)
    waiting: list[Run] = field(default_factory=list, init=False)
    deaths: Counter[Key] = field(default_factory=Counter, init=False)
    held: dict[Key, float] = field(default_factory=dict, init=False)  # by others, and when to ask again

    def events(self, runs: Sequence[Run]) -> Iterator[Event]:
        self.waiting = list(runs)
        try:
            with asked_to_stop(self):
                self.processes = [self._start(place) for place in self.places[: len(runs)]]
                while self.waiting or any(p.run for p in self.processes):
                    if self.stopping:
                        self._ask_to_stop()
                    yield from self._hand_out()
                    busy = {p.connection: p for p in self.processes if p.run}
                    if not busy:
                        self._add_upstream()
                    for connection in wait(list(busy), RETRY):
                        yield from self._hear(busy[connection])  # type: ignore[index]
        finally:
            self.stop()

    def _hand_out(self) -> Iterator[Event]:
        idle = [process for process in self.processes if process.run is None]
        for run in [run for run in self.waiting if self._ready(run)] if idle else ():
            if key(run) in self.store:
                self.waiting.remove(run)
                yield {"kind": "finished", "run": run, "reused": True}
            elif idle:
                self.waiting.remove(run)
                process = idle.pop(0)
                process.run = run
                with suppress(OSError):  # it died idle: reading from it says so
                    process.connection.send(run)

    def _add_upstream(self) -> None:
        """Runs that others wait for, and that nobody trains: their records were there, and were moved away."""
        needed = [(inner, UPSTREAM_SEED) for spec, _ in self.waiting for inner in upstream(spec)]
        known = {key(run) for run in self.waiting}
        for run in needed:
            if key(run) not in self.store and key(run) not in known:
                self.waiting.insert(0, run)
                known.add(key(run))

    def _hear(self, process: _Process) -> Iterator[Event]:
        run = process.run
        assert run
        try:
            event: Event = process.connection.recv()
        except (EOFError, ConnectionResetError):
            event = self._bury(process)
        if event["kind"] in ("finished", "failed", "held", "interrupted"):
            process.run = None
        match event["kind"]:
            case "held":
                if key(run) not in self.held:
                    yield {"kind": "note", "run": run, "text": f"is being trained by process {event['pid']}"}
                self.held[key(run)] = monotonic() + RETRY
                self.waiting.append(run)
            case "failed":
                yield {**event, "run": run}
                yield from self._doom(run)
            case _:
                yield {**event, "run": run}

    def _bury(self, process: _Process) -> Event:
        """A process died: another takes its place, and its run is taken up again, at most twice."""
        run = process.run
        assert run
        process.connection.close()
        process.process.join()
        code = process.process.exitcode
        why = f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended ({code})"
        self.processes.remove(process)
        if self.stopping:
            return {"kind": "interrupted"}
        self.processes.append(self._start(process.place))
        self.deaths[key(run)] += 1
        if self.deaths[key(run)] > RETRIES:
            why = f"{why}, {self.deaths[key(run)]} times"
            with suppress(Held):
                self.store.remark(*key(run), "failed", why=why)
            return {"kind": "failed", "why": why}
        self.waiting.insert(0, run)
        return {"kind": "note", "text": f"is taken up again, {why}"}

    def _doom(self, failed: Run) -> Iterator[Event]:
        """What builds on a failed run fails with it."""
        doomed = [run for run in self.waiting if key(failed) in {(u.id, UPSTREAM_SEED) for u in upstream(run[0])}]
        self.waiting = [run for run in self.waiting if run not in doomed]
        for run in doomed:
            yield {"kind": "failed", "run": run, "why": "the run it builds on failed"}
            yield from self._doom(run)

    def _ready(self, run: Run) -> bool:
        upstream_done = all((inner.id, UPSTREAM_SEED) in self.store for inner in upstream(run[0]))
        return upstream_done and self.held.get(key(run), 0) < monotonic()

    def _ask_to_stop(self) -> None:
        self.waiting.clear()
        for process in self.processes:
            if process.run and not process.asked:
                process.asked = True
                with suppress(OSError):
                    process.connection.send(None)

    def _start(self, place: str) -> _Process:
        context: Any = multiprocessing.get_context(self.method)
        ours, theirs = context.Pipe()
        arguments = theirs, self.store, place, decoders(len(self.places)), self.every
        process = context.Process(target=_work, args=arguments)
        resource_tracker.ensure_running()  # else starting it, on the way to the process, would unblock them again
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        process.start()  # it inherits what is blocked: Ctrl-C goes to the whole group, and is the parent's to handle
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        return _Process(ours, process, place)

    def stop(self) -> None:
        """End the processes; a run in flight goes on from its last checkpoint another time."""
        for process in self.processes:
            if process.run or self.stopping:
                process.process.kill()  # nothing it writes can be torn
            else:
                with suppress(OSError):
                    process.connection.send(None)
        for process in self.processes:
            process.process.join()
        self.processes.clear()


class Stoppable(Protocol):
    stopping: bool


@contextmanager
def asked_to_stop(who: Stoppable) -> Iterator[None]:
    """Within it the first SIGINT, SIGTERM or SIGHUP sets `who.stopping`, the next raises KeyboardInterrupt.

    One that follows within `ECHO` is the same: a launcher (timeout, uv run) passes on what its whole group was sent.
    Nor is a SIGHUP a next one: a shell and the kernel send it both. Where it is ignored (nohup), it stays so.
    """
    since = 0.0

    def ask(number: int, frame: object) -> None:
        nonlocal since
        if not who.stopping:
            who.stopping, since = True, monotonic()
        elif number != signal.SIGHUP and monotonic() - since > ECHO:
            raise KeyboardInterrupt("the same command goes on from what is kept")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hung_up = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    old = {number: signal.signal(number, ask) for number in STOPS if number != signal.SIGHUP or not hung_up}
    try:
        yield
    finally:
        sleep(max(0.0, since + ECHO - monotonic()))  # an echo may be under way yet
        for number, handler in old.items():
            signal.signal(number, handler)


def begin_as_worker() -> None:
    """In a process that works for another: what a terminal sends to all is its parent's to heed."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # a parent that is gone is seen by its pipe
    open_displays()  # a user's part may print


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


class Interrupted(Exception):
    """The run was asked to stop, and is kept."""


class _Kept(Keeper):
    """Keeps a run by its claim, and says how it goes; `stop` tells whether to leave it at the next batch."""

    def __init__(self, claim: Claim, by: str, say: Say, stop: Callable[[], bool]) -> None:
        self.claim, self.by, self.say, self.stop = claim, by, say, stop
        self.stopping = False

    def saved(self) -> State | None:
        state = self.claim.saved(self.by)
        happened = self.claim.since_start()
        for event in happened:
            if event["event"] == "resumed":
                epoch, batch = event["epoch"], event["batch"]
                at = f"{epoch + 1}, batch {batch + 1}" if batch else f"{epoch}'s end"
                text = f"goes on from epoch {at}"
            else:
                text = f"passes over {event['file']}: {event['why']}"
            self.say({"kind": "note", "text": text})
        if happened and state is None:
            self.say({"kind": "note", "text": "starts anew: no checkpoint will do"})
        return state

    def due(self, epoch_done: bool) -> bool:
        self.stopping = self.stop()
        return self.stopping or self.claim.due(epoch_done)

    def leave(self) -> None:
        """Where there is no next batch to stop at: the run goes on from its last checkpoint."""
        if self.stop():
            raise Interrupted

    def keep(self, state: State) -> None:
        self.claim.keep(state, self.by)
        if self.stopping:
            raise Interrupted

    def report(self, event: Event) -> None:
        if "batch" not in event:
            self.claim.note("epoch", **event)
        self.say({"kind": "batch" if "batch" in event else "epoch", "at": event})


def _work(connection: Connection, store: Store, place: str, decoding: int, every: float) -> None:
    """A process's life: take a run, train it, say what happens; until told None, or the parent is gone."""
    begin_as_worker()
    os.environ.setdefault("HARNESS_DECODERS", str(decoding))  # what a user set stays
    device = settle(place)

    def say(event: Event) -> None:
        with suppress(OSError):  # the parent is gone, and `poll` will say so
            connection.send(event)

    while True:
        try:
            run: Run | None = connection.recv()
        except (EOFError, OSError):  # the parent is gone
            return
        except Exception as error:  # a module of the user's, which this process imports for the first time
            say({"kind": "failed", "why": why(error)})
            continue
        if run is None:
            return
        spec, seed = run
        try:
            execute(spec, seed, store, device, say, connection.poll, every)
            say({"kind": "finished"})
        except Held as held:
            say({"kind": "held", "pid": held.pid})
        except Interrupted:
            say({"kind": "interrupted"})
        except Exception as error:
            more = (store.folder(spec.id, seed) / TRACEBACK).exists() and not isinstance(error, Problem)
            advice = f"; the whole traceback: python -m harness.store show {spec.id}/{seed}" if more else ""
            say({"kind": "failed", "why": why(error, spec) + advice})


def execute(
    spec: Spec,
    seed: int,
    store: Store,
    device: Any,
    say: Say = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    every: float = EVERY,
) -> None:
    """Train one run into the store, unless it is there by the time the claim is ours; from its checkpoint, if any.

    Raises Held where another process has it, and Interrupted when `stop` said so and the run is kept.
    """
    import torch

    from harness.environment import environment, repository

    def inner(upstream_spec: Spec) -> Upstream:
        record = store.read(upstream_spec.id, UPSTREAM_SEED)
        if record["status"] != "finished":
            raise Problem(f"the run it builds on, {upstream_spec.id}, was {record['status']}")
        model = upstream_spec.model.build(upstream_spec.data.channels, len(upstream_spec.data.load().classes))
        model.load_state_dict(store.weights(upstream_spec.id, UPSTREAM_SEED))
        return Upstream(model, record["spec_id"], record)

    with store.claim(spec.id, seed, every) as claim:
        if (spec.id, seed) in store:
            return
        if spec.but().id != spec.id:
            raise Problem("its data has changed since the plan was made: start again")
        around, own = environment(device), sources.of(spec)
        claim.begin({"spec": plain(spec), "resolved": resolved(spec)})
        say({"kind": "started"})
        try:
            by = ", ".join(
                [f"torch {torch.__version__} on {device.type}, layout {LAYOUT}", *map(" ".join, own.items())]
            )
            keeper = _Kept(claim, by, say, stop)
            decoding.waiting = keeper.leave
            trained = train(spec, seed, device, inner, keeper)
        except Interrupted:
            claim.note("interrupted", safe=True)
            raise
        except Exception as error:
            with suppress(OSError):  # the disk may be full
                claim.note("failed", why=why(error, spec))
                if not isinstance(error, Problem):
                    claim.leave_traceback(error)
            raise
        finally:
            decoding.waiting = decoding.go_on
        made = {**trained.result, "environment": around}
        if own:  # the package's own parts are of its commit
            made |= {"sources": own, "repository": ", ".join(dict.fromkeys(map(repository, sources.files(own))))}
        check = apart(made["seen"], siblings(store, spec.id, seed))
        made["evidence"] = [*made["evidence"], {"part": "split", **asdict(check)}]
        if not check.ok:
            made["status"] = "refused"
        record = claim.finish(made, trained.model.state_dict())
    if record["status"] == "refused":
        bad = next(check for check in record["evidence"] if not check["ok"])
        seen = f"{bad['part']}, {bad['what']}: expected {bad['expected']}, seen {bad['seen']}"
        raise Problem(f"REFUSED by its evidence: {seen}; see {store.folder(spec.id, seed)}")


def siblings(store: Store, spec_id: str, seed: int) -> dict[int, dict[str, str]]:
    """What the finished runs of a specification showed, by their seeds, but for this one."""
    found = {}
    folder = store.root / spec_id
    for name in filter(is_seed, os.listdir(folder) if folder.is_dir() else ()):
        if int(name) != seed and (spec_id, int(name)) in store:
            with suppress(Problem, OSError):  # damaged, which reports name
                found[int(name)] = store.read(spec_id, int(name)).get("seen") or {}
    return found


def why(error: Exception, spec: Spec | None = None) -> str:
    """One line: what went wrong, where in the user's code if it went through that, and what to do."""
    import torch

    starved = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
    if starved and spec:
        batch = f"batch_size={spec.batch_size}" + (f", microbatch={spec.microbatch}" if spec.microbatch else "")
        half = (spec.microbatch or spec.batch_size) // 2
        smaller = "" if spec.microbatch else f"--set batch_size={half}, or "
        passes = f"--set microbatch={half}, which keeps the batch but shows batch norm {half} images at a time"
        advice = smaller + passes if half else "take a smaller model, or another device"
        return f"out of memory at {batch}, {spec.model!r}, {type(spec.precision).__name__}: {advice}"
    if isinstance(error, Problem):
        return str(error)
    if isinstance(error, OSError) and not blame.blamed(error):
        return f"{error}: mend that, and the same command goes on from the last checkpoint"
    return blame.told(error)
