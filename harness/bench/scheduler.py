"""How long the scheduler takes for a decision: which run goes next, or what becomes of one.

Each world below is one that makes many runs wait. Nothing is trained: events are made up, and time stands still.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from harness.bench.loop import specification
from harness.engine.scheduler import RETRY, Event, Key, Listed, Order, Scheduler, Start, key
from harness.spec import needed
from harness.study import Run
from harness.tricks.distillation import distillation

PLACES = 64  # runs at once
WORLDS = {
    "free": "each run may go",
    "taught": "half wait for one teacher, which ends last",
    "held": "another process holds each run when it is first started",
    "killed": "each run dies once and is taken up again",
    "doomed": "the teacher of all failed",
}


@dataclass
class Trial:
    """A scheduler of `count` runs in one of `WORLDS`: what it took for each decision, and how often it looked."""

    world: str
    count: int
    looks: int = field(default=0, init=False)  # at what is stored
    seconds: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        alone = specification("small", "digits", 8, 32)
        taught = self.world in ("taught", "doomed")
        spec = distillation(alone, model=alone.model) if taught else alone
        after = alone.but(epochs=2) if self.world == "taught" else spec
        half = self.count // 2
        self.runs: list[Run] = [(spec if seed < half else after, seed) for seed in range(self.count)]
        self.teachers = {key(run) for run in needed(*self.runs[0])}
        self.stored: set[Key] = set()

    def see(self) -> "Trial":
        """Go through all events, from the first start to the last end."""
        scheduler, now = Scheduler(Listed(self.runs), self._look), 0.0
        running: deque[Run] = deque()
        struck: set[Key] = set()
        while True:
            for order in self._timed(scheduler.orders(PLACES - len(running), now)):
                if isinstance(order, Start):
                    running.append(order.run)
            if scheduler.over:
                return self
            if running and len(running) > 1 and key(running[0]) in self.teachers and self.world == "taught":
                running.rotate(-1)
            if not running:  # others hold all that is left
                now += RETRY
                continue
            run = running.popleft()
            event = self._end(run, struck)
            if event["kind"] == "finished":
                self.stored.add(key(run))
            deque(self._timed(scheduler.hear(run, event, now)), 0)

    def _look(self, at: Key) -> bool:
        self.looks += 1
        return at in self.stored

    def _end(self, run: Run, struck: set[Key]) -> Event:
        if self.world == "doomed" and key(run) in self.teachers:
            return {"kind": "failed", "why": "it cannot"}
        if self.world in ("held", "killed") and key(run) not in struck:
            struck.add(key(run))
            return {"kind": "held", "pid": "7"} if self.world == "held" else {"kind": "lost", "why": "it was killed"}
        return {"kind": "finished"}

    def _timed(self, orders: Iterable[Order]) -> Iterator[Order]:
        began = time.perf_counter()
        for order in orders:
            self.seconds.append(time.perf_counter() - began)
            yield order
            began = time.perf_counter()
        self.seconds.append(time.perf_counter() - began)  # that there is nothing to do now


def show_scheduler(count: int) -> None:
    print(f"{count:,} runs, {PLACES} at once; of each decision:")
    print(f"{'':8}{'n':>10}{'looks':>7}{'mean ms':>9}{'p99 ms':>9}{'most ms':>10}", flush=True)
    for world, about in WORLDS.items():
        trial = Trial(world, count).see()
        took = 1000 * np.array(trial.seconds)
        looks = trial.looks / len(took)
        mean, p99 = took.mean(), np.quantile(took, 0.99)
        print(f"{world:8}{len(took):10,}{looks:7.1f}{mean:9.3f}{p99:9.3f}{took.max():10.1f}  {about}", flush=True)
