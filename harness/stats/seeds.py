"""How many seeds a design asks for, so that the test of its table resolves an effect."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike
from scipy import special

from harness.stats.moderated import FEW, LEAST, SHARE, independent, moderated_t, prior, smyth
from harness.stats.planning import power
from harness.stats.tests import Array

# What a design tells is a sum over rungs whose weights sum to 0, a contrast: a gain has +1 and -1, a main effect of a
# factorial of N rungs ± 2/N. The noise that all rungs of a seed share drops out of it. If what is left has the same
# variance in each rung, σ², a gain has 2σ² and a contrast c has σ² Σc². So the s.d. of gains, which pilots tell, plans
# every design. Rungs may differ in s.d.: then log s.d. are taken to be normal, with the s.d. `spread`, and power is the
# mean over the effects of such studies.
#
# Power is by Holm's first step, α over the effects: what one has, whatever the others do. Plain t-tests have the
# noncentral t. Of moderated ones d₀ is estimated anew in each study, so they are simulated, by the code of tables.

STUDIES = 200  # simulated for each number of seeds: with nine gains in each the s.e. of a power of .8 is .01
MIXED = 16  # draws of rungs' s.d. over which the power of plain tests is a mean
MANY = 64  # seeds from which moderated tests are as plain ones at their share of the level
MOST = 10_000  # seeds: more are not planned


@dataclass(frozen=True)
class Noise:
    """The s.d. of a paired gain, root mean square over rows, with its 95 % interval; in points, as the gains are.

    `spread`: the s.d. of rungs' log s.d., beyond what sampling makes of it; 0 where few rows tell. `rows` that varied.
    """

    sd: float
    low: float
    high: float
    spread: float
    rows: int


def noise(rows: Sequence[ArrayLike], seeds: Sequence[Sequence[Hashable]]) -> Noise:
    """What rows of paired differences tell of the noise of a gain; `seeds` are those of each row's values.

    Rows of fewer than two values, or that do not vary, are left out. ValueError where none is left.
    """
    told = [(np.asarray(row, float), own) for row, own in zip(rows, seeds, strict=True)]
    used = [(x, own) for x, own in told if len(x) > 1 and np.isfinite(x).all() and x.std() > 0]
    if not used:
        raise ValueError("no row has two values that differ")
    df = np.array([len(x) - 1 for x, _ in used], float)
    variances = np.array([x.var(ddof=1) for x, _ in used])
    pooled = float(df @ variances / df.sum())
    rows_worth = independent(used) if len(used) > 1 and df.max() > 1 else len(used)  # rows that share rungs tell less
    total = max(float(df.max()), float(df.mean()) * rows_worth)
    low, high = (math.sqrt(total * pooled / scipy.stats.chi2.ppf(tail, total)) for tail in (0.975, 0.025))
    deep = df >= FEW - 1
    d0 = smyth(variances[deep], df[deep])[0] if deep.sum() >= LEAST else math.inf
    # A gain has two rungs' variances in it, so its log variance varies half as much as theirs
    spread = 0.0 if math.isinf(d0) else math.sqrt(float(special.polygamma(1, d0 / 2)) / 2)
    return Noise(math.sqrt(pooled), low, high, spread, len(used))


def curve(
    contrasts: ArrayLike,
    sd: float,
    n: int,
    spread: float = 0.0,
    test: Literal["moderated", "t"] = "t",
    alpha: float = 0.05,
) -> Callable[[float], float]:
    """The power of a true effect, in the unit of `sd`, under n seeds: the mean over the `contrasts`, effects x rungs.

    `sd` is that of a paired gain. Moderated tests of few effects are plain ones, as they are in tables.
    """
    c = np.asarray(contrasts, float)
    m, moderated = len(c), test == "moderated" and len(c) >= LEAST
    if moderated and n <= MANY:
        c = c if c[0][np.flatnonzero(c[0])[0]] > 0 else -c  # all others less all, or the other way about, are alike
        means, halves = _simulated(tuple(map(tuple, c.tolist())), n, spread, alpha)
        return lambda effect: float(np.mean(np.abs(means + effect / sd) > halves))
    level = alpha * (SHARE if moderated else 1.0) / m
    unit = np.exp(2 * spread * np.random.default_rng(0).normal(size=(MIXED, c.shape[1])) - 2 * spread**2)
    sds = sd * np.sqrt((unit if spread else np.ones((1, c.shape[1]))) @ (c**2).T / 2)
    each, times = np.unique(sds.round(12), return_counts=True)
    return lambda effect: float(np.average([power(effect, own, n, alpha=level) for own in each], weights=times))


@lru_cache(maxsize=256)
def _simulated(contrasts: tuple[tuple[float, ...], ...], n: int, spread: float, alpha: float) -> tuple[Array, Array]:
    """Means of gains without effect, and half their intervals at the level of Holm's first step: studies x effects.

    In s.d. of a gain.
    """
    c, rng, found = np.array(contrasts), np.random.default_rng(0), []
    for _ in range(STUDIES):
        unit = np.exp(spread * rng.normal(size=(c.shape[1], 1)) - spread**2) / math.sqrt(2)
        rows = c @ (unit * rng.normal(size=(c.shape[1], n)))
        told = prior(list(rows))
        found.append([moderated_t(x, told, 1 - alpha * told.share / len(c))[:3] for x in rows])
    means, _, high = np.moveaxis(np.array(found), -1, 0)
    return means, high - means


def seeds_planned(
    contrasts: ArrayLike,
    sd: float,
    effect: float,
    goal: float = 0.8,
    spread: float = 0.0,
    test: Literal["moderated", "t"] = "t",
    alpha: float = 0.05,
) -> tuple[int, float] | None:
    """(n, power): the fewest seeds under which `curve` has an `effect` resolved with chance `goal`.

    None where `MOST` are too few. ValueError for no effect.
    """
    if effect == 0:
        raise ValueError("no number of seeds resolves an effect of 0")

    @cache
    def reached(n: int) -> float:
        return curve(contrasts, sd, n, spread, test, alpha)(effect)

    low, high = 1, max(2, _known(np.asarray(contrasts, float), sd, effect, goal, alpha))
    while reached(min(high, MOST)) < goal:
        if high >= MOST:
            return None
        low, high = high, high + max(2, high // 3)
    high = min(high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= goal else (middle, high)
    return high, reached(high)


def _known(c: Array, sd: float, effect: float, goal: float, alpha: float) -> int:
    """Seeds that would do were the s.d. known."""
    z = float(scipy.stats.norm.isf(alpha / 2 / len(c)) + scipy.stats.norm.ppf(goal))
    return min(MOST, math.ceil((z * sd * math.sqrt(float((c**2).sum(1).max()) / 2) / abs(effect)) ** 2))


def least_effect(power_of: Callable[[float], float], sd: float, goal: float = 0.8) -> float:
    """The least effect that a `curve` resolves with chance `goal`, to a thousandth of `sd`; inf beyond 10,000 s.d."""
    low, high = 0.0, sd
    while power_of(high) < goal:
        if high > 1e4 * sd:
            return math.inf
        low, high = high, 2 * high
    while high - low > 1e-3 * sd:
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(middle) >= goal else (middle, high)
    return high
