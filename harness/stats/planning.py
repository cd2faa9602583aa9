"""What a study of so many seeds would resolve."""

import math
from functools import lru_cache

import numpy as np
import scipy
from scipy import optimize

# Power: t-tests under a true effect, by the noncentral t. `sd` is that of the paired differences, or with paired=False
# of one arm; the s.d. of differences is sd · sqrt(2(1 - ρ)) of one arm's. n counts pairs, or the seeds of each arm.


def power(effect: float, sd: float, n: int, paired: bool = True, alpha: float = 0.05, df: float | None = None) -> float:
    """The chance that a two-sided t-test at `alpha` resolves a true `effect` (Cohen 1988); nan where n < 2; sd > 0.

    `df`: the degrees of freedom that `sd` has, where it was not of these seeds alone.
    """
    if n < 2:
        return math.nan
    df = df or (n - 1 if paired else 2 * n - 2)
    shift = abs(effect) / sd * math.sqrt(n if paired else n / 2)
    bar = scipy.stats.t.isf(alpha / 2, df)
    other = np.nan_to_num(scipy.stats.nct.cdf(-bar, df, shift))  # scipy gives nan for some chances below 1e-7
    return float(scipy.stats.nct.sf(bar, df, shift) + other)


def detectable(
    sd: float, n: int, goal: float = 0.8, paired: bool = True, alpha: float = 0.05, df: float | None = None
) -> float:
    """The minimum detectable effect: the least that `power` resolves with chance `goal`; nan where n < 2 or sd is.

    With the s.d. that a few seeds happened to have it is as rough as that s.d.: ± 35 % at n = 5.
    """
    return sd * _detectable(n, goal, paired, alpha, df)


@lru_cache(maxsize=1024)
def _detectable(n: int, goal: float, paired: bool, alpha: float, df: float | None) -> float:
    if n < 2:
        return math.nan
    top = 1.0
    while power(top, 1.0, n, paired, alpha, df) < goal:
        top *= 2
    return float(optimize.brentq(lambda effect: power(effect, 1.0, n, paired, alpha, df) - goal, 0.0, top))


def seeds_needed(effect: float, sd: float, goal: float = 0.8, paired: bool = True, alpha: float = 0.05) -> int:
    """The least n, of pairs or of each arm, that resolves `effect` with chance `goal`; ValueError for no effect."""
    if effect == 0:
        raise ValueError("no number of seeds resolves an effect of 0")
    low, high = 1, 2  # the least n is in (low, high]
    while power(effect, sd, high, paired, alpha) < goal:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, sd, middle, paired, alpha) >= goal else (middle, high)
    return high
