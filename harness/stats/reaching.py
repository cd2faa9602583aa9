"""How long training must be for a target: the lengths to try, and where the mean over seeds crosses it.

Pure functions of scores by length; a length is a whole number of epochs. Scores rise with length, but for noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.tests import Array


@dataclass(frozen=True)
class Walk:
    """Lengths that were tried, and what comes next.

    `due` is the length to try now, None where the walk has ended; `reached` the least length found to reach the target,
    None where none has; `low` the greatest found below it that does not, None where there is none.
    """

    tried: tuple[int, ...]
    due: int | None
    reached: int | None
    low: int | None


def walk(mean: Callable[[int], float | None], target: float, lengths: Sequence[int], start: int) -> Walk:
    """Bisect `lengths` for the least whose `mean` reaches `target`; it ends at a length whose mean is not known yet.

    It begins at the length nearest to `start`, doubles until one reaches the target, or halves until one does not, and
    then takes the middle of what is left between. What it does depends on the means alone, so asked again it goes the
    same way. ValueError without lengths.
    """
    every = sorted(set(lengths))
    if not every:
        raise ValueError("no lengths to try")
    tried: list[int] = []
    high: int | None = None
    low: int | None = None
    due: int | None = min(every, key=lambda length: (abs(length - start), length))
    while due is not None:
        score = mean(due)
        if score is None:
            break
        tried.append(due)
        if score >= target:
            high = due
        else:
            low = due
        due = _next(every, low, high)
    return Walk(tuple(tried), due, high, low)


def _next(every: Sequence[int], low: int | None, high: int | None) -> int | None:
    between = [length for length in every if (low is None or length > low) and (high is None or length < high)]
    if not between:
        return None
    if high is None:
        return next((length for length in between if length >= 2 * (low or 0)), between[-1])
    if low is None:
        return next((length for length in reversed(between) if 2 * length <= high), between[0])
    return between[(len(between) - 1) // 2]


def crossings(low: int | None, below: ArrayLike, high: int, above: ArrayLike, target: float) -> Array:
    """The length at which the mean crosses `target`, as one value a seed, whose mean is the crossing.

    `below` and `above` are scores at the lengths `low` and `high`, a value a seed in the same order. The crossing is
    that of the straight line between the two means. A seed's value is what the crossing moves by with its scores, all
    seeds together (the delta method): so values of two rungs may be paired by seed, and their spread has in it the
    noise of both lengths, of the line's slope too. Where `low` is None all are `high`: the target may be reached
    sooner. ValueError where the means do not enclose the target.
    """
    a = np.asarray(above, float)
    if low is None:
        return np.full(len(a), float(high))
    b = np.asarray(below, float)
    if not b.mean() < target <= a.mean():
        raise ValueError(f"means {b.mean():g} and {a.mean():g} do not enclose {target:g}")
    share = (target - b.mean()) / (a.mean() - b.mean())
    slope = (a.mean() - b.mean()) / (high - low)
    moved = ((1 - share) * (b - b.mean()) + share * (a - a.mean())) / slope
    return np.asarray(low + share * (high - low) - moved, float)


def mean_of(scores: Mapping[int, float], seeds: Sequence[int]) -> float | None:
    """The mean over `seeds`; None where one has no score yet."""
    return fmean(scores[seed] for seed in seeds) if all(seed in scores for seed in seeds) else None
