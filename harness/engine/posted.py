"""What launchers on other machines share: orders go by a mailbox, and workers come and go as jobs of some cluster."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from harness import Problem
from harness.engine.mailbox import Mailbox
from harness.engine.ranks import widest
from harness.engine.scheduler import ENDS, Event
from harness.store import EVERY, Store
from harness.study import Run
from harness.train import PLAIN, How

NAP = 0.1  # seconds between looks at what was said
UNFIT = 3  # workers in a row that begin no run, before no more are begun
AWAY = 600.0  # seconds for which a cluster may begin none


@dataclass
class Posted(ABC):
    """A launcher whose workers take orders from a mailbox; see `Launcher`. A run's handle is its order's number.

    A cluster says how to begin workers, which are there, and how one is asked to stop or ended. It may end a worker at
    any time, and tells nothing of a run: that is said by the worker, or found in the store.
    """

    store: Store
    jobs: int  # workers at once, at most
    every: float = EVERY  # seconds between checkpoints within an epoch
    device: str | None = None
    how: How = field(default=PLAIN, kw_only=True)
    look: float = 5.0  # seconds between questions which workers are there
    box: Mailbox | None = field(default=None, init=False)
    orders: dict[int, Run] = field(default_factory=dict, init=False)  # without an end so far
    posted: int = field(default=0, init=False)
    workers: set[str] = field(default_factory=set, init=False)  # begun here, and there as far as we know
    unfit: dict[str, str] = field(default_factory=dict, init=False)  # workers in a row that began no run, and why
    shunned: set[str] = field(default_factory=set, init=False)  # nodes on which one was turned away
    looked: float = field(default=0.0, init=False)
    reached: bool = field(default=False, init=False)  # whether the cluster ever began a worker of ours
    refused: list[float] = field(default_factory=list, init=False)  # when it would begin none, since it last did

    @abstractmethod
    def begin(self, count: int, node: str = "") -> set[str]:
        """Ask the cluster for so many workers of the mailbox, on that node where one is named: their names."""

    @abstractmethod
    def nodes(self) -> list[str]:
        """The nodes that there are."""

    @abstractmethod
    def present(self) -> set[str] | None:
        """Of `workers`, those that wait or run; None where the cluster cannot be asked now."""

    @abstractmethod
    def ask(self, worker: str) -> None:
        """Let a worker keep its run, and end."""

    @abstractmethod
    def end(self, worker: str) -> None:
        """End a worker at once."""

    def fate(self, worker: str) -> str:
        """What the cluster knows of a worker that is gone."""
        return ""

    def free(self) -> int:
        return max(0, self.jobs - len(self.orders))

    def width(self, run: Run) -> int:
        return 1  # a worker has all ranks of its run

    @property
    def widest(self) -> int:
        """Ranks, at most, of the runs that are ordered: a worker takes any of them."""
        return widest(self.orders.values())

    def start(self, run: Run) -> int:
        self.box = self.box or Mailbox.made(self.store, self.every, self.device, self.how)
        self.posted += 1
        self.box.post(self.posted, run)
        self.orders[self.posted] = run
        return self.posted

    def poll(self, seconds: float) -> list[tuple[int, Event]]:
        until = time.monotonic() + seconds
        self._staff()  # here, and not as each run is started: one question to the cluster for all
        while not (found := [*self._said(), *self._lost()]) and time.monotonic() < until:
            time.sleep(min(NAP, seconds))
        return found

    def stop(self, order: int) -> None:
        assert self.box
        if self.box.recall(order):
            self.box.say("recalled", order, {"kind": "interrupted"})
        else:
            self.box.stop(order)

    def kill(self, order: int) -> None:
        assert self.box
        if not self.box.recall(order) and (worker := self.box.takers().get(order)):
            with suppress(Problem):  # the cluster cannot be asked; others are to be killed too
                self.end(worker)
            self.workers.discard(worker)
        self.orders.pop(order, None)

    def close(self) -> None:
        if not self.box:
            return
        self.box.shut()
        for worker in self.workers:  # none has a run
            with suppress(Problem):
                self.ask(worker)
        self.box.remove()
        self.box = None
        self.workers.clear()
        self.unfit.clear()

    def _staff(self) -> None:
        """See to a worker for each order that has no end."""
        short, now = min(self.jobs, len(self.orders)) - len(self.workers), time.monotonic()
        if short <= 0 or (self.refused and now < self.refused[-1] + self.look):
            return
        if len(self.unfit) >= UNFIT:
            if not self.workers:
                raise Problem(f"{len(self.unfit)} workers in a row began no run: {[*self.unfit.values()][-1]}")
            return  # those that are there may get on
        try:
            self.workers |= self.begin(short)
        except Problem:  # the controller is away for a while, or these would be too many now
            self.refused.append(now)
            if not self.reached or (not self.workers and now > self.refused[0] + AWAY):
                raise
            return
        self.reached, self.looked = True, time.monotonic()
        self.refused.clear()

    def _said(self) -> Iterator[tuple[int, Event]]:
        for worker, order, event in self.box.words() if self.box else ():
            if event["kind"] == "unfit":
                self.unfit[worker] = event["why"]
                self.shunned.add(event.get("node", ""))
                self.workers.discard(worker)
                yield from self._left_by(worker, event["why"])
            elif order in self.orders:
                self.unfit.clear()
                if event["kind"] in ENDS:
                    del self.orders[order]
                yield order, event

    def _lost(self) -> Iterator[tuple[int, Event]]:
        """The orders whose worker is gone without a word of their end; others get workers, where theirs are gone."""
        if not self.orders or time.monotonic() < self.looked + self.look:
            return
        assert self.box
        self.looked = time.monotonic()
        busy = {worker for order, worker in self.box.takers().items() if order in self.orders}
        self.workers |= busy  # of some we may not know: the answer to their beginning was lost
        there = self.present()
        if there is None:
            return
        yield from self._said()  # what they said before they went
        for worker in sorted(self.workers - there):
            if worker in self.box.takers().values():
                yield from self._left_by(worker, f"its worker {worker} is gone{self.fate(worker)}")
            elif worker not in self.box.heard:
                self.unfit[worker] = f"worker {worker} ended before it said a word{self.fate(worker)}"
            self.box.forget(worker)
        self.workers &= there

    def _left_by(self, worker: str, why: str) -> Iterator[tuple[int, Event]]:
        """The orders that a worker took, and said no end of."""
        assert self.box
        for order, taker in self.box.takers().items():
            if taker == worker and order in self.orders:
                del self.orders[order]
                yield order, {"kind": "lost", "why": why}
