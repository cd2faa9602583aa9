"""Against textbook data, hand arithmetic, enumeration, scipy, and simulation.

Simulations have fixed seeds; `binomial` is how far a share of so many draws may lie from its chance: four s.d.
"""

import math
from collections import Counter
from fractions import Fraction
from itertools import chain, combinations, permutations, product

import numpy as np
import pytest
import scipy

from harness import stats
from harness.stats.looks import _levels
from tests.kit import simulations

# Student (1908), hours of extra sleep under two drugs: mean difference 1.58, 95 % interval [0.7001, 2.4599].
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SLEEP = np.subtract(DRUG_2, DRUG_1)

# Darwin (1876), heights of crossed less self-fertilised maize, eighths of an inch (Fisher 1935, §17).
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def binomial(chance, draws):
    return 4 * math.sqrt(chance * (1 - chance) / draws)


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


# Proportions


def test_wilson():
    assert stats.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert stats.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert np.isnan(stats.wilson(0, 0)).all()
    for k, n, level in ((0, 5, 0.95), (5, 5, 0.95), (3, 7, 0.9), (9400, 10000, 0.99)):
        theirs = scipy.stats.binomtest(k, n).proportion_ci(level, "wilson")
        assert stats.wilson(k, n, level) == pytest.approx(tuple(theirs), abs=1e-12)


def test_the_noise_of_a_test_set():
    assert 100 * stats.binomial_se(0.94, 10_000) == pytest.approx(0.24, abs=0.005)


def test_outperformance_counts_ties_half():
    share, low, high = stats.outperformance([1.0, 2.0, -1.0, 0.0])
    assert (share, (low, high)) == (0.625, stats.wilson(2.5, 4))
    assert stats.outperformance(-SLEEP)[0] == pytest.approx(0.05)  # nine longer, one the same
    assert stats.outperformance([1, 1, 1, 1, 1, 1, 1, 1, -1, -1])[1:] == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert np.isnan(stats.outperformance([])).all()


def test_mcnemar():
    assert stats.mcnemar(1, 9) == stats.mcnemar(9, 1) == pytest.approx(0.02148, abs=5e-6)
    assert stats.mcnemar(150, 86) == pytest.approx(3.72e-5, abs=5e-8)
    assert stats.mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert stats.mcnemar(3, 3) == stats.mcnemar(0, 0) == 1


def test_discordant_examples():
    above = [True, True, True, False, False, True]
    below = [True, False, False, True, False, False]
    assert stats.discordant(above, below) == (3, 1)
    assert stats.discordant(below, above) == (1, 3)


# Power


def test_seeds_for_a_power():
    assert stats.seeds_needed(0.5, 1) == 34
    assert stats.seeds_needed(0.5, 1, paired=False) == 64
    apart = 0.15 * math.sqrt(2)  # of differences, where arms of s.d. 0.15 do not correlate
    assert [stats.seeds_needed(effect, apart) for effect in (0.1, 0.2, 0.3, 0.5)] == [38, 11, 7, 4]
    assert stats.seeds_needed(-0.5, 1) == 34
    assert stats.seeds_needed(100, 1) == 2
    with pytest.raises(ValueError, match="effect of 0"):
        stats.seeds_needed(0, 1)


def test_the_seeds_needed_are_the_least():
    for effect, goal, paired in ((0.5, 0.8, True), (0.7, 0.9, False), (1.5, 0.8, True)):
        n = stats.seeds_needed(effect, 1, goal, paired)
        assert stats.power(effect, 1, n, paired) >= goal > stats.power(effect, 1, n - 1, paired)


def test_power_without_an_effect_is_alpha_and_grows_to_one():
    for paired in (True, False):
        assert stats.power(0, 2, 5, paired, 0.01) == pytest.approx(0.01)
        curve = [stats.power(effect, 1, 5, paired, 0.01) for effect in np.linspace(0, 30, 61)]
        assert (np.diff(curve) >= -1e-9).all()
        assert curve[-1] == pytest.approx(1)
    assert math.isnan(stats.power(1, 1, 1))


def test_power_by_simulation():
    rng, n = np.random.default_rng(8), 20_000
    hits = scipy.stats.ttest_1samp(rng.normal(0.6, 0.5, (n, 5)), 0, axis=1).pvalue < 0.05
    assert stats.power(0.6, 0.5, 5) == pytest.approx(hits.mean(), abs=binomial(hits.mean(), n))
    hits = scipy.stats.ttest_ind(rng.normal(0.6, 0.5, (n, 5)), rng.normal(0, 0.5, (n, 5)), axis=1).pvalue < 0.05
    assert stats.power(0.6, 0.5, 5, paired=False) == pytest.approx(hits.mean(), abs=binomial(hits.mean(), n))


def test_the_detectable_effect_is_detected_with_that_power():
    for n, paired, alpha in ((5, True, 0.05), (5, False, 0.05), (3, True, 0.05 / 9), (2, True, 0.05)):
        effect = stats.detectable(0.4, n, 0.8, paired, alpha)
        assert stats.power(effect, 0.4, n, paired, alpha) == pytest.approx(0.8)
    assert stats.detectable(1, 34) < 0.5 < stats.detectable(1, 33)
    assert math.isnan(stats.detectable(1, 1))


