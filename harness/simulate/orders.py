"""Orders in which a plan's runs may be offered to the scheduler; what a run builds on goes first in each."""

from collections.abc import Callable, Sequence

from harness.engine.scheduler import Key, key
from harness.rng import stream
from harness.spec import needed
from harness.study import Run

Order = Callable[[Sequence[Run], dict[Key, float]], list[Run]]


def as_planned(runs: Sequence[Run], lengths: dict[Key, float]) -> list[Run]:
    return list(runs)


def longest_chain_first(runs: Sequence[Run], lengths: dict[Key, float]) -> list[Run]:
    """By the run with the longest chain of runs that build on it: the critical path of list scheduling."""
    chain = dict(lengths)
    for run in sorted(runs, key=lambda run: -len(needed(*run))):  # what builds on others before those
        for inner in map(key, needed(*run)):
            chain[inner] = max(chain[inner], lengths[inner] + chain[key(run)])
    return sorted(runs, key=lambda run: -chain[key(run)])


def shortest_first(runs: Sequence[Run], lengths: dict[Key, float]) -> list[Run]:
    return sorted(runs, key=lambda run: lengths[key(run)])


def at_random(runs: Sequence[Run], lengths: dict[Key, float]) -> list[Run]:
    return [runs[i] for i in stream(0, "order of runs").permutation(len(runs))]


ORDERS: dict[str, Order] = {
    "as planned": as_planned,
    "longest first": longest_chain_first,
    "shortest first": shortest_first,
    "at random": at_random,
}
