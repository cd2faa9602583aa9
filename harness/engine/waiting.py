"""Runs that wait: for a free place, for a time, or for other runs to end."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from harness.study import Run

Key = tuple[str, int]


def key(run: Run) -> Key:
    return run[0].id, run[1]


@dataclass
class Waiting:
    """A queue whose first is found in logarithmic time, however many wait for a time or for others.

    A run is in `ready`, as its turn and key, once for each reason to look at it. An entry is passed over where its run
    went away or has another turn by now.
    """

    runs: dict[Key, Run] = field(default_factory=dict, init=False)
    turns: dict[Key, int] = field(default_factory=dict, init=False)
    ready: list[tuple[int, Key]] = field(default_factory=list, init=False)  # a heap
    later: list[tuple[float, int, Key]] = field(default_factory=list, init=False)  # a heap, by when they are due
    behind: defaultdict[Key, list[Key]] = field(default_factory=lambda: defaultdict(list), init=False)
    front: Iterator[int] = field(default_factory=lambda: count(-1, -1), init=False)
    back: Iterator[int] = field(default_factory=count, init=False)

    def __contains__(self, at: Key) -> bool:
        return at in self.runs

    def __bool__(self) -> bool:
        return bool(self.runs)

    def first(self, runs: Sequence[Run]) -> None:
        """Add runs before all others, in this order."""
        for run in reversed(runs):
            heappush(self.ready, (self._add(run, next(self.front)), key(run)))

    def last(self, run: Run, due: float | None = None) -> None:
        """Add a run after all others; it is due at that time, else now."""
        turn = self._add(run, next(self.back))
        if due is None:
            heappush(self.ready, (turn, key(run)))
        else:
            heappush(self.later, (due, turn, key(run)))

    def due(self, now: float) -> Run | None:
        """The first run to look at. It waits on, and is due again when one that it is put `after` has ended."""
        while self.later and self.later[0][0] <= now:
            heappush(self.ready, heappop(self.later)[1:])
        while self.ready:
            turn, at = heappop(self.ready)
            if self.turns.get(at) == turn:
                return self.runs[at]
        return None

    def after(self, run: Run, others: Iterable[Run]) -> None:
        for other in others:
            self.behind[key(other)].append(key(run))

    def ended(self, other: Key) -> None:
        for at in self.behind.pop(other, ()):
            if at in self.runs:
                heappush(self.ready, (self.turns[at], at))

    def drop(self, at: Key) -> None:
        del self.runs[at], self.turns[at]

    def _add(self, run: Run, turn: int) -> int:
        self.runs[key(run)], self.turns[key(run)] = run, turn
        return turn
