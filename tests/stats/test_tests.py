import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import scipy

from harness import stats
from tests.kit.textbook import SLEEP, binomial, verdicts

# Darwin (1876), heights of crossed less self-fertilised maize, eighths of an inch (Fisher 1935, §17).
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_mean_and_sample_deviation_by_hand():
    assert stats.mean_sd([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3.0, math.sqrt(14 / 3)))
    assert math.isnan(stats.mean_sd([1.0])[1])


def test_the_interval_covers_what_it_says_at_five_values():
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    inside = [low < 0 < high for low, high in map(stats.t_interval, draws)]
    assert np.mean(inside) == pytest.approx(0.949, abs=0.01)


# Intervals and tests
def test_paired_t_on_the_sleep_data():
    assert stats.paired_t(SLEEP) == pytest.approx((1.58, 0.7001, 2.4599, 0.002833), abs=5e-5)
    assert stats.paired_t(SLEEP)[3] == pytest.approx(0.002833, abs=5e-7)


def test_paired_t_on_darwins_maize():
    mean, low, high, p = stats.paired_t(MAIZE)
    assert p == pytest.approx(0.0497, abs=5e-5)
    assert low > 0
    assert scipy.stats.t.isf(p / 2, 14) == pytest.approx(2.148, abs=5e-4)
    assert (mean, (high - low) / 2) == pytest.approx((20.933, 20.902), abs=5e-3)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_t_tests_agree_with_scipys(level):
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 3, 7), rng.normal(0, 0.5, 4)
    one, two = scipy.stats.ttest_1samp(a, 0), scipy.stats.ttest_ind(a, b, equal_var=False)
    assert stats.paired_t(a, level) == pytest.approx((a.mean(), *one.confidence_interval(level), one.pvalue))
    assert stats.welch_t(a, b, level) == pytest.approx(
        (a.mean() - b.mean(), *two.confidence_interval(level), two.pvalue)
    )


def test_welch_by_hand():
    # Variances 1 and 4 of three each: s.e. sqrt(5/3), (5/3)²/((1/3)²/2 + (4/3)²/2) = 50/17 degrees of freedom.
    gain, low, high, _ = stats.welch_t([5, 6, 7], [1, 3, 5])
    assert gain == 3
    assert (high - low) / 2 == pytest.approx(scipy.stats.t.isf(0.025, 50 / 17) * math.sqrt(5 / 3))


def test_differences_without_spread_earn_no_more_than_the_sign_flips_p():
    assert stats.paired_t([0.25] * 5) == pytest.approx((0.25, math.nan, math.nan, 2 / 32), nan_ok=True)
    assert stats.paired_t([95.2 - 95.1, 0.4 - 0.3])[3] == 0.5  # 0.1 twice, but for rounding
    assert stats.paired_t([0.0] * 5)[3] == 1
    assert stats.welch_t([3, 3], [1, 1]) == pytest.approx((2, math.nan, math.nan, math.nan), nan_ok=True)
    assert stats.welch_t([3, 3, 3], [1, 2, 3])[3] == pytest.approx(scipy.stats.ttest_1samp([1, 2, 3], 3).pvalue)


@pytest.mark.parametrize(
    "x",
    [
        [0.1, 0.1, 0.1, 0.1, 0.1000001],
        [0.5, 0.5, 0.5, 0.5, 0.51],  # one test image of 10,000
        [0.5, 0.51, 0.5, 0.5, 0.51],
        [90.51 - 90.01, 88.5 - 88.0, 91.5 - 91.0, 90.0 - 89.5, 91.0 - 90.49],
        [35.0, 35.001, 35.002, 35.003, 34.999],
        [0.25, 0.5],
    ],
)
def test_differences_that_vary_by_what_they_are_counted_in_have_no_t_test(x):
    """Their t is 50 and more, their t-test's p as little as 1e-25; the data can bear what their signs do."""
    assert stats.flat(x)
    mean, low, high, p = stats.paired_t(x)
    assert p == stats.attainable_p(len(x))
    assert mean == pytest.approx(np.mean(x))
    assert math.isnan(low)
    assert math.isnan(high)
    (row,) = stats.compare([x])
    assert (row.verdict, row.p) == ("not resolved", p)
    assert scipy.stats.ttest_1samp(x, 0).pvalue < 0.05 or len(x) == 2
    if len(x) == 5:
        assert verdicts([x], 1, looks=(5,)) == ["not resolved"]
        assert verdicts([x * 2], 1, looks=(10,)) == ["helps"]  # 2/2¹⁰


