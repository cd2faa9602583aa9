"""Designs: which tricks are on in each rung, and which two rungs give each gain.

Tricks are numbers here, 0 to k - 1 in the order of the study, whose ladder is a tree of `Node`s. A rung's tricks are
stacked in that order, so that one set of tricks is one specification, whichever design asks for it.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness import Problem
from harness.stats.effects import antithetic_orders, sampled_shapley
from harness.stats.effects import shapley as shapley_values
from harness.stats.factorial import FACTORS, GENERATORS, factorial_effects, fraction, resolution
from harness.stats.tests import Array

AFFORDABLE = 64  # subsets: at most so many are all trained, for Shapley values and factorials
PAIRS = 8  # of orders, where there are more subsets: an order and its reverse


@dataclass(frozen=True)
class Row:
    """A rung: the tricks that are `on`; what it is `named` for; and the places (above, below) of its gain, if any."""

    on: tuple[int, ...]
    named: tuple[int, ...] = ()
    sign: str = ""
    gain: tuple[int, int] | None = None
    way: tuple[int, ...] = ()  # what began the way that it is on, if that is not itself, nor the first way


@dataclass(frozen=True)
class Node:
    """A rung of a ladder that may branch: tricks `added` to the rung at place `parent`; 0 is the baseline."""

    parent: int
    added: tuple[int, ...]
    way: tuple[int, ...] = ()


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


def ladder(k: int, tree: Sequence[Node], options: Options) -> Layout:
    """The cumulative stack, each rung over the one it is built on."""
    rows = [Row(())]
    for place, node in enumerate(tree, 1):
        rows.append(Row((*rows[node.parent].on, *node.added), node.added, "+", (place, node.parent), node.way))
    return Layout(tuple(rows))


def leave_one_out(k: int, tree: Sequence[Node], options: Options) -> Layout:
    """All tricks, and all but each: a trick's gain is with it less without it."""
    rest = [Row(tuple(j for j in range(k) if j != i), (i,), "−", (0, i + 1)) for i in range(k)]
    return Layout((Row(tuple(range(k)), sign="all tricks"), *rest))


def add_one(k: int, tree: Sequence[Node], options: Options) -> Layout:
    """The baseline, and each trick alone on it."""
    return Layout((Row(()), *(Row((i,), (i,), "+", (i + 1, 0)) for i in range(k))))


def shapley(k: int, tree: Sequence[Node], options: Options) -> Layout:
    """Every subset of the tricks, or the subsets that pairs of random orders come by."""
    if options.pairs is None and 2**k <= AFFORDABLE:
        return Layout(tuple(_subset(on) for r in range(k + 1) for on in itertools.combinations(range(k), r)))
    orders = antithetic_orders(k, options.pairs or PAIRS, np.random.default_rng(0)).tolist()
    met = {tuple(sorted(order[:r])): None for order in orders for r in range(k + 1)}
    return Layout(tuple(_subset(on) for on in sorted(met, key=lambda on: (len(on), on))), tuple(map(tuple, orders)))


def factorial(k: int, tree: Sequence[Node], options: Options) -> Layout:
    """The two-level factorial of all tricks, whole or a fraction."""
    offered = {p for (n, p) in GENERATORS if n == k} | ({0} if k <= len(FACTORS) else set())
    p = options.fraction
    if p is None:  # resolution 4: no main effect is aliased with an interaction of two
        clear = [p for p in offered if p == 0 or resolution(k, GENERATORS[k, p]) >= 4]
        p = max(clear, default=None) if k > 4 else 0
    if p not in offered:
        told = f"1/2^{p} of {k} tricks" if p is not None else f"{k} tricks"
        may = f"p may be {', '.join(map(str, sorted(offered)))}" if offered else f"at most {len(FACTORS)} tricks"
        raise Problem(f"--design factorial: no design for {told}; {may}")
    generators = GENERATORS[k, p] if p else ()
    matrix = fraction(k, generators)
    return Layout(tuple(_subset(tuple(np.flatnonzero(run > 0).tolist())) for run in matrix), generators=generators)


def _subset(on: tuple[int, ...]) -> Row:
    return Row(on, on, "+" if on else "")


def contrasts(design: str, layout: Layout, k: int) -> Array:
    """What each gain, Shapley value or main effect is made of: a row each, with the weight of each rung.

    Weights are those of the rungs' scores, and sum to 0.
    """
    n = len(layout.rows)
    unit, on = np.eye(n), [row.on for row in layout.rows]
    if design == "factorial":
        made = factorial_effects([[1 if j in own else -1 for j in range(k)] for own in on], unit, order=1)
        return np.array([made[letter] for letter in FACTORS[:k]])
    at = {frozenset(own): place for place, own in enumerate(on)}
    if design == "shapley" and layout.orders:
        places = [[at[frozenset(order[:r])] for r in range(k + 1)] for order in layout.orders]
        return np.array([sampled_shapley(layout.orders, row[places])[0] for row in unit]).T
    if design == "shapley":
        columns = [at[frozenset(j for j in range(k) if i >> j & 1)] for i in range(2**k)]
        return np.asarray(shapley_values(unit[:, columns]).T)
    return of_gains([row.gain for row in layout.rows])


def of_gains(gains: Sequence[tuple[int, int] | None]) -> Array:
    """The `contrasts` of rungs, each with the places (above, below) of its gain, if it has one."""
    pairs = [pair for pair in gains if pair]
    unit = np.eye(len(gains))
    return np.array([unit[above] - unit[below] for above, below in pairs]).reshape(len(pairs), len(gains))


DESIGNS: dict[str, Callable[[int, Sequence[Node], Options], Layout]] = {
    "ladder": ladder,
    "leave-one-out": leave_one_out,
    "add-one": add_one,
    "shapley": shapley,
    "factorial": factorial,
}
