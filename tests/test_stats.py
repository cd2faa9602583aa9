"""Against textbook data and hand arithmetic."""

import math

import numpy as np
import pytest

from harness import stats

# Student (1908), hours of extra sleep under two drugs: mean difference 1.58, 95 % interval [0.7001, 2.4599].
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_sleep_data():
    mean, low, high, pairs = stats.paired_gain(dict(enumerate(DRUG_2)), dict(enumerate(DRUG_1)))
    assert (mean, low, high) == pytest.approx((1.58, 0.7001, 2.4599), abs=5e-5)
    assert pairs == 10


def test_pairs_go_by_seed_and_not_by_order():
    above, below = dict(enumerate(DRUG_2)), dict(enumerate(DRUG_1))
    assert stats.paired_gain(dict(reversed(above.items())), below) == stats.paired_gain(above, below)


def test_a_seed_that_one_side_lacks_is_left_out():
    mean, _, _, pairs = stats.paired_gain({0: 3.0, 1: 5.0, 7: 100.0}, {0: 1.0, 1: 1.0, 8: -100.0})
    assert (mean, pairs) == (3.0, 2)


def test_no_pair_and_one_pair_have_no_interval():
    assert stats.paired_gain({0: 1.0}, {1: 1.0})[3] == 0
    mean, low, high, _ = stats.paired_gain({0: 3.0}, {0: 1.0})
    assert mean == 2.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_mean_and_sample_deviation_by_hand():
    assert stats.mean_sd([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3.0, math.sqrt(14 / 3)))
    assert math.isnan(stats.mean_sd([1.0])[1])


def test_the_interval_covers_what_it_says_at_five_values():
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    inside = [low < 0 < high for low, high in map(stats.t_interval, draws)]
    assert np.mean(inside) == pytest.approx(0.949, abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.2, "helps"), (-0.2, -0.1, "hurts"), (-0.1, 0.1, "not resolved"), (0.0, 0.1, "not resolved")],
)
def test_verdict(low, high, word):
    assert stats.verdict(low, high) == word
    assert stats.verdict(math.nan, math.nan) == ""
