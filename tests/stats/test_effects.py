import math
from itertools import chain, combinations, permutations

import numpy as np
import pytest

from harness import stats


# Shapley
def subsets(players):
    return [frozenset(s) for s in chain.from_iterable(combinations(players, r) for r in range(len(players) + 1))]


def test_shapley_of_the_glove_game_and_of_the_airport():
    gloves = {s: float("R" in s and len(s) > 1) for s in subsets("LlR")}
    assert stats.shapley(stats.by_bits(gloves, "LlR")) == pytest.approx([1 / 6, 1 / 6, 2 / 3])
    airport = {s: float(max(s, default=0)) for s in subsets((1, 2, 3))}
    assert stats.shapley(stats.by_bits(airport, (1, 2, 3))) == pytest.approx([1 / 3, 5 / 6, 11 / 6])
    with pytest.raises(ValueError, match="6 values"):
        stats.shapley(np.zeros(6))


def along(v, order):
    """v after the first 0, 1, ... players of an order, from a value by bits."""
    return v[np.concatenate(([0], np.cumsum(1 << np.asarray(order))))]


def test_shapley_is_the_mean_over_all_orders_and_keeps_its_axioms():
    rng, k = np.random.default_rng(14), 5
    v, w = rng.normal(size=(2, 2**k))
    mean = np.zeros(k)
    for order in permutations(range(k)):
        mean[list(order)] += np.diff(along(v, order)) / math.factorial(k)
    phi = stats.shapley(v)
    assert phi == pytest.approx(mean)
    assert phi.sum() == pytest.approx(v[-1] - v[0])
    assert stats.shapley(2 * v + 3 * w) == pytest.approx(2 * phi + 3 * stats.shapley(w))
    assert stats.shapley(np.stack((v, w))) == pytest.approx(np.stack((phi, stats.shapley(w))))
    bits = np.arange(2**k)
    dummy = v[bits & 0b10111] + 7 * (bits >> 3 & 1)  # player 3 adds 7 to every subset
    assert stats.shapley(dummy)[3] == pytest.approx(7)
    swapped = bits & 0b11100 | (bits & 1) << 1 | bits >> 1 & 1
    even = stats.shapley(v + v[swapped])
    assert even[0] == pytest.approx(even[1])


def test_orders_come_with_their_reverses():
    orders = stats.antithetic_orders(8, 3, np.random.default_rng(15))
    assert orders.shape == (6, 8)
    assert (np.sort(orders) == np.arange(8)).all()
    assert (orders[1::2] == orders[::2, ::-1]).all()
    assert len({tuple(o) for o in orders}) == 6


def test_sampled_shapley_by_hand_and_by_simulation():
    # Orders 0 1 2 and 2 1 0 give (1, 2, 3) and (0, 4, 2); orders 1 0 2 and 2 0 1 give (4, 0, 2) and (1, 3, 2).
    orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]]
    values = [[0, 1, 3, 6], [0, 2, 6, 6], [0, 0, 4, 6], [0, 2, 3, 6]]
    phi, se = stats.sampled_shapley(orders, values)
    assert phi == pytest.approx([(0.5 + 2.5) / 2, (3 + 1.5) / 2, (2.5 + 2) / 2])
    assert se == pytest.approx([2 / 2, 1.5 / 2, 0.5 / 2])  # half the gap is the s.e. of two draws
    with pytest.raises(ValueError, match="reverse"):
        stats.sampled_shapley([[0, 1], [0, 1]], np.zeros((2, 3)))
    assert np.isnan(stats.sampled_shapley(orders[:2], values[:2])[1]).all()

    rng, k = np.random.default_rng(16), 6
    v = rng.normal(size=2**k).cumsum()
    true, off, claimed = stats.shapley(v), [], []
    for _ in range(400):
        orders = stats.antithetic_orders(k, 10, rng)
        phi, se = stats.sampled_shapley(orders, [along(v, order) for order in orders])
        assert phi.sum() == pytest.approx(v[-1] - v[0])
        off.append(phi - true)
        claimed.append(se**2)
    assert np.mean(claimed, axis=0) == pytest.approx(np.mean(np.square(off), axis=0), rel=0.35)
    assert np.abs(np.mean(off, axis=0) / np.std(off, axis=0)).max() < 4 / math.sqrt(400)
