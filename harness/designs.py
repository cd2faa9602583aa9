"""Designs: which tricks are on in each rung, and which two rungs give each gain.

Tricks are numbers here, 0 to k - 1 in the order of the study; a rung's tricks are stacked in that order, so that one
set of tricks is one specification, whichever design asks for it.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness import Problem, stats

AFFORDABLE = 64  # subsets: at most so many are all trained, for Shapley values and factorials
PAIRS = 8  # of orders, where there are more subsets: an order and its reverse


@dataclass(frozen=True)
class Row:
    """A rung: the tricks that are `on`; what it is `named` for; and the places (above, below) of its gain, if any."""

    on: tuple[int, ...]
    named: tuple[int, ...] = ()
    sign: str = ""
    gain: tuple[int, int] | None = None


@dataclass(frozen=True)
class Layout:
    rows: tuple[Row, ...]
    orders: tuple[tuple[int, ...], ...] = ()  # sampled, for Shapley values
    generators: tuple[str, ...] = ()  # of a fractional factorial


@dataclass(frozen=True)
class Options:
    """What some designs may be told."""

    pairs: int | None = None  # of orders, for Shapley values; None: all subsets where they are affordable
    fraction: int | None = None  # p of a factorial of 2^(k-p); None: the smallest that keeps main effects clear


def ladder(trunk: int, ways: Sequence[tuple[int, ...]], options: Options) -> Layout:
    """The cumulative stack, each rung over the one below; then each of `ways` over the last."""
    rows = [Row(tuple(range(i)), (i - 1,), "+", (i, i - 1)) if i else Row(()) for i in range(trunk + 1)]
    for way in ways:
        rows.append(Row((*range(trunk), *way), way, "+", (len(rows), trunk)))
    return Layout(tuple(rows))


def leave_one_out(trunk: int, ways: Sequence[tuple[int, ...]], options: Options) -> Layout:
    """All tricks, and all but each: a trick's gain is with it less without it."""
    every = tuple(range(count(trunk, ways)))
    rest = [Row(tuple(j for j in every if j != i), (i,), "−", (0, i + 1)) for i in every]
    return Layout((Row(every, sign="all tricks"), *rest))


def add_one(trunk: int, ways: Sequence[tuple[int, ...]], options: Options) -> Layout:
    """The baseline, and each trick alone on it."""
    return Layout((Row(()), *(Row((i,), (i,), "+", (i + 1, 0)) for i in range(count(trunk, ways)))))


def shapley(trunk: int, ways: Sequence[tuple[int, ...]], options: Options) -> Layout:
    """Every subset of the tricks, or the subsets that pairs of random orders come by."""
    k = count(trunk, ways)
    if options.pairs is None and 2**k <= AFFORDABLE:
        return Layout(tuple(_subset(on) for r in range(k + 1) for on in itertools.combinations(range(k), r)))
    orders = stats.antithetic_orders(k, options.pairs or PAIRS, np.random.default_rng(0)).tolist()
    met = {tuple(sorted(order[:r])): None for order in orders for r in range(k + 1)}
    return Layout(tuple(_subset(on) for on in sorted(met, key=lambda on: (len(on), on))), tuple(map(tuple, orders)))


def factorial(trunk: int, ways: Sequence[tuple[int, ...]], options: Options) -> Layout:
    """The two-level factorial of all tricks, whole or a fraction."""
    k = count(trunk, ways)
    offered = {p for (n, p) in stats.GENERATORS if n == k} | ({0} if k <= len(stats.FACTORS) else set())
    p = options.fraction
    if p is None:  # resolution 4: no main effect is aliased with an interaction of two
        clear = [p for p in offered if p == 0 or stats.resolution(k, stats.GENERATORS[k, p]) >= 4]
        p = max(clear, default=None) if k > 4 else 0
    if p not in offered:
        told = f"1/2^{p} of {k} tricks" if p is not None else f"{k} tricks"
        may = f"p may be {', '.join(map(str, sorted(offered)))}" if offered else f"at most {len(stats.FACTORS)} tricks"
        raise Problem(f"--design factorial: no design for {told}; {may}")
    generators = stats.GENERATORS[k, p] if p else ()
    matrix = stats.fraction(k, generators)
    return Layout(tuple(_subset(tuple(np.flatnonzero(run > 0).tolist())) for run in matrix), generators=generators)


def _subset(on: tuple[int, ...]) -> Row:
    return Row(on, on, "+" if on else "")


def count(trunk: int, ways: Sequence[tuple[int, ...]]) -> int:
    """Tricks in all: those of the trunk, and those that only the ways have."""
    return max([trunk, *(i + 1 for way in ways for i in way)])


DESIGNS: dict[str, Callable[[int, Sequence[tuple[int, ...]], Options], Layout]] = {
    "ladder": ladder,
    "leave-one-out": leave_one_out,
    "add-one": add_one,
    "shapley": shapley,
    "factorial": factorial,
}
