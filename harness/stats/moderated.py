"""Moderated variances: what the rows of a table say together of the noise of each."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from harness.stats.tests import Array, t_test

# A paired t-test of five seeds spends most of its power on not knowing the s.d. The gains of a study have s.d. that are
# alike but not equal, so each row's variance s² may lean on the others' (Smyth 2004, "Linear models and empirical Bayes
# methods"): true variances are taken to be s₀² d₀/χ²(d₀), the variance that a row is tested with is
#
#     (d₀ s₀² + df s²)/(d₀ + df)         df = n - 1
#
# and t has d₀ + df degrees of freedom. Smyth's estimate of d₀ is as often too high as too low, and with few rows that
# doubles the family-wise error. Here all is taken from its safe side:
#
# - d₀ is a lower bound. The less alike variances are, the wider log s² spreads; d₀ is where the `QUANTILE` of the
#   spread that rows would have is the spread that they have.
# - s₀² is the mean of the variances, which is above their middle.
# - Rows that share a rung share its noise, so m rows know less than m times df: the degrees of freedom are at most
#   those of as many independent rows as the correlations of the rows leave (Kish's design effect, of variances).
# - With fewer than `LEAST` rows there is little to lean on; where d₀ is below `FLOOR` s.d. differ too much. Then the
#   plain test is made. Rows chosen for that have a small s² too often, which adds errors: the verdicts of a table that
#   chooses between the tests are made at `SHARE` of their level.
#
# tests/kit/simulations.py has what comes of it; the four numbers were chosen by it.

QUANTILE, FLOOR, SHARE, LEAST = 0.1, 0.75, 0.8, 5
FEW = 3  # values of a row that is leant on, or leans
SPREADS = np.geomspace(0.1, 1e5, 600)  # values of d₀ between which a bound is interpolated


@dataclass(frozen=True)
class Prior:
    """What rows know together: d₀ with s₀², in the square of the rows' unit, and degrees of freedom at `most`.

    `df` is 0 where the plain test is to be made, for the reason `why`. `bound` is the lower bound that was found, and
    `estimate` Smyth's, for comparison; nan where too few rows have one. `share` is of the level that verdicts have.
    """

    df: float
    variance: float
    most: float
    bound: float
    estimate: float
    share: float
    why: str = ""


PLAIN = Prior(0.0, math.nan, math.nan, math.nan, math.nan, 1.0, "the plain test was asked for")


def smyth(variances: ArrayLike, df: ArrayLike) -> tuple[float, float]:
    """(d₀, s₀²) of Smyth (2004), §6.2, from m sample variances with `df` degrees of freedom each; d₀ may be inf.

    By the moments of log s²: what its variance exceeds the mean trigamma(df/2) by is trigamma(d₀/2). ValueError of
    fewer than two variances, or one that is not above 0.
    """
    s2, d = np.broadcast_arrays(np.asarray(variances, float), np.asarray(df, float))
    if len(s2) < 2 or not (s2 > 0).all():
        raise ValueError("two variances above 0, at least")
    e = _logs(s2, d)
    left = float(e.var(ddof=1) - special.polygamma(1, d / 2).mean())
    if left <= 0:
        return math.inf, float(np.exp(e.mean()))
    d0 = 2 * float(optimize.brentq(lambda x: math.log(special.polygamma(1, x) / left), 1e-8, 1e12, rtol=1e-12))
    return d0, float(np.exp(e.mean() + special.digamma(d0 / 2) - math.log(d0 / 2)))


def squeezed(variance: float, df: float, d0: float, s02: float) -> float:
    """A sample variance with `df` degrees of freedom, squeezed towards s₀² by d₀ of them."""
    return s02 if math.isinf(d0) else (d0 * s02 + df * variance) / (d0 + df)


def prior(rows: Sequence[ArrayLike], seeds: Sequence[Sequence[Hashable]] | None = None, of: int | None = None) -> Prior:
    """What rows of finite paired differences, none of them flat, know of each other's variance.

    `seeds` are those of each row's values, by which rows are held beside each other; where none are given, value i of
    each row is of one seed. Rows of fewer than three values are not asked. `of` is the number of rows in the table,
    those that cannot be asked too: it alone decides whether a table is large enough, so that what was seen does not.
    """
    told = seeds or [range(len(np.asarray(row))) for row in rows]
    used = [(np.asarray(row, float), own) for row, own in zip(rows, told, strict=True) if len(own) >= FEW]
    m = len(rows) if of is None else of
    if m < LEAST:
        return _plain(f"of fewer than {LEAST} gains", 1.0)
    if len(used) < 2:
        return _plain("too few gains have a spread", SHARE)
    df = np.array([len(x) - 1 for x, _ in used], float)
    variances = np.array([x.var(ddof=1) for x, _ in used])
    bound, estimate = lower_bound(variances, df), smyth(variances, df)[0]
    if bound < FLOOR:
        return _plain("s.d. differ too much", SHARE, bound, estimate)
    most = float(df.mean()) * independent(used)
    return Prior(bound, float(df @ variances / df.sum()), most, bound, estimate, SHARE)


def _plain(why: str, share: float, bound: float = math.nan, estimate: float = math.nan) -> Prior:
    return Prior(0.0, math.nan, math.nan, bound, estimate, share, why)


def lower_bound(variances: ArrayLike, df: ArrayLike, quantile: float = QUANTILE) -> float:
    """The d₀ under which the spread of m rows' log s² is below what it is with chance `quantile` at most; inf of none.

    The spread is the variance of log s² over rows, each less its expectation. Its distribution is that of V χ²(f)/f, V
    and f by the second and fourth cumulants of log F, which are polygammas: at low quantiles of few rows the true
    chance is smaller, so the bound is lower than it need be (at .1 it is .03 to .1 from five rows on).
    """
    s2, d = np.broadcast_arrays(np.asarray(variances, float), np.asarray(df, float))
    spread = float(_logs(s2, d).var(ddof=1))
    limits = _limits(tuple(sorted(d.tolist())), quantile)
    if spread <= limits[-1] or spread >= limits[0]:
        return math.inf if spread <= limits[-1] else 0.0
    return float(np.exp(np.interp(-spread, -limits, np.log(SPREADS))))


@lru_cache(maxsize=4096)
def _limits(df: tuple[float, ...], quantile: float) -> Array:
    """The `quantile` of the spread under each d₀ of `SPREADS`; it falls."""
    m, half = len(df), np.array(df) / 2
    v = special.polygamma(1, half).mean() + special.polygamma(1, SPREADS / 2)
    excess = (special.polygamma(3, half).mean() + special.polygamma(3, SPREADS / 2)) / v**2
    f = 2 / (2 / (m - 1) + excess / m)
    found: Array = np.minimum.accumulate(v * 2 * special.gammaincinv(f / 2, quantile) / f)
    return found


def _logs(s2: Array, df: Array) -> Array:
    """log s² less what its expectation exceeds log σ² by."""
    logs: Array = np.log(s2) - special.digamma(df / 2) + np.log(df / 2)
    return logs


def independent(used: Sequence[tuple[Array, Sequence[Hashable]]]) -> float:
    """To how many independent rows the variances of rows amount: m/(1 + (m - 1) ρ²), from values with their seeds.

    ρ² is the mean squared correlation of two rows over the seeds they share, less what chance has of it, 1/df. Sample
    variances of normal rows correlate with ρ². A leave-one-out's rows share the full stack: ρ² is .25 where s.d. are
    equal, so forty rows are four.
    """
    at = {seed: i for i, seed in enumerate(dict.fromkeys(seed for _, own in used for seed in own))}
    units = np.zeros((len(used), len(at)))
    for unit, (x, own) in zip(units, used, strict=True):
        left = x - x.mean()
        unit[[at[seed] for seed in own]] = left / np.linalg.norm(left)
    m, chance = len(used), len(used) / sum(len(x) - 1 for x, _ in used)
    squares = (float(((units @ units.T) ** 2).sum()) - m) / (m * (m - 1))
    shared = (squares - chance) / (1 - chance)
    return m / (1 + (m - 1) * min(1.0, max(0.0, shared)))


def moderated_t(x: Array, prior: Prior, level: float = 0.95) -> tuple[float, float, float, float, float, float]:
    """(mean, low, high, two-sided p, degrees of freedom, s.d.) of finite differences, more than one, none flat.

    The s.d. is that which the test uses. Without a prior, and of fewer than three values, it is the plain test.
    """
    n, mean, variance = len(x), float(x.mean()), float(x.var(ddof=1))
    df = n - 1.0
    if prior.df and n >= FEW:
        variance = squeezed(variance, df, prior.df, prior.variance)
        df = max(df, min(prior.df + df, prior.most))
    sd = math.sqrt(variance)
    return mean, *t_test(mean, sd / math.sqrt(n), df, level), df, sd