# A table's rows


def test_rows_of_a_table():
    nothing = [0.3, -0.2, 0.1, -0.4, 0.25]
    rows = {"drug": (DRUG_2, DRUG_1), "harm": -np.asarray(SLEEP), "nothing": nothing, "one": [1.0], "same": [0.0] * 5}
    table = dict(zip(rows, stats.compare(rows.values()), strict=True))
    assert [row.verdict.split(" (")[0] for row in table.values()] == [
        "helps",
        "hurts",
        "not resolved",
        "",
        "not resolved",
    ]
    drug = table["drug"]
    assert (drug.gain, drug.low, drug.high, drug.p) == pytest.approx((1.58, 0.7001, 2.4599, 0.002833), abs=5e-5)
    assert drug.adjusted == pytest.approx(4 * drug.p)  # four of the five have a p
    assert drug.rho == pytest.approx(np.corrcoef(DRUG_1, DRUG_2)[0, 1])
    assert (drug.n, drug.attainable) == (10, 2 / 1024)
    assert math.isnan(table["harm"].rho)
    mde = table["nothing"].mde
    assert stats.power(mde, np.std(nothing, ddof=1), 5, alpha=0.05 / 4) == pytest.approx(0.8)
    assert table["nothing"].verdict == f"not resolved (MDE {mde:.2f})"
    assert table["same"].verdict == "not resolved"
    assert np.isnan([table["one"].p, table["one"].adjusted, table["one"].mde]).all()
    assert table["one"].gain == 1


def test_level_goal_and_alpha_of_a_table_are_the_callers():
    (row,) = stats.compare([SLEEP], level=0.8, alpha=0.002, goal=0.9)
    assert (row.low, row.high) == pytest.approx(stats.t_interval(SLEEP, 0.8))
    assert stats.power(row.mde, np.std(SLEEP, ddof=1), 10, alpha=0.002) == pytest.approx(0.9)
    assert row.verdict.startswith("not resolved")  # at p = 0.0028


def test_rows_by_sign_flip_say_where_no_effect_could_be_resolved():
    up = [1.0, 1.1, 0.9, 1.2, 1.05]
    (row,) = stats.compare([up], test="sign-flip")
    assert (row.p, row.mde, row.verdict) == (2 / 32, math.inf, "not resolved (MDE inf)")
    (row,) = stats.compare([[*up, 1.0]], test="sign-flip")
    assert (row.p, row.verdict) == (2 / 64, "helps")
    rows = stats.compare([[*up, 1.0]] * 2, test="sign-flip")
    assert [r.verdict for r in rows] == ["not resolved (MDE inf)"] * 2
    assert [r.verdict for r in stats.compare([[*up, 1.0]] * 2)] == ["helps"] * 2
    assert stats.compare([]) == []


