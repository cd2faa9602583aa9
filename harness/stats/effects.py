"""Effects of tricks over sets of them: Shapley values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.tests import Array


def by_bits(value: Mapping[frozenset[Any], float], players: Sequence[Any]) -> Array:
    """A value by subset as 2^k entries: bit j of the index: players[j] is in. KeyError where one is lacking."""
    k = len(players)
    return np.array([value[frozenset(players[j] for j in range(k) if i >> j & 1)] for i in range(2**k)], float)


@np.errstate(invalid="ignore")  # of values that are not finite: nan
def shapley(value: ArrayLike) -> Array:
    """Shapley (1953) values, ... x k, exact, of a characteristic function, ... x 2^k as `by_bits` orders it.

    They sum to v(all) - v(none). One row a seed gives one row of values a seed, ready for a t-interval. ValueError
    where the last axis is no power of two.
    """
    v = np.asarray(value, float)
    k = v.shape[-1].bit_length() - 1
    if v.shape[-1] != 2**k:
        raise ValueError(f"{v.shape[-1]} values are not 2^k subsets")
    index = np.arange(2**k)
    size = sum((index >> j & 1 for j in range(k)), np.zeros_like(index))
    values = np.empty((*v.shape[:-1], k))
    for j in range(k):
        without = index[index >> j & 1 == 0]
        weight = np.array([1 / (k * math.comb(k - 1, s)) for s in size[without]])  # s!(k - s - 1)!/k!
        values[..., j] = (v[..., without | 1 << j] - v[..., without]) @ weight
    return values


def antithetic_orders(k: int, pairs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """2 · pairs orders of k players, one a row; each odd row is the reverse of the one before it."""
    orders = np.array([rng.permutation(k) for _ in range(pairs)], np.int64).reshape(pairs, k)
    return np.stack((orders, orders[:, ::-1]), axis=1).reshape(2 * pairs, k)


@np.errstate(invalid="ignore")  # of values that are not finite: nan
def sampled_shapley(orders: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    """(Shapley values, standard errors), k each, from `antithetic_orders` (Mitchell et al. 2022).

    `values`, orders x (k + 1): v after the first 0, 1, ..., k players of each order. An order and its reverse are one
    draw, so the s.e. is over pairs; nan of one pair. ValueError where the rows are not such pairs.
    """
    turns, v = np.asarray(orders, int), np.asarray(values, float)
    if len(turns) % 2 or not np.array_equal(turns[1::2], turns[::2, ::-1]):
        raise ValueError("each second order must be the reverse of the one before it")
    gains = np.empty(turns.shape)
    np.put_along_axis(gains, turns, np.diff(v, axis=1), axis=1)
    draws = (gains[::2] + gains[1::2]) / 2
    n = len(draws)
    return draws.mean(0), draws.std(0, ddof=1) / math.sqrt(n) if n > 1 else np.full(turns.shape[1], math.nan)
