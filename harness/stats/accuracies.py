"""What a test set of N images says: intervals of accuracies, and of differences between two networks."""

import base64
import math
import zlib

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from harness.stats.tests import Array, summed


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, shares of 1 (Wilson 1927); halves may count; nan where n is 0."""
    if n == 0:
        return math.nan, math.nan
    z = float(scipy.stats.norm.ppf((1 + level) / 2))
    share, shrink = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def binomial_se(accuracy: float, n: int) -> float:
    """Standard error sqrt(p(1 - p)/n) of an accuracy, share of 1, from drawing n test examples."""
    return math.sqrt(accuracy * (1 - accuracy) / n)


def outperformance(differences: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """(P(A > B), low, high) over paired differences A - B, ties half, with Wilson's interval.

    Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks". nan where there is no pair.
    """
    x = np.asarray(differences, float)
    if not len(x) or np.isnan(x).any():
        return math.nan, math.nan, math.nan
    wins = float((np.sign(x) + 1).sum() / 2)
    return wins / len(x), *wilson(wins, len(x), level)


def discordant(above: ArrayLike, below: ArrayLike) -> tuple[int, int]:
    """(b, c) of two runs on the same examples, correct or not: b only `above` has right, c only `below`."""
    a, b = np.asarray(above, bool), np.asarray(below, bool)
    return int((a & ~b).sum()), int((~a & b).sum())


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p that two runs are right equally often, from their `discordant` examples (McNemar 1947).

    It speaks of these two runs, not of their recipes: another seed is another pair. 1 where nothing is discordant.
    """
    return float(scipy.stats.binomtest(b, b + c).pvalue) if b + c else 1.0


def discordant_interval(b: int, c: int, n: int, level: float = 0.95, resamples: int = 20_000) -> tuple[float, float]:
    """Paired percentile bootstrap interval of (b - c)/n, a difference of accuracies on n examples, share of 1.

    Efron 1979. To draw n examples anew is to draw how many of them are discordant, from a multinomial: (b, c,
    n - b - c) are all that the difference has of them. Steps are 1/n wide; (nan, nan) where nothing is discordant.
    """
    if not b + c:
        return math.nan, math.nan
    drawn = np.random.default_rng(0).multinomial(n, [b / n, c / n, (n - b - c) / n], resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# Seeds and examples: correctness matrices c of R runs x N test examples, bool; a gain is in shares of 1.
#
# Runs and examples are drawn independently, so whatever their laws (Hoeffding's decomposition; no normality)
#
#     c_ij = μ + s_i + e_j + r_ij        run i, example j; the terms have mean 0 and are uncorrelated
#
# with variances σ²_s, σ²_e, σ²_r: two-way crossed random effects (Searle, Casella and McCulloch 1992, §4). Then
#
#     Var(mean | these examples) = (σ²_s + σ²_r/N)/R          the variance of the runs' accuracies, over R
#     Var(mean)                  = (σ²_s + σ²_r/N)/R + σ²_e/N
#
# and the variance over j of the examples' means has expectation σ²_e + σ²_r/R. The mean square of what is left after
# rows and columns is unbiased for σ²_r. Of two arms trained apart, seeds and residuals add up; examples are shared.


def _residual(c: Array) -> float:
    """σ̂²_r of R x N: the mean square of the interaction."""
    left = c - c.mean(0) - c.mean(1, keepdims=True) + c.mean()
    return float((left**2).sum() / ((c.shape[0] - 1) * (c.shape[1] - 1)))


@np.errstate(invalid="ignore")  # of values that are not finite: nan
def gain_errors(
    above: ArrayLike, below: ArrayLike | None = None, paired: bool = True
) -> tuple[float, float, float, float, float]:
    """(gain, s.e., degrees of freedom) for this test set, then (s.e., degrees of freedom) for new data of its kind.

    From correctness matrices, runs x examples, of one arm or two on the same examples; paired arms have the same seeds.
    The first s.e. has the variation over seeds only. The second adds σ̂²_e/N, at least 0, for other examples; training
    data and recipe stay what they are. Degrees of freedom by Satterthwaite, ready for `t_test`; nan where nothing
    varies, all but the gain where an arm has one run, and of new data where there is one example.
    """
    a = np.asarray(above, float)
    b = None if below is None else np.asarray(below, float)
    parts = [a] if b is None else [a - b] if paired else [a, -b]
    columns = np.sum([c.mean(0) for c in parts], axis=0)
    n, gain = len(columns), float(columns.mean())
    if min(map(len, parts)) < 2:
        return gain, math.nan, math.nan, math.nan, math.nan
    seeds = [(float(c.mean(1).var(ddof=1)) / len(c), len(c) - 1) for c in parts]
    if n < 2:
        return gain, *summed(seeds), math.nan, math.nan
    noise = sum(_residual(c) / len(c) for c in parts)
    examples = (max(0.0, float(columns.var(ddof=1)) - noise) / n, n - 1)
    return gain, *summed(seeds), *summed([*seeds, examples])


@np.errstate(invalid="ignore")  # of values that are not finite: nan
def distribution_variance(correct: ArrayLike) -> float:
    """Unbiased σ̂²_s: the variance over seeds of accuracy on endless data, shares of 1 squared; may be below 0.

    Jordan 2023, "On the variance of neural network training": what the runs' accuracies on N examples vary by, less
    what drawing the examples adds: (N · Var(accuracies) - mean Var(c_j))/(N - 1), Var over seeds; nan of one run, or
    one example.
    """
    c = np.asarray(correct, float)
    n = c.shape[1]
    if len(c) < 2 or n < 2:
        return math.nan
    return float((n * c.mean(1).var(ddof=1) - c.var(axis=0, ddof=1).mean()) / (n - 1))


def distribution_sd(correct: ArrayLike) -> float:
    """The root of `distribution_variance`, share of 1; 0 where that is below 0."""
    variance = distribution_variance(correct)
    return math.sqrt(max(0.0, variance)) if variance == variance else math.nan


def unpacked(text: str) -> NDArray[np.uint16]:
    """The class that a run answered to each of N test images, in order, as `tasks.classify.packed` keeps them."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype="<u2")
