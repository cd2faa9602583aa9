"""A cluster in simulated time: the real scheduler's orders, carried out by arithmetic.

A run that is started takes its length, and no time to start. A process that dies is taken up again from its last
checkpoint; a preempted run is kept first. The GPU is back at once after both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf

from harness import Problem
from harness.engine.scheduler import Event, Key, Listed, Order, Scheduler, Start, key
from harness.rng import stream
from harness.spec import needed
from harness.store import EVERY
from harness.study import Run


@dataclass(frozen=True)
class Weather:
    """What goes wrong; times are in seconds, and infinity is never."""

    death: float = inf  # mean time between deaths of a GPU's process
    preemption: float = inf  # mean time until a GPU is taken
    stragglers: float = 0.0  # the share of runs that take twice as long
    checkpoint: float = EVERY  # from one to the next
    draw: int = 0  # other numbers, other weather

    def slowed(self, run: Run) -> float:
        """By how much a run takes longer, on any cluster and in any order."""
        if not self.stragglers:
            return 1.0
        return 2.0 if stream(self.draw, "straggler", run[0].id, run[1]).random() < self.stragglers else 1.0

    def strikes(self, run: Run, attempt: int) -> tuple[float, float]:
        """Seconds until an attempt would die, and until it would be preempted."""
        if self.death == self.preemption == inf:
            return inf, inf
        each = stream(self.draw, "strikes", run[0].id, run[1], attempt).exponential(size=2) / run[0].places
        return float(each[0] * self.death), float(each[1] * self.preemption)


@dataclass
class Outcome:
    """What became of a plan; times in seconds, and of one GPU where they are sums."""

    gpus: int
    makespan: float = 0.0
    bound: float = 0.0  # no order is shorter, where every run is trained
    trained: float = 0.0  # summed over GPUs, what was trained twice included
    wasted: float = 0.0  # of it, what was lost with a process
    deaths: int = 0
    preempted: int = 0
    failed: int = 0  # runs, what builds on them included

    @property
    def held(self) -> float:
        return self.gpus * self.makespan

    @property
    def idle(self) -> float:
        return 1 - self.trained / self.held if self.held else 0.0


def work(runs: Iterable[Run], seconds: dict[str, float], weather: Weather) -> dict[Key, float]:
    """What each run takes, by lengths of its specification."""
    return {key(run): seconds[run[0].id] * weather.slowed(run) for run in runs}


def bound(runs: Iterable[Run], lengths: dict[Key, float], gpus: int) -> float:
    """The larger of all work shared evenly, and the longest chain of runs that build on one another."""
    chain: dict[Key, float] = {}
    total = 0.0
    for run in sorted(runs, key=lambda run: len(needed(*run))):
        chain[key(run)] = lengths[key(run)] + max((chain[key(each)] for each in needed(*run)), default=0.0)
        total += run[0].places * lengths[key(run)]
    return max(total / gpus, max(chain.values(), default=0.0))


@dataclass
class Cluster:
    """So many GPUs, which train runs of these `lengths`."""

    gpus: int
    lengths: dict[Key, float]
    weather: Weather = field(default_factory=Weather)

    def __post_init__(self) -> None:
        self.outcome, self.stored, self.now = Outcome(self.gpus), set[Key](), 0.0
        self.free = self.gpus
        self.kept = dict.fromkeys(self.lengths, 0.0)  # seconds of each run in its last checkpoint
        self.attempts, self.numbers = dict.fromkeys(self.lengths, 0), count()
        self.ends: list[tuple[float, int, Run, Event]] = []  # a heap; the number settles ties as they began

    def train(self, runs: Sequence[Run]) -> Outcome:
        """All of `runs`, which hold what they build on, offered in this order."""
        self.outcome.bound = bound(runs, self.lengths, self.gpus)
        widest = max((run[0].places for run in runs), default=1)
        if widest > self.gpus:
            raise Problem(f"--gpus {self.gpus}: a run takes {widest}")
        scheduler = Scheduler(Listed(runs), self.stored.__contains__)
        while True:
            self._obey(scheduler.orders(self.free, self.now))
            if scheduler.over:
                self.outcome.makespan = self.now
                return self.outcome
            self.now, _, run, event = heappop(self.ends)
            self.free += run[0].places
            if event["kind"] == "finished":
                self.stored.add(key(run))
            self._obey(scheduler.hear(run, event, self.now))

    def _obey(self, orders: Iterable[Order]) -> None:
        for order in orders:
            if isinstance(order, Start):
                self._begin(order.run)
            elif isinstance(order, dict):
                self.outcome.failed += order["kind"] == "failed"

    def _begin(self, run: Run) -> None:
        at, told = key(run), self.outcome
        self.free -= run[0].places
        self.attempts[at] += 1
        dies, leaves = self.weather.strikes(run, self.attempts[at])
        kept, left = self.kept[at], self.lengths[at] - self.kept[at]
        lasts = min(left, dies, leaves)
        event: Event = {"kind": "finished"}
        if lasts < left:
            event = {"kind": "lost" if dies < leaves else "kept", "why": "simulated"}
            reached = kept + lasts
            whole = max(kept, reached // self.weather.checkpoint * self.weather.checkpoint)
            self.kept[at] = whole if dies < leaves else reached
            told.wasted += run[0].places * (reached - self.kept[at])
            told.deaths += dies < leaves
            told.preempted += leaves <= dies
        told.trained += run[0].places * lasts
        heappush(self.ends, (self.now + lasts, next(self.numbers), run, event))
