"""Which run goes next, which ends, and what became of each: events in, orders out.

It starts no process, reads no clock and opens no store: it is told what happened, what time it is and what is there.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.engine.waiting import Key as Key
from harness.engine.waiting import Waiting
from harness.engine.waiting import key as key
from harness.spec import needed
from harness.study import Run

Event = dict[str, Any]
RETRIES = 2  # of a run whose process died, and that came no further since
RETRY = 0.25  # seconds between looks at what others hold, and at Ctrl-C
SELDOM = 10.0  # at what they hold for long: a thousand runs of others are a thousand looks into a shared folder
ENDS = ("finished", "failed", "interrupted", "kept", "held", "lost")  # after these a run has left its place
OVER = ("finished", "failed", "interrupted", "stopped")  # after these it neither runs nor waits


class Source(Protocol):
    """Where runs come from."""

    @property
    def over(self) -> bool:
        """Whether no other run will come."""

    def next(self) -> Run | None:
        """A run to begin, now that a place is free; None where there is none now."""

    def see(self, event: Event) -> Iterable[Run]:
        """Hear what happened to a run; return the runs to stop."""


class Listed:
    """A fixed list of runs as a source."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.left = deque(runs)

    @property
    def over(self) -> bool:
        return not self.left

    def next(self) -> Run | None:
        return self.left.popleft() if self.left else None

    def see(self, event: Event) -> Iterable[Run]:
        return ()


@dataclass(frozen=True)
class Start:
    """An order: begin this run in a free place."""

    run: Run


@dataclass(frozen=True)
class Stop:
    """An order: let this run keep itself and end."""

    run: Run


Order = Start | Stop | Event  # an event is to be told to whoever listens


