"""Whether two metrics rank the same rungs alike: correlations of ranks over rungs, each a mean over seeds."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.tests import Array

EXACT_RUNGS = 8  # 8! = 40,320 orders are all counted; of more rungs no p is told
RESAMPLES = 9_999  # of the seeds
COVERED = {2: 50, 3: 75, 4: 80, 5: 84}  # seeds: of 100 such intervals of a mean of normals, those that cover it
TIE = 1e-9  # means nearer than this are equal: a mean of 1/3 and one of 1/3 differ in their last bit


@dataclass(frozen=True)
class Ranks:
    """How two metrics rank `rungs` over `seeds`; an interval, or a p, that cannot be had is nan, and `why` says it."""

    rungs: int
    seeds: int
    tau: float  # Kendall's tau-b
    tau_low: float
    tau_high: float
    tau_p: float
    rho: float  # Spearman's
    rho_low: float
    rho_high: float
    rho_p: float
    why: str = ""

    @property
    def resolved(self) -> bool:
        """Whether tau is beyond chance twice: its interval leaves out 0, and so few orders are as far from 0."""
        apart = self.tau_low > 0 or self.tau_high < 0
        return apart and (math.isnan(self.tau_p) or self.tau_p <= 0.05)


def kendall(a: ArrayLike, b: ArrayLike) -> Array:
    """Kendall's tau-b of `a` and `b`, each ... x rungs; nan where one of them ranks nothing.

    The pairs that both order alike less those that they order otherwise, over the square root of the product of the
    pairs that each orders (Kendall 1945, "The treatment of ties in ranking problems").
    """
    x, y = _above(a), _above(b)
    flat = (*x.shape[:-2], x.shape[-1] ** 2)
    return _cosine(x.reshape(flat), y.reshape(flat))


def spearman(a: ArrayLike, b: ArrayLike) -> Array:
    """Spearman's rho of `a` and `b`, each ... x rungs: Pearson's of the ranks, of which equals share the mean."""
    x, y = (_above(values).sum(-1) for values in (a, b))  # twice the rank, less what centres it
    return _cosine(x, y)


def rank_correlation(a: ArrayLike, b: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Ranks:
    """How alike two metrics rank rungs by their means over seeds; `a` and `b` are rungs x seeds, nan where missing.

    Only seeds with both metrics of every rung count. The 95 % interval is a percentile bootstrap: seeds are drawn with
    replacement, the same for every rung and for both metrics, so it speaks of these rungs. The p is exact: the share of
    all orders of the rungs in which the coefficient is as far from 0, so it speaks of rungs like these. ValueError of
    arrays that are not of one shape.
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"a {x.shape} and b {y.shape} must be rungs x seeds alike")
    whole = np.isfinite(x).all(0) & np.isfinite(y).all(0)
    x, y = x[:, whole], y[:, whole]
    n, m = x.shape
    means = (x.mean(1), y.mean(1)) if m else (np.zeros(n), np.zeros(n))
    tau, rho = float(kendall(*means)), float(spearman(*means))
    drawn = np.random.default_rng(seed).integers(m, size=(resamples if m > 1 else 0, max(m, 1)))
    again = (x[:, drawn].mean(-1).T, y[:, drawn].mean(-1).T) if m else (np.zeros((0, n)), np.zeros((0, n)))
    (tau_low, tau_high), (rho_low, rho_high) = _interval(kendall(*again)), _interval(spearman(*again))
    tau_p, rho_p = _exact_p(tau, kendall, *means), _exact_p(rho, spearman, *means)
    return Ranks(n, m, tau, tau_low, tau_high, tau_p, rho, rho_low, rho_high, rho_p, _why(n, m, tau))


def _above(values: ArrayLike) -> Array:
    """-1, 0 or 1 of each pair of rungs, ... x rungs x rungs: whether the first is above the second."""
    v = np.asarray(values, float)
    apart = v[..., :, None] - v[..., None, :]
    signs: Array = np.sign(apart) * (np.abs(apart) > TIE)
    return signs


def _cosine(x: Array, y: Array) -> Array:
    with np.errstate(invalid="ignore"):
        found: Array = (x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return found


def _interval(values: Array) -> tuple[float, float]:
    """The middle 95 % of resampled coefficients; those that rank nothing are none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _exact_p(value: float, of: Callable[[ArrayLike, ArrayLike], Array], a: Array, b: Array) -> float:
    if math.isnan(value) or len(a) > EXACT_RUNGS:
        return math.nan
    orders = np.array(list(itertools.permutations(range(len(a)))))
    every = of(np.broadcast_to(a, orders.shape), b[orders])
    return float((np.abs(every) >= abs(value) - TIE).mean())


def _why(rungs: int, seeds: int, tau: float) -> str:
    """What cannot be told, and for what reason; "" where all can."""
    if not seeds:
        return "no seed has both of every rung"
    if rungs < 2:
        return "one rung has no order" if rungs else "there is no rung"
    if math.isnan(tau):
        return "one of the two is the same for all rungs"
    lines = []
    if rungs < 5:
        least = 2 / math.factorial(rungs)
        lines.append(f"{rungs} rungs cannot give less than p = {least:.2g}")
    if rungs > EXACT_RUNGS:
        lines.append(f"of {rungs} rungs not all orders were counted")
    if seeds == 1:
        lines.append("one seed has no interval")
    elif seeds in COVERED:
        lines.append(
            f"of {seeds} seeds intervals by resampling are too narrow: of a mean about {COVERED[seeds]} % cover it"
        )
    return "; ".join(lines)