@pytest.mark.parametrize(
    "x",
    [
        [0.5, 0.52, 0.5, 0.49, 0.51],  # s.d. 1.1 images
        [2.43, 2.48, 2.48],  # two equal by chance, on a grid of 0.01
        [35.1, 34.8, 35.2, 35.0, 34.7],  # 35 points, s.d. 0.2
        [1.0, -2.0, 0.5],
        [0.0123, 0.0456, 0.0111],
    ],
)
def test_differences_that_vary_by_more_have_one(x):
    assert not stats.flat(x)
    theirs = scipy.stats.ttest_1samp(x, 0)
    assert stats.paired_t(x)[1:] == pytest.approx((*theirs.confidence_interval(), theirs.pvalue))


def test_arms_that_hardly_vary_beside_their_gain_have_no_t_test():
    assert np.isnan(stats.welch_t([90.0, 90.0, 90.01], [85.0, 85.0, 85.0])[1:]).all()
    steady = [98.52, 98.55, 98.50]  # an s.d. far below a thousandth of 98.5, and beside a gain of 2.5 large enough
    assert stats.welch_t(steady, [96.0, 96.1, 96.05])[3] < 1e-4


def test_too_few_values_have_no_interval_and_no_p():
    for few in ([], [1.0], [1.0, math.nan]):
        assert np.isnan(stats.paired_t(few)[1:]).all()
        assert np.isnan(stats.welch_t(few, [1.0, 2.0])[1:]).all()
    assert stats.paired_t([1.5])[0] == 1.5
    assert math.isnan(stats.paired_t([])[0])


def test_correlation_of_the_arms():
    assert stats.pair_correlation([1, 2, 3], [5, 7, 9]) == pytest.approx(1)
    assert stats.pair_correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert stats.pair_correlation([0, 1, 2], [3, 1, 2]) == pytest.approx(-0.5)
    assert math.isnan(stats.pair_correlation([1, 2], [1, 2]))
    assert math.isnan(stats.pair_correlation([1, 2, 3], [5, 5, 5]))


def test_intervals_cover_what_they_say_at_five_seeds():
    rng, n = np.random.default_rng(2), 4000
    paired = [stats.paired_t(x)[1:3] for x in rng.normal(size=(n, 5))]
    welch = [stats.welch_t(a, b)[1:3] for a, b in zip(rng.normal(0, 3, (n, 5)), rng.normal(0, 3, (n, 5)), strict=True)]
    assert np.mean([low < 0 < high for low, high in paired]) == pytest.approx(0.95, abs=binomial(0.95, n))
    assert np.mean([low < 0 < high for low, high in welch]) == pytest.approx(0.955, abs=binomial(0.955, n) + 0.005)


# Sign flips
def flips(x, far):
    """The share of all sign flips for which `far` holds, one by one, in whole numbers."""
    sums = [sum(s * v for s, v in zip(signs, x, strict=True)) for signs in product((1, -1), repeat=len(x))]
    return sum(map(far, sums)) / len(sums)


def test_sign_flip_on_darwins_maize():
    assert stats.sign_flip(MAIZE, "greater") == 863 / 32768
    assert stats.sign_flip(MAIZE) == 2 * 863 / 32768 == pytest.approx(0.05267, abs=5e-6)
    assert stats.sign_flip(np.divide(MAIZE, 8)) == stats.sign_flip(MAIZE)


@pytest.mark.parametrize(
    "x",
    [[3], [0], [1, -1], [2, 1, 0], [0, 0, 0], [1, 1, 1, -1, 2], [5, -3, 0, 2, 2, 8, -1], [-4, -4, -4, 1, 0, 0, 0, 3]],
)
def test_sign_flip_counts_ties_and_zeros_as_enumeration_does(x):
    total = sum(x)
    for scale in (1, 0.1):  # 0.1 is not a binary fraction: equal sums differ by rounding
        y = np.multiply(x, scale)
        assert stats.sign_flip(y) == flips(x, lambda s: abs(s) >= abs(total))
        assert stats.sign_flip(y, "greater") == flips(x, lambda s: s >= total)
        assert stats.sign_flip(y, "less") == flips(x, lambda s: s <= total)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_sign_flip_agrees_with_scipys_permutation_test(alternative):
    x = np.random.default_rng(3).normal(0.3, 1, 11)
    theirs = scipy.stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=math.inf, alternative=alternative
    )
    assert stats.sign_flip(x, alternative) == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 6, 8, 20, 25])
def test_the_least_p_is_attained_by_equal_signs(n):
    x = np.random.default_rng(4).uniform(1, 2, n)
    assert stats.sign_flip(x) == stats.sign_flip(-x) == stats.attainable_p(n) == 2 / 2**n
    assert stats.sign_flip(x, "greater") == 1 / 2**n
    assert stats.sign_flip(-x, "greater") == 1
    assert stats.sign_flip([0.0, *x]) == stats.attainable_p(n)  # a zero doubles what n + 1 could attain


