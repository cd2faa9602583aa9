import math
from itertools import combinations

import numpy as np
import pytest
import scipy

from harness import stats
from tests.kit.textbook import binomial


def test_best_of_n_is_the_mean_over_all_subsets():
    rng = np.random.default_rng(30)
    for values in (rng.normal(90, 3, 9), [1.0, 2.0, 2.0, 7.0], [5.0], [3.0] * 6, [-1e9, 93.0, 94.0]):
        sizes = range(1, len(values) + 1)
        brute = [np.mean([max(subset) for subset in combinations(values, n)]) for n in sizes]
        assert stats.best_of_n(values, sizes) == pytest.approx(brute, rel=1e-12)


def test_best_of_n_by_hand_and_by_drawing():
    assert stats.best_of_n([1, 2, 4], [1, 2, 3]) == pytest.approx([7 / 3, (2 + 4 + 4) / 3, 4])
    values = np.random.default_rng(31).gumbel(size=200)
    drawn = np.random.default_rng(32).permuted(np.tile(values, (20_000, 1)), axis=1)
    for n in (2, 10, 150):
        best = drawn[:, :n].max(1)
        assert float(stats.best_of_n(values, n)) == pytest.approx(best.mean(), abs=4 * best.std() / math.sqrt(20_000))


def test_best_of_n_is_unbiased_where_drawing_with_replacement_is_not():
    pools = np.random.default_rng(33).uniform(size=(4000, 10))
    ours = np.array([stats.best_of_n(pool, 5) for pool in pools])
    dodge = np.array([np.diff((np.arange(11) / 10) ** 5) @ np.sort(pool) for pool in pools])
    error = 4 * ours.std() / math.sqrt(len(pools))
    assert ours.mean() == pytest.approx(5 / 6, abs=error)  # the mean of the greatest of five uniforms
    assert dodge.mean() < 5 / 6 - 2 * error


def test_best_of_n_rises_by_ever_smaller_steps_from_the_mean_to_the_best():
    values = np.random.default_rng(34).standard_cauchy(size=500)
    steps = np.diff(curve := stats.best_of_n(values, range(1, 501)))
    assert curve[0] == pytest.approx(values.mean())
    assert curve[-1] == values.max()
    assert (steps >= -1e-9).all()
    assert (np.diff(steps) <= 1e-9 * np.ptp(values)).all()
    top, second = np.sort(values)[[-1, -2]]
    assert steps[-1] == pytest.approx((top - second) / 500)
    assert (stats.best_of_n(values[::-1], [3, 7]) == stats.best_of_n(values, [3, 7])).all()


@pytest.mark.parametrize(
    ("values", "n"), [([1.0, 2.0], 3), ([1.0, 2.0], 0), ([1.0, math.nan], 1), ([1.0, math.inf], 1), ([], 1)]
)
def test_best_of_n_refuses_what_has_none(values, n):
    with pytest.raises(ValueError, match="finite values and n"):
        stats.best_of_n(values, n)


@pytest.mark.parametrize("quantile", [scipy.stats.norm.ppf, scipy.stats.expon.ppf, np.log])
def test_the_interval_of_the_best_of_n_covers_its_median(quantile):
    draws, sizes = 1500, np.array([1, 3, 10, 30])
    true = quantile(0.5 ** (1 / sizes))
    pools = quantile(np.random.default_rng(35).uniform(size=(draws, 30)))
    low, high = np.array([stats.best_of_n_interval(pool, sizes) for pool in pools]).transpose(1, 0, 2)
    inside = ((low <= true) & (true <= high)).mean(0)
    assert (inside >= 0.95 - binomial(0.95, draws)).all()
    assert inside[0] < 0.975  # no wider than it must be
    assert ((true > high).mean(0) <= 0.025 + binomial(0.025, draws)).all()


def test_the_interval_of_the_best_of_n_has_no_bound_that_the_trials_do_not_give():
    low, high = stats.best_of_n_interval(range(1, 31), range(1, 31))
    assert (low[0], high[0]) == (10, 21)  # of a median of 30, in the tables of the sign test
    bounded = np.array([0.5 ** (30 / n) <= 0.025 for n in range(1, 31)])  # all seen below the median best
    assert (np.isfinite(high) == bounded).all()
    assert (np.diff(low) >= 0).all()
    assert stats.best_of_n_interval([1, 2, 3], 1) == (-math.inf, math.inf)
