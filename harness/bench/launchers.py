"""What a launcher takes for a run that the run itself does not: to place it, start it, and hear of its end.

Runs sleep, so that the cores which this takes are free for it.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import Problem
from harness.engine import Engine
from harness.paths import runs as folder_of_runs
from harness.simulate.check import sleeping
from harness.store import Store
from harness.study import Run

SECONDS = 1.0  # that a run sleeps


@dataclass(frozen=True)
class Overhead:
    first: float  # seconds until the first run began
    wall: float  # seconds until the end of the last
    own: float  # seconds of all runs, as their records tell them
    places: int  # runs at once

    def each(self, count: int) -> float:
        """Seconds of a place, for each run, that no run had; from the beginning of the first run on."""
        return (self.places * (self.wall - self.first) - self.own) / count


def overhead(engine: Engine, store: Store, asked: Sequence[Run]) -> Overhead:
    """Raises Problem where a run fails."""
    began, first = time.monotonic(), 0.0
    for event in engine.events(asked):
        first = first or (time.monotonic() - began if event["kind"] == "started" else 0.0)
        if event["kind"] == "failed":
            raise Problem(f"a run failed: {event['why']}")
        if event["kind"] == "interrupted":
            raise KeyboardInterrupt
    wall = time.monotonic() - began
    own = sum(float(store.read(spec.id, seed)["seconds"]) for spec, seed in asked)
    return Overhead(first, wall, own, len(engine.places))


def show_overhead(count: int, options: argparse.Namespace) -> None:
    from harness import where

    folder_of_runs().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder_of_runs()) as folder:  # which all nodes see
        store = Store(Path(folder) / "store")
        engine = where.engine(options, store, where.places(options))
        seen = overhead(engine, store, [(sleeping(SECONDS), seed) for seed in range(count)])
    print(f"{options.engine}: {count} runs of {SECONDS:g} s, {seen.places} at once")
    print(f"the first began after {seen.first:.2f} s")
    print(f"each took {seen.own / count:.2f} s, and {seen.each(count):.2f} s more of its place")