def test_seeds_that_holm_needs_over_so_many_rows():
    least = {m: next(n for n in range(2, 20) if stats.attainable_p(n) <= 0.05 / m) for m in range(1, 13)}
    assert least == {1: 6, 2: 7, 3: 7, 4: 8, 5: 8, 6: 8, 7: 9, 8: 9, 9: 9, 10: 9, 11: 9, 12: 9}


def test_sign_flip_of_none_and_of_too_many():
    assert math.isnan(stats.sign_flip([]))
    assert math.isnan(stats.sign_flip([1.0, math.nan]))
    assert math.isnan(stats.sign_flip([1.0, math.inf]))


def sums(x):
    """How many of the 2ⁿ flips of whole numbers lie as far from 0 as their sum, in whole numbers, by their generating
    function: a number whose digits count."""
    wide, counts = len(x) + 2, 1
    for value in map(int, x):
        counts += counts << wide * abs(value)
    flipped = (int(np.abs(x).sum()) - abs(int(np.sum(x)))) // 2
    counts &= (1 << wide * (flipped + 1)) - 1
    below = sum(counts >> wide * i & (1 << wide) - 1 for i in range(flipped + 1))
    return min(1.0, float(Fraction(2 * below, 2 ** len(x))))


@pytest.mark.parametrize("n", [33, 40, 41, 100, 300])
def test_sign_flips_that_are_too_many_to_count_are_near_the_exact_p(n):
    """Wide sums, sums of few steps, and sizes of 1 and 2 with which ties are many."""
    rng = np.random.default_rng(n)
    for effect in np.linspace(0, 1.2, 5):
        wide, coarse = np.rint(20 * rng.normal(effect, 1, n)), np.rint(rng.normal(effect, 1, n))
        two = rng.choice([1, 1, 1, 2], n) * np.where(rng.random(n) < 0.5 + effect / 4, 1, -1)
        for x in (wide, coarse, two):
            true, ours = sums(x), stats.sign_flip(x * 0.01)
            assert ours == pytest.approx(true, rel=0.01 if true > 1e-6 else 0.2)
            assert stats.sign_flip(-x) == pytest.approx(ours)


@pytest.mark.parametrize("n", [41, 1000, 10_000])
def test_equal_sizes_are_a_binomial_and_no_number_of_them_is_too_many(n):
    for up in (n // 2, n // 2 + 1 + n // 50, n - 1):
        x = np.full(n, 0.01)
        x[up:] = -0.01
        true = scipy.stats.binomtest(up, n).pvalue
        assert stats.sign_flip([*x, 0.0]) == pytest.approx(true, rel=1e-9, abs=1e-300)
    assert stats.sign_flip(np.full(n, 0.3)) == stats.attainable_p(n) == max(2.0 * 0.5**n, math.ulp(0))


def test_sign_flip_keeps_its_level_on_differences_that_are_not_normal():
    x = np.random.default_rng(5).laplace(size=(4000, 8)).round(1)  # ties and zeros
    assert np.mean([stats.sign_flip(row) <= 0.05 for row in x]) <= 0.05 + binomial(0.05, 4000)


def test_order_of_seeds_changes_nothing():
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 9))
    order = rng.permutation(9)
    for f in (stats.paired_t, stats.sign_flip, stats.outperformance):
        assert f((a - b)[order]) == pytest.approx(f(a - b))
    for f in (stats.welch_t, stats.pair_correlation):
        assert f(a[order], b[order]) == pytest.approx(f(a, b))


# Holm
def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.9]) == pytest.approx([1, 1])
    assert stats.holm([]).size == 0


def test_nan_stays_nan_and_does_not_count():
    nan = math.nan
    assert stats.holm([nan, 0.01, 0.04, nan, 0.03, 0.005]) == pytest.approx(
        [nan, 0.03, 0.06, nan, 0.06, 0.02], nan_ok=True
    )
    assert np.isnan(stats.holm([nan, nan])).all()


def test_holm_is_monotone_equivariant_and_rejects_as_the_steps_do():
    rng = np.random.default_rng(7)
    for _ in range(200):
        p = rng.uniform(0, 0.2, 6).round(2)
        adjusted, order = stats.holm(p), rng.permutation(6)
        assert stats.holm(p[order]) == pytest.approx(adjusted[order])
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
        assert (adjusted >= p).all()
        assert (adjusted <= np.minimum(1, 6 * p)).all()
        alpha = rng.uniform(0.02, 0.5)  # the step-down as Holm states it
        step = 0
        for rank, i in enumerate(np.argsort(p)):
            if p[i] > alpha / (6 - rank):
                break
            step += 1
        assert np.count_nonzero(adjusted <= alpha) == step
