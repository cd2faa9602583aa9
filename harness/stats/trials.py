"""The expected best of n trials."""

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike

from harness.stats.tests import Array


def best_of_n(values: ArrayLike, n: ArrayLike) -> Array:
    """The expected best, that is greatest, of `n` trials drawn without replacement from the N seen; n in 1, ..., N.

    Σ_k v₍k₎ P(the greatest is the k-th), exact: the mean over all subsets, and of independent trials unbiased (Tang et
    al. 2020), which the draws with replacement of Dodge et al. (2019), "Show Your Work", are not. It rises with n by
    ever smaller steps. ValueError of values that are not finite, and of n outside 1, ..., N.

    Valid for random search, whose trials are independent. Of an adaptive sampler it describes the pool that is there:
    later trials are drawn better than earlier ones, so it is not what a shorter search would have reached.
    """
    x, size = np.sort(np.asarray(values, float)), np.asarray(n, int)
    if not np.isfinite(x).all() or not len(x) or (size < 1).any() or (size > len(x)).any():
        raise ValueError(f"finite values and n in 1, ..., {len(x)}: {size.tolist()}")
    k, drawn = np.arange(1, len(x)), np.arange(len(x))[:, None]
    none_above = np.clip((k - drawn) / (len(x) - drawn), 0, None).cumprod(axis=0)  # n x k: all of n among the least k
    made: Array = (x[-1] - none_above @ np.diff(x))[size - 1]
    return made


def best_of_n_interval(values: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """(low, high) around the *median* best of `n` further independent trials: order statistics of those seen.

    That median is the quantile 2^(-1/n) of one trial, so the binomial gives an interval that covers it with `level` at
    least, whatever the distribution (as the bands of Lourie, Cho and He 2023). ±inf where N trials give no bound: above
    n = N/5.3 the N seen may all be below the median best, and nothing tells how far. One n at a time; not of an
    adaptive sampler, whose trials are not independent.

    Not the expected best: its percentile bootstrap, resampled 500 times of N = 30 normal values, covers 93 % at n = 2
    but 81 % at 10 and 47 % at 30, since no resample exceeds the best seen.
    """
    x = np.concatenate(([-math.inf], np.sort(np.asarray(values, float)), [math.inf]))
    chance = 0.5 ** (1 / np.asarray(n, float))
    low, high = (scipy.stats.binom.ppf((1 + side * level) / 2, len(x) - 2, chance).astype(int) for side in (-1, 1))
    return x[low], x[high + 1]
