"""Runs, executed: the scheduler's orders, carried out by a launcher."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from harness import Problem
from harness.engine.local import Local
from harness.engine.scheduler import ENDS, RETRY, Event, Listed, Order, Scheduler, Source, Start, Stop, key
from harness.engine.signals import asked_to_stop
from harness.store import EVERY, Held, Store
from harness.study import Run
from harness.train import PLAIN, How


class Launcher(Protocol):
    """Starts workers somewhere and carries what they say; a handle is what it calls a started run."""

    def free(self) -> int:
        """How many runs it would start now."""

    def width(self, run: Run) -> int:
        """How many of these it takes: of a run on several ranks more than one, where each has a place of its own."""

    def start(self, run: Run) -> Any:
        """Begin a run: its handle. Nothing is tried again here."""

    def poll(self, seconds: float) -> Sequence[tuple[Any, Event]]:
        """What workers said, by handle, waiting for so long at most.

        "lost" with `why` where one is gone; "kept" with `why` where it had to leave its run, and kept it.
        """

    def stop(self, handle: Any) -> None:
        """Ask politely: the run keeps itself, and says "interrupted"."""

    def kill(self, handle: Any) -> None:
        """End it at once."""

    def close(self) -> None:
        """End what has no run."""


class Engine:
    """Executes runs; `events` yields what happens, as dicts with `kind` and `run` = (spec, seed).

    Kinds: "started"; "epoch" and "batch" with the loop's numbers under `at`; "note" with `text`; "finished", with
    `reused` where another invocation trained it; "failed" with `why`; "interrupted"; "stopped", by its source.

    A run waits for its upstream runs, and for whoever else holds it. One whose process dies goes on from its
    checkpoint in a new one, at most twice for each epoch that it comes past; one that raises fails alone. The first
    Ctrl-C, or SIGTERM, stops every run at a checkpoint; the second kills.
    """

    def __init__(
        self,
        store: Store,
        places: Sequence[str],
        every: float = EVERY,  # seconds between checkpoints within an epoch
        method: str = "spawn",  # how processes start
        launcher: Launcher | None = None,  # processes on this machine, unless another is given
        how: How = PLAIN,
    ) -> None:
        self.store, self.places, self.stopping = store, places, False
        self.launcher: Launcher = launcher or Local(store, places, every, method, how=how)
        self.runs: dict[Any, Run] = {}  # in progress, by handle

    @property
    def jobs(self) -> int:
        """Runs at once, at most."""
        return len(self.places)

    def events(self, runs: Sequence[Run] | Source) -> Generator[Event, None, None]:
        """Execute a list of runs, or what a source asks for while there are free places."""
        for spec, seed in runs if isinstance(runs, Sequence) else ():
            if self.launcher.width((spec, seed)) > self.jobs:
                raise Problem(
                    f"ranks={spec.ranks} needs as many places, and there are {self.jobs}: --jobs {spec.ranks}"
                )
        source = Listed(runs) if isinstance(runs, Sequence) else runs
        scheduler = Scheduler(source, self.store.__contains__, self.store.held, self.launcher.width)
        try:
            with asked_to_stop(self):
                while True:
                    if self.stopping:
                        yield from self._obey(scheduler.stop())
                    yield from self._obey(scheduler.orders(self.launcher.free(), monotonic()))
                    if scheduler.over:
                        break
                    for handle, event in self.launcher.poll(RETRY):
                        run = self.runs.pop(handle) if event["kind"] in ENDS else self.runs[handle]
                        yield from self._obey(scheduler.hear(run, event, monotonic()))
        finally:
            for handle in self.runs:
                self.launcher.kill(handle)
            self.runs.clear()
            self.launcher.close()

    def _obey(self, orders: Iterable[Order]) -> Iterator[Event]:
        for order in orders:
            match order:
                case Start(run):
                    self.runs[self.launcher.start(run)] = run
                case Stop(run):
                    self.launcher.stop(next(handle for handle, each in self.runs.items() if key(each) == key(run)))
                case event:
                    if "deaths" in event:  # nobody is left to note it
                        with suppress(Held):
                            self.store.remark(*key(event["run"]), "failed", why=event["why"])
                    yield event