@dataclass
class Scheduler:
    """Orders for the runs of a `source`; `stored` tells which runs have a record.

    `elsewhere` tells whether others hold a run still: it is asked of one that was found so, before that is begun again.
    `width` tells how many places a run takes.

    What a run builds on goes first, and is added where nobody trains it and its record is not there. What builds on a
    failed run fails with it. A run whose process is lost is taken up again, at most `RETRIES` times for an epoch that
    it does not come past: what runs for weeks outlives many machines. One that others hold is asked for again after
    `RETRY` seconds, and ever more seldom, up to `SELDOM`.
    """

    source: Source
    stored: Callable[[Key], bool]
    elsewhere: Callable[[Key], bool] = lambda at: False
    width: Callable[[Run], int] = lambda run: run[0].places
    stopping: bool = field(default=False, init=False)
    waiting: Waiting = field(default_factory=Waiting, init=False)
    running: dict[Key, Run] = field(default_factory=dict, init=False)
    asked: set[Key] = field(default_factory=set, init=False)  # to stop
    failed: set[Key] = field(default_factory=set, init=False)
    lost: Counter[Key] = field(default_factory=Counter, init=False)  # processes of a run, since it came further
    reached: dict[Key, int] = field(default_factory=dict, init=False)  # the last epoch that one of them came to
    held: Counter[Key] = field(default_factory=Counter, init=False)  # by others, and how often it was asked for

    @property
    def over(self) -> bool:
        """Whether nothing runs, and nothing will."""
        return not self.running and (self.stopping or (not self.waiting and self.source.over))

    def orders(self, free: int, now: float) -> Iterator[Order]:
        """What to do at the time `now`, in seconds, with `free` places."""
        while free > 0 and not self.stopping and (run := self._next(now)):
            if self._doomed(run):
                self.failed.add(key(run))
                yield from self._tell(run, {"kind": "failed", "why": "the run it builds on failed"})
            elif self.stored(key(run)):
                yield from self._tell(run, {"kind": "finished", "reused": True})
            elif key(run) in self.held and self.elsewhere(key(run)):
                self._later(run, now)
            elif self.width(run) > free and self.running:
                self.waiting.first([run])  # none goes before it, or it might wait for ever
                return
            elif self.width(run) > free:
                self.failed.add(key(run))
                why = f"ranks={run[0].ranks} needs as many places, and there are {free}"
                yield from self._tell(run, {"kind": "failed", "why": why})
            else:
                free -= self.width(run)
                self.running[key(run)] = run
                yield Start(run)

    def hear(self, run: Run, event: Event, now: float) -> Iterator[Order]:
        """What to do as this happened to a run, which was started."""
        kind, asked = event["kind"], key(run) in self.asked
        if kind in ENDS:
            del self.running[key(run)]
            self.asked.discard(key(run))
        if kind == "held":
            yield from self._wait_for(run, event["pid"], now, asked)
        elif kind in ("interrupted", "kept", "lost") and asked:
            yield from self._tell(run, {"kind": "interrupted" if self.stopping else "stopped"})
        elif kind == "lost":
            yield from self._again(run, event["why"])
        elif kind == "kept":  # and counts for no loss: it was taken from its place, and has a checkpoint
            self.waiting.first([run])
            yield from self._tell(run, {"kind": "note", "text": f"waits for another place, {event['why']}"})
        else:
            if kind == "failed":
                self.failed.add(key(run))
            elif kind == "epoch" and event["at"]["epoch"] > self.reached.get(key(run), -1):
                self.reached[key(run)] = event["at"]["epoch"]
                self.lost.pop(key(run), None)
            yield from self._tell(run, event)

    def stop(self) -> Iterator[Order]:
        """Stop everything."""
        self.stopping = True
        self.waiting = Waiting()
        for run in self.running.values():
            yield from self._ask_to_stop(run)

    def _next(self, now: float) -> Run | None:
        """A run that may go, or that can go no more."""
        while run := self.waiting.due(now) or self._pull(now):
            missing = [each for each in needed(*run) if not self.stored(key(each))]
            if not missing or self._doomed(run):
                self.waiting.drop(key(run))
                return run
            self.waiting.after(run, missing)
            unknown = [each for each in missing if key(each) not in self.running and key(each) not in self.waiting]
            self.waiting.first(unknown)  # nobody asked for them, or their records were there, and were moved away
        return None

    def _pull(self, now: float) -> Run | None:
        """A run of the source that is neither waiting nor running; None where it has none now."""
        while run := self.source.next():
            if key(run) not in self.running and key(run) not in self.waiting:
                self.failed.discard(key(run))  # it is asked for anew
                self.waiting.last(run)
                return self.waiting.due(now)
        return None

    def _doomed(self, run: Run) -> bool:
        return any(key(inner) in self.failed for inner in needed(*run))

    def _wait_for(self, run: Run, pid: str, now: float, asked: bool) -> Iterator[Order]:
        if key(run) not in self.held:
            yield from self._tell(run, {"kind": "note", "text": f"is being trained by process {pid}"})
        if not asked:
            self._later(run, now)
        elif not self.stopping:
            yield from self._tell(run, {"kind": "stopped"})

    def _later(self, run: Run, now: float) -> None:
        self.held[key(run)] += 1
        self.waiting.last(run, now + min(RETRY * max(1, self.held[key(run)] // 8), SELDOM))

    def _again(self, run: Run, why: str) -> Iterator[Order]:
        self.lost[key(run)] += 1
        if self.lost[key(run)] <= RETRIES:
            self.waiting.first([run])
            yield from self._tell(run, {"kind": "note", "text": f"is taken up again, {why}"})
        else:
            self.failed.add(key(run))
            deaths = self.lost.pop(key(run))
            yield from self._tell(run, {"kind": "failed", "why": f"{why}, {deaths} times", "deaths": deaths})

    def _ask_to_stop(self, run: Run) -> Iterator[Order]:
        if key(run) not in self.asked:
            self.asked.add(key(run))
            yield Stop(run)

    def _tell(self, run: Run, event: Event) -> Iterator[Order]:
        event = {**event, "run": run}
        yield event
        if event["kind"] in OVER:
            self.waiting.ended(key(run))
        for each in self.source.see(event):
            if key(each) in self.waiting:
                self.waiting.drop(key(each))
                self.waiting.ended(key(each))
            if key(each) in self.running:
                yield from self._ask_to_stop(each)