def users(n):
    """Rows of n differences as users' runs have them, by name."""
    rng = np.random.default_rng(n)
    rows = {name: rng.normal(0.3, 1, n) for name in ("noise", "nan", "inf", "both", "diverged")}
    rows |= {"constant": np.full(n, 0.25), "zero": np.zeros(n), "counts": np.rint(rows["noise"] * 4) / 4}
    rows |= {"few": np.rint(rng.random(n) * 0.6) * 0.25, "jitter": 0.1 + 1e-9 * rng.normal(size=n)}
    rows |= {"digit": np.full(n, 0.1), "image": np.full(n, 0.5)}
    for name, at, value in (("nan", -1, math.nan), ("inf", 0, math.inf), ("both", -1, -math.inf)):
        rows[name][at] = value
    rows["both"][0], rows["diverged"][0] = math.inf if n > 1 else -math.inf, -80
    rows["digit"][-1], rows["image"][-1] = 0.1000001, 0.51
    return rows


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 16, 32, 33, 41, 64, 333, 1000, 1024, 1074, 1075, 3000, 10_000])
def test_whatever_a_user_has_there_is_a_table_and_no_verdict_from_a_width_of_zero(n):
    rows, base = users(n), 90 + np.random.default_rng(1).normal(size=n)
    bent = ("nan", "inf", "both")
    for test, given in product(("t", "sign-flip"), (rows.values(), [(base + x, base) for x in rows.values()])):
        for name, row in zip(rows, stats.compare(given, test=test), strict=True):
            assert math.isnan(row.p) == (name in bent or n == 1)
            assert row.low < row.high or math.isnan(row.low)
            if name in ("constant", "digit", "image", "jitter"):
                assert math.isnan(row.low)
                assert (row.verdict == "helps") == (9 * row.attainable <= 0.05)  # nine rows have a p
                assert n == 1 or row.p == row.attainable
    for row in stats.decide(rows.values(), 0.3, sorted({2, max(2, n // 2), max(2, n)})):
        assert row.low < row.high or math.isnan(row.low)
    for x in rows.values():
        for f in (stats.mean_sd, stats.t_interval, stats.outperformance):
            f(x)
        stats.welch_t(base, base + x)
        stats.pair_correlation(base, base + x)
        stats.shapley(np.tile(x[:, None], 4))
        stats.factorial_effects(stats.fraction(2), np.tile(x, (4, 1)))
        stats.sampled_shapley([[0, 1], [1, 0]], np.resize(x, (2, 3)))
        stats.holm(x)
    for effect, rows_there in product((0, 0.1, 100, math.inf, math.nan), (1, 1000)):
        stats.power(effect, 1, n, paired=rows_there > 1, alpha=0.05 / rows_there)
        assert math.isnan(stats.detectable(1.5, n, alpha=0.05 / rows_there)) == (n < 2)
    for share in (0.0, 0.5, 1.0):
        right = np.random.default_rng(2).random((2, min(n, 30), 40)) < share
        for above, below in (right, right[..., :1]):
            stats.gain_errors(above, below)
            stats.distribution_sd(above)


def test_adjusted_verdict():
    assert stats.adjusted_verdict(0.3, 0.05, 0.42) == "helps"
    assert stats.adjusted_verdict(-0.3, 0.05, 0.42) == "hurts"
    assert stats.adjusted_verdict(0.3, 0.051, 0.4211) == "not resolved (MDE 0.42)"
    assert stats.adjusted_verdict(0.3, 0.04, 0.42, alpha=0.01) == "not resolved (MDE 0.42)"
    assert stats.adjusted_verdict(0.3, math.nan, 0.42) == ""


def test_nine_rows_of_nothing_rarely_say_anything():
    # Nine gains along a ladder of ten equal rungs: neighbours share a rung, so the rows are not independent.
    studies = 2000
    rungs = np.random.default_rng(9).normal(94, 0.5, (studies, 10, 5))
    tables = [stats.compare(np.diff(study, axis=0)) for study in rungs]
    said = [any(row.verdict in ("helps", "hurts") for row in table) for table in tables]
    single = [table[0].p <= 0.05 for table in tables]
    raw = [any(row.p <= 0.05 for row in table) for table in tables]
    assert np.mean(said) <= 0.05 + binomial(0.05, studies)
    assert np.mean(said) > 0.03  # nor is it asleep
    assert np.mean(single) == pytest.approx(0.05, abs=binomial(0.05, studies))
    assert np.mean(raw) > 0.25  # what Holm is for


# Seeds and examples


def crossed(rng, runs, examples, skill=0.02, trick=0.3):
    """Correctness of two arms on the same examples; true gain 0 on endless data, s.d. over seeds skill/sqrt(3).

    A run's skill is uniform in ± skill; half of all examples are coin flips, the others are right four times in five;
    the trick moves each example's chance by ± trick, so that it gains on one test set and loses on the next.
    """
    chance = rng.choice([0.5, 0.8], examples)
    shift = rng.choice([-trick, trick], examples)
    arms = [
        rng.random((runs, examples)) < chance + s * shift / 2 + rng.uniform(-skill, skill, (runs, 1)) for s in (1, -1)
    ]
    return *arms, shift.mean()  # what the trick gains on these very examples, over endless seeds


@pytest.mark.parametrize("paired", [True, False])
def test_two_targets_two_standard_errors_and_both_cover(paired):
    rng, n = np.random.default_rng(10), 3000
    here, new, here_of_new, variances, gains = [], [], [], [], []
    for _ in range(n):
        above, below, true_here = crossed(rng, 5, 150)
        gain, se, df, se_new, df_new = stats.gain_errors(above, below if paired else below[:4], paired)
        low, high, _ = stats.t_test(gain, se, df)
        here.append(low < true_here < high)
        here_of_new.append(low < 0 < high)
        low, high, _ = stats.t_test(gain, se_new, df_new)
        new.append(low < 0 < high)
        variances.append((se**2, se_new**2))
        gains.append((gain, gain - true_here))
    assert np.mean(here) == pytest.approx(0.95, abs=binomial(0.95, n) + 0.005)
    assert np.mean(new) == pytest.approx(0.955, abs=binomial(0.955, n) + 0.005)
    assert np.mean(here_of_new) < 0.92  # variation over seeds alone does not speak of new data
    total, seeds = np.var(gains, axis=0)
    assert np.mean(variances, axis=0) == pytest.approx((seeds, total), rel=4 * math.sqrt(2 / n))


def test_gain_errors_by_hand():
    # D = [[1, 0, 1], [0, 0, 1]]: run means 2/3, 1/3; example means 1/2, 0, 1.
    # Seeds: (1/18)/2 = 1/36. Residuals ± 1/6 · (2, -1, -1): mean square 2 · 6/36 / (1 · 2) = 1/6.
    # Examples: (1/4 - (1/6)/2)/3 = 1/18.
    above, below = [[1, 0, 1], [0, 0, 1]], np.zeros((2, 3), bool)
    for arms in ((above, below), (above,)):
        gain, se, df, se_new, df_new = stats.gain_errors(*arms)
        assert (gain, se**2, df) == pytest.approx((1 / 2, 1 / 36, 1))
        assert (se_new**2, df_new) == pytest.approx((1 / 12, (1 / 12) ** 2 / (1 / 36**2 + 1 / 18**2 / 2)))


def test_the_first_standard_error_is_that_of_the_runs_accuracies():
    above, below, _ = crossed(np.random.default_rng(11), 6, 50)
    a, b = above.mean(1), below.mean(1)
    gain, se, df, se_new, _ = stats.gain_errors(above, below)
    assert (*stats.t_test(gain, se, df),) == pytest.approx(stats.paired_t(a - b)[1:])
    assert se_new >= se
    gain, se, df, _, _ = stats.gain_errors(above, below, paired=False)
    assert (gain, *stats.t_test(gain, se, df)) == pytest.approx(stats.welch_t(a, b))


def test_no_variation_and_one_run():
    ones = np.ones((3, 4), bool)
    assert stats.gain_errors([[1, 0], [0, 1]])[::3] == (0.5, 0)  # σ̂²_e is below 0 there
    assert stats.gain_errors(ones, ones)[:2] == (0, 0)
    assert math.isnan(stats.gain_errors(ones, ones)[2])
    assert np.isnan(stats.gain_errors(ones[:1], ones[:1])[1:]).all()
    assert stats.distribution_sd(ones) == 0
    assert math.isnan(stats.distribution_sd(ones[:1]))


def test_variance_over_seeds_on_endless_data_is_estimated_without_bias():
    rng, n = np.random.default_rng(12), 3000
    found = np.array([stats.distribution_variance(crossed(rng, 5, 80, skill=0.06, trick=0)[0]) for _ in range(n)])
    assert (found < 0).any()  # which cutting at 0 would bias
    assert found.mean() == pytest.approx(0.06**2 / 3, abs=4 * found.std() / math.sqrt(n))
    assert found.mean() > 5 * found.std() / math.sqrt(n)  # the test can tell it from 0


def test_distribution_variance_is_the_mean_covariance_between_examples():
    c = crossed(np.random.default_rng(13), 7, 12, skill=0.15)[0]
    covariance = np.cov(c.T)
    apart = covariance[~np.eye(12, dtype=bool)].mean()
    assert stats.distribution_variance(c) == pytest.approx(apart)
    assert stats.distribution_sd(c) == pytest.approx(math.sqrt(max(0, apart)))


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


# Factorials


def test_effects_by_hand():
    # Two factors: y = 10, 14, 11, 21 at --, +-, -+, ++.
    design = stats.fraction(2)
    assert design.tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    effects = stats.factorial_effects(design, [10, 14, 11, 21])
    assert effects == {"A": 7, "B": 4, "AB": 3}
    seeds = stats.factorial_effects(design, [[10, 1], [14, 1], [11, 1], [21, 2]])
    assert seeds["AB"] == pytest.approx([3, 0.5])


def test_effects_are_found_again():
    # Turning A on gains 3, turning C on -2, both together 1.5 more than their sum: an interaction of 0.75.
    x = (stats.fraction(4) + 1) / 2
    y = 90 + 3 * x[:, 0] - 2 * x[:, 2] + 1.5 * x[:, 0] * x[:, 2]
    effects = stats.factorial_effects(stats.fraction(4), y, order=4)
    assert len(effects) == 15
    assert effects.pop("A") == pytest.approx(3.75)
    assert effects.pop("C") == pytest.approx(-1.25)
    assert effects.pop("AC") == pytest.approx(0.75)
    assert list(effects.values()) == pytest.approx([0] * 12)


def test_seven_tricks_in_eight_runs_are_four_times_cheaper_than_a_ladder():
    design = stats.fraction(7, stats.GENERATORS[7, 4])
    weights = stats.factorial_effects(design, np.eye(8), order=1)
    assert design.shape == (8, 7)
    assert [float((w**2).sum()) for w in weights.values()] == pytest.approx([0.5] * 7)  # a ladder's gain: 1 + 1


@pytest.mark.parametrize("bad", [[[1, 1], [1, -1]], [[1, 0], [-1, 0]], [[1, 1], [-1, -1]], [[2], [-2], *[[0]] * 6]])
def test_a_design_that_is_not_orthogonal_is_refused(bad):
    with pytest.raises(ValueError, match="orthogonal"):
        stats.factorial_effects(bad, [1, 2])


@pytest.mark.parametrize(
    ("k", "p", "length"),
    [
        *((3, 1, 3), (4, 1, 4), (5, 1, 5), (5, 2, 3), (6, 1, 6), (6, 2, 4), (6, 3, 3), (7, 1, 7), (7, 2, 4), (7, 3, 4)),
        *(
            (7, 4, 3),
            (8, 2, 5),
            (8, 3, 4),
            (8, 4, 4),
            (9, 3, 4),
            (9, 4, 4),
            (9, 5, 3),
            (10, 4, 4),
            (10, 5, 4),
            (10, 6, 3),
        ),
    ],
)
def test_fractions_have_the_resolution_that_tables_print(k, p, length):
    generators = stats.GENERATORS[k, p]
    design = stats.fraction(k, generators)
    relation = stats.defining_relation(k, generators)
    assert design.shape == (2 ** (k - p), k)
    assert len({tuple(run) for run in design.tolist()}) == 2 ** (k - p)
    assert (design.T @ design == np.eye(k) * len(design)).all()
    assert stats.resolution(k, generators) == length
    # The words, from the design itself: the products of columns that never change.
    same = [w for w in stats.words(k, k) if (np.prod([design[:, "ABCDEFGHJK".index(c)] for c in w], axis=0) == 1).all()]
    assert sorted(same) == sorted(relation)
    assert len(relation) == 2**p - 1


@pytest.mark.parametrize(("k", "p"), [key for key in stats.GENERATORS if 2 ** (key[0] - key[1]) <= 16 or key[0] < 8])
def test_no_other_fraction_has_fewer_short_words(k, p):
    def lengths(generators):
        relation = stats.defining_relation(k, generators)
        return [sum(len(w) == size for w in relation) for size in range(1, k + 1)]

    base = [w for w in stats.words(k - p, k - p) if len(w) > 1]
    assert lengths(stats.GENERATORS[k, p]) == min(map(lengths, combinations(base, p)))


@pytest.mark.parametrize(
    ("k", "p", "lengths"),
    [
        (8, 2, {5: 2, 6: 1}),
        (8, 3, {4: 3, 5: 4}),
        (9, 3, {4: 1, 5: 4, 6: 2}),
        (9, 4, {4: 6, 5: 8, 8: 1}),
        (10, 4, {4: 2, 5: 8, 6: 4, 8: 1}),
        (10, 5, {4: 10, 5: 16, 8: 5}),
    ],
)
def test_word_lengths_that_an_exhaustive_search_found_least(k, p, lengths):
    assert Counter(map(len, stats.defining_relation(k, stats.GENERATORS[k, p]))) == lengths


def test_aliases():
    assert stats.resolution(4, ()) == 5
    assert stats.defining_relation(7, ("ABC", "BCD", "ACD")) == ("ABCE", "ABFG", "ACDG", "ADEF", "BCDF", "BDEG", "CEFG")
    groups = stats.aliases(4, ("ABC",))
    assert groups == [("A",), ("B",), ("C",), ("D",), ("AB", "CD"), ("AC", "BD"), ("AD", "BC")]
    assert stats.aliases(3, ("AB",)) == [("A", "BC"), ("B", "AC"), ("C", "AB")]
    assert ("AB",) in stats.aliases(5, ("ABCD",))


def test_aliased_effects_are_one_number_and_others_are_not():
    k, generators = 7, stats.GENERATORS[7, 3]
    design = stats.fraction(k, generators)
    y = np.random.default_rng(17).normal(size=len(design))
    effects = {word: float(effect) for word, effect in stats.factorial_effects(design, y).items()}
    groups = stats.aliases(k, generators)
    assert sorted(chain.from_iterable(groups)) == sorted(effects)
    for group in groups:
        assert [effects[w] for w in group] == pytest.approx([effects[group[0]]] * len(group))
    assert len({round(effects[group[0]], 9) for group in groups}) == len(groups)
    assert "ABC" not in stats.factorial_effects(stats.fraction(3, ("AB",)), np.zeros(4), order=3)


# Looks


def test_bounds_that_papers_print():
    for looks, z in ((2, 2.178), (5, 2.413)):
        bounds, p = stats.sequential_bounds(range(1, looks + 1))
        assert bounds == pytest.approx([z] * looks, abs=5e-4)
        assert p == pytest.approx(2 * scipy.stats.norm.sf(bounds))
    assert stats.sequential_bounds((1, 2), "obrien-fleming")[0] == pytest.approx([2.797, 1.977], abs=5e-4)
    five = stats.sequential_bounds((0.2, 0.4, 0.6, 0.8, 1), "obrien-fleming")[0]
    assert five == pytest.approx([2.040 * math.sqrt(5 / k) for k in range(1, 6)], abs=1.2e-3)
    assert five[-1] == pytest.approx(2.040, abs=5e-4)
    assert stats.sequential_bounds((7,))[1] == pytest.approx([0.05])
    assert stats.sequential_bounds((3, 6), alpha=0.01)[0] == pytest.approx([2.772] * 2, abs=5e-4)
    assert stats.crossing((0.5, 1), (math.inf, 1.959964)) == pytest.approx(0.05)  # a look that never stops
    for bad in ((1, 1), (2, 1), (0, 1), (0.9999, 1)):
        with pytest.raises(ValueError, match="looks must rise"):
            stats.sequential_bounds(bad)


@pytest.mark.parametrize("kind", ["pocock", "obrien-fleming"])
def test_unequal_looks_hold_alpha_by_the_multivariate_normal(kind):
    share = np.array([0.1, 0.35, 1])
    z, _ = stats.sequential_bounds(share, kind, 0.1)
    covariance = np.sqrt(np.minimum.outer(share, share) / np.maximum.outer(share, share))
    normal = scipy.stats.multivariate_normal(np.zeros(3), covariance, seed=0, maxpts=200_000, abseps=1e-6)
    assert 1 - normal.cdf(z, lower_limit=-z) == pytest.approx(0.1, abs=1e-5)
    assert stats.crossing(share, z) == pytest.approx(0.1, abs=1e-8)
    assert z * np.sqrt(share if kind == "obrien-fleming" else 1) == pytest.approx([z[-1]] * 3)


def resolved(draws, looks, p):
    """The share of studies whose t-test gets below p at one of the looks."""
    tests = [scipy.stats.ttest_1samp(draws[:, :n], 0, axis=1).pvalue for n in looks]
    return (np.array(tests) <= np.reshape(p, (-1, 1))).any(0).mean()


@pytest.mark.parametrize("kind", ["pocock", "obrien-fleming"])
@pytest.mark.parametrize("looks", [(5, 10), (3, 5, 7, 10)])
def test_planned_looks_keep_alpha_by_t_at_few_seeds(kind, looks):
    draws = np.random.default_rng(18).normal(size=(20_000, 10))
    z, p = stats.sequential_bounds(looks, kind)
    assert 0.045 < resolved(draws, looks, p) < 0.06
    assert resolved(draws, looks, 2 * scipy.stats.t.sf(z, np.subtract(looks, 1))) > 0.1  # t against z


def test_unplanned_looks_do_not():
    draws = np.random.default_rng(19).normal(size=(20_000, 10))
    assert resolved(draws, range(3, 11), [0.05] * 8) == pytest.approx(0.165, abs=binomial(0.165, 20_000) + 0.002)


# Seeds where they are needed


def spread(p, n=4, size=1.0):
    """n differences, an even number, whose t-test has this p: their mean ± size."""
    t = scipy.stats.t.isf(p / 2, n - 1)
    return size * (np.resize([1.0, -1.0], n) + t / math.sqrt(n - 1))  # s.d. sqrt(n/(n - 1))


WILD = np.resize([100.0, -100.0], 100)  # after this nothing is resolved


def verdicts(rows, points=0.0, **options):
    return [row.verdict for row in stats.decide(rows, points, **options)]


@pytest.mark.parametrize("looks", [stats.LOOKS, (4, 8), (2, 3, 4)])
def test_levels_in_proportion_to_seeds_spend_alpha_exactly(looks):
    draws = np.random.default_rng(26).normal(size=(200_000, looks[-1]))
    tests = [scipy.stats.ttest_1samp(draws[:, :n], 0, axis=1).pvalue / n for n in looks]
    least = np.min(tests, axis=0)
    for alpha in (0.2, 0.05, 0.05 / 9):
        levels = _levels(looks, alpha)
        assert np.divide(levels, looks) == pytest.approx([levels[0] / looks[0]] * len(looks))
        spent = np.mean(least <= levels[0] / looks[0])
        assert spent == pytest.approx(alpha, abs=binomial(alpha, len(draws)) + 0.006 * alpha)  # .2 % is the s.e. there


def test_one_row_is_a_group_sequential_test():
    for at, n in enumerate(stats.LOOKS, 1):
        (row,) = stats.decide([[*WILD[: n - 4], *spread(0.5)]], 0)
        assert (row.look, row.n, row.verdict, row.decided) == (at, n, "not resolved", False)
    # One look has .05; looks at four and eight seeds .0180 and .0361.
    for looks, n, level in (((6,), 6, 0.05), ((4, 8), 4, 0.01803), ((4, 8), 8, 0.03606)):
        for p, verdict in ((0.99 * level, "helps"), (1.01 * level, "not resolved")):
            row = np.sort(spread(p, n))[::-1] if n == 8 else spread(p, n)  # equal ones first: p is .125 at four
            assert verdicts([row], looks=looks) == [verdict]
            assert verdicts([-row], looks=looks) == [verdict.replace("helps", "hurts")]


def test_one_row_stops_where_scipys_t_test_first_reaches_its_level():
    rng, looks = np.random.default_rng(20), (3, 5, 9, 14)
    stops = Counter()
    for x in rng.normal(1.2, 1, (200, 14)):
        tests = [scipy.stats.ttest_1samp(x[:n], 0).pvalue for n in looks]
        levels = _levels(looks, 0.05)
        below = [at for at, (test, level) in enumerate(zip(tests, levels, strict=True), 1) if test <= level]
        (row,) = stats.decide([x], 0, looks)
        assert (row.look, row.decided) == ((below[0], True) if below else (4, False))
        assert row.p == pytest.approx(tests[row.look - 1])
        stops[row.look, row.decided] += 1
    assert len(stops) >= 4  # all of it was there to see


def test_each_row_that_is_found_passes_its_alpha_on():
    # At the first look, four of eight seeds: .0058 of three rows, .0088 of two, .0180 of one.
    looks = (4, 8)
    assert verdicts(map(spread, (0.0057, 0.0087, 0.0178)), looks=looks) == ["helps"] * 3
    assert verdicts(map(spread, (0.0057, 0.0089, 0.0178)), looks=looks) == ["helps", *["not resolved"] * 2]
    assert verdicts(map(spread, (0.0059, 0.0087, 0.0178)), looks=looks) == ["not resolved"] * 3
    two = verdicts([spread(0.0057), -spread(0.0087), spread(0.0183)], looks=looks)
    assert two == ["helps", "hurts", "not resolved"]
    assert verdicts([spread(0.0178), []], looks=looks) == ["not resolved", ""]  # a row without a value is one of the m
    assert verdicts([spread(0.0178)], looks=looks) == ["helps"]
    assert verdicts(map(spread, (0.0165, 0.0245, 0.0495)), looks=(4,)) == ["helps"] * 3  # one look: Holm by hand
    assert verdicts(map(spread, (0.0168, 0.0245, 0.0495)), looks=(4,)) == ["not resolved"] * 3


def test_a_row_is_found_by_the_look_it_stands_at_and_by_no_earlier_one():
    looks, late = (4, 8), spread(0.008, 8)
    late = late[np.argsort(-abs(late - late.mean() - 1), kind="stable")]  # the low half first: not resolved at four
    assert stats.decide([late], 0, looks)[0].look == 2
    stands, gone_on = spread(0.015), [*spread(0.015), *WILD[:4]]  # at the first look enough for the last of two rows
    waiting, moved = (stats.decide([late, row], 0, looks) for row in (stands, gone_on))
    assert [(row.verdict, row.look) for row in waiting] == [("helps", 2), ("helps", 1)]
    assert [(row.verdict, row.look) for row in moved] == [("helps", 2), ("not resolved", 2)]


def test_what_is_known_to_within_points():
    # t(.975, 3) = 3.182 of s.d. d · sqrt(4/3) at n = 4: ± 1.83739 d.
    for d, verdict in ((0.163, "known to ± 0.3"), (0.164, "not resolved")):
        assert verdicts([d * WILD[:4] / 100], 0.3) == [verdict]
    (row,) = stats.decide([0.163 * WILD[:4] / 100 + 0.1], 0.3)
    assert (row.gain, row.low, row.high) == pytest.approx((0.1, 0.1 - 0.299494, 0.1 + 0.299494), abs=1e-5)
    assert row.decided
    (row,) = stats.decide([spread(0.04, size=0.01)], 0.3)  # fine enough, but it seems to have a gain
    assert (row.verdict, row.decided) == ("not resolved", False)
    half = scipy.stats.t.isf(0.00613 / 2, 3) * 0.01 * math.sqrt(4 / 3) / 2  # the level of the first of five looks
    assert (row.low, row.high) == pytest.approx((row.gain - half, row.gain + half), rel=1e-3)
    assert verdicts([[0.0] * 16, [0.25] * 16], 0.3) == ["not resolved", "helps"]  # 2/2¹² at the fourth look
    assert verdicts([[0.25] * 8], 0.3) == ["helps"]
    assert verdicts([[0.25] * 7], 0.3) == ["not resolved"]


def test_known_rows_keep_their_share_of_alpha():
    known = 0.01 * WILD[:4] / 100
    assert verdicts([spread(0.015), known], 0.3, looks=(4, 8)) == ["not resolved", "known to ± 0.3"]


def test_a_row_short_of_its_next_look_waits_where_it_is():
    x = [1.0, -2.0, 0.5, 1.5, -1.0, 0.3, 0.9]
    at_six = stats.decide([x[:6]], 0)
    assert stats.decide([x], 0) == at_six
    assert stats.decide([[*x[:6], math.nan, 0.1, 0.2]], 0) == at_six
    assert at_six[0].look == 2
    for few in ([], [1.0], x[:3], [1.0, math.nan, 1.0, 2.0, 1.0]):
        (row,) = stats.decide([few], 0.3)
        assert (row.n, row.look, row.verdict, row.decided) == (0, 0, "", False)
        assert np.isnan([row.gain, row.low, row.high, row.p]).all()
    assert stats.decide([], 0.3) == []
    with pytest.raises(ValueError, match="looks must rise"):
        stats.decide([x], 0.3, (4, 4))
    with pytest.raises(ValueError, match="from 2 seeds on"):
        stats.decide([x], 0.3, (1, 4))


def studied(rng, sd=0.3):
    """One ladder of nine gains with 16 seeds."""
    return simulations.gains(sd * rng.normal(size=(1, 10, 16)), simulations.LADDER)[0]


def test_seeds_are_asked_for_look_by_look_and_then_no_more():
    rng, spent = np.random.default_rng(21), []
    for _ in range(20):
        whole, have, asked = studied(rng), [0] * 10, dict.fromkeys(range(10), 4)
        while asked != dict(enumerate(have)):
            assert all(asked[rung] >= n for rung, n in enumerate(have))
            have = [asked[rung] for rung in range(10)]
            rows = [whole[row, : min(have[above], have[below])] for row, (above, below) in enumerate(simulations.PAIRS)]
            table = stats.decide(rows, 0.5)
            asked = stats.seeds_asked(table, simulations.PAIRS)
        spent.append(sum(have))
        assert stats.decide(whole, 0.5) == table  # asked with every seed there is
        junk = [[*whole[i, : row.n], *rng.normal(0, 9, 30)] for i, row in enumerate(table) if row.decided]
        mixed = [junk.pop(0) if row.decided else whole[i] for i, row in enumerate(table)]
        assert stats.decide(mixed, 0.5) == table
    assert 40 < min(spent) < max(spent) < 160


def test_seeds_asked_by_hand():
    def row(look, decided):
        n = stats.LOOKS[look - 1] if look else 0
        return stats.Decision(0.1, -1, 1, 0.5, n, look, "", decided)

    table = [row(1, True), row(2, False), row(5, False), row(0, False), row(3, True)]
    rungs = ["ab", "bc", "de", "fg", "ga"]
    assert stats.seeds_asked(table, rungs) == {"a": 8, "b": 8, "c": 8, "d": 16, "e": 16, "f": 4, "g": 8}
    assert stats.seeds_asked([row(1, False)], [(1, 0)], (4, 5)) == {1: 5, 0: 5}


def same(a, b):
    fields = ("gain", "low", "high", "p")
    assert [(row.n, row.look, row.verdict) for row in a] == [(row.n, row.look, row.verdict) for row in b]
    assert [getattr(r, f) for r in a for f in fields] == pytest.approx([getattr(r, f) for r in b for f in fields])


def test_order_of_rows_and_of_seeds_within_a_look_and_the_unit_change_nothing():
    rng = np.random.default_rng(22)
    for _ in range(20):
        whole = studied(rng)
        table = stats.decide(whole, 0.5)
        order = rng.permutation(9)
        assert stats.decide(whole[order], 0.5) == [table[i] for i in order]
        seeds = np.concatenate(
            [rng.permutation(np.arange(*ends)) for ends in zip((0, 4, 6, 8, 12), stats.LOOKS, strict=True)]
        )
        same(stats.decide(whole[:, seeds], 0.5), table)
        scaled = stats.decide(-whole / 100, 0.005)
        assert [row.n for row in scaled] == [row.n for row in table]
        opposite = {"helps": "hurts", "hurts": "helps", "known to ± 0.5": "known to ± 0.005"}
        assert [row.verdict for row in scaled] == [opposite.get(row.verdict, row.verdict) for row in table]


def test_more_alpha_finds_more_and_levels_only_rise():
    rng = np.random.default_rng(23)
    for _ in range(20):
        whole = studied(rng, 0.5)
        found = [
            {i for i, row in enumerate(stats.decide(whole, 0, alpha=a)) if row.decided}
            for a in (0.001, 0.01, 0.05, 0.2)
        ]
        assert found[0] <= found[1] <= found[2] <= found[3]
        easier = stats.decide([*whole[:-1], whole[-1] + 50], 0)
        assert found[2] <= {i for i, row in enumerate(easier) if row.decided}
    levels = [_levels(stats.LOOKS, 0.05 / m) for m in range(20, 0, -1)]
    assert (np.diff(levels, axis=0) > 0).all()  # what makes the step-down a closed test


@pytest.mark.parametrize("effects", [(0,) * 9, (0, *[6] * 8)])
def test_all_looks_at_all_rows_err_with_alpha_at_most(effects):
    studies = 800
    draws = simulations.gains(np.random.default_rng(24).normal(size=(studies, 10, 16)), effects)
    wrong = simulations.family([stats.decide(study, 0) for study in draws], effects)
    assert np.mean(wrong) <= 0.05 + binomial(0.05, studies)
    assert np.mean(wrong) > 0.02  # α is used


def test_known_rows_are_as_near_the_truth_as_they_say():
    rng = np.random.default_rng(25)
    tables = [stats.decide(studied(rng, 0.25), 0.3) for _ in range(200)]
    rows = [(row, true) for table in tables for row, true in zip(table, simulations.LADDER, strict=True)]
    known = [(row, true) for row, true in rows if row.verdict.startswith("known")]
    assert len(known) > 600
    assert np.mean([abs(row.gain - true) <= 0.3 for row, true in known]) > 0.95
    assert np.mean([row.low <= true <= row.high for row, true in known]) > 0.95
    assert np.mean([row.low <= true <= row.high for row, true in rows]) > 0.95
    assert np.mean([simulations.trained(table) for table in tables]) < 0.7 * 160


def test_the_simulations_print_their_tables(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tests.kit.simulations", "--studies", "3"])
    simulations.main()
    out = capsys.readouterr().out
    assert out.count("## ") == 7
    assert "nan" not in out


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


def test_gains_that_vary_by_more_than_a_test_image_have_an_interval_whatever_they_are_multiples_of():
    """Of 100 test images, in points; t by hand: mean 14, s.d. sqrt(30), t 5.715 on 4 degrees of freedom, p .00464."""
    gains = [10.0, 10.0, 20.0, 10.0, 20.0]
    gain, low, high, p = stats.paired_t(gains, step=1.0)
    assert (gain, round(p, 5)) == (14.0, 0.00464)
    assert (low, high) == pytest.approx((14 - 2.7764 * 5.4772 / 5**0.5, 14 + 2.7764 * 5.4772 / 5**0.5), abs=1e-3)
    (row,) = stats.compare([gains], step=1.0)
    assert row.verdict == "helps"
    assert stats.flat([10, 10, 20, 10, 20]), "where the step is not known it is the greatest that fits"
    assert stats.flat([50, 50, 50, 51], step=1.0), "one image is all that it varies by"
    (told,) = stats.decide([[10, 11, 10, 11, 10]], 1, looks=(5,), step=5.0)
    assert told.verdict != "helps", "five points a test image: it varies by less than one"
