import math

import numpy as np
import pytest
import scipy

from harness import stats
from harness.stats import moderated
from tests.kit import simulations
from tests.kit.textbook import binomial


# What limma has
def test_squeezed_variances_that_limma_prints():
    """limma's squeezeVar of variances .5, 1.3 and 7.8 on 3 degrees of freedom, as InMoose's tests have it from R."""
    d0, s02 = stats.smyth([0.5, 1.3, 7.8], 3)
    assert (d0, s02) == pytest.approx((2.830777, 1.676927), abs=1e-6)
    post = [stats.squeezed(variance, 3, d0, s02) for variance in (0.5, 1.3, 7.8)]
    assert post == pytest.approx([1.071385, 1.482994, 4.827317], abs=1e-6)


def test_smyths_estimate_solves_its_own_moments_and_finds_the_truth():
    """§6.2: trigamma(d₀/2) is the variance of log s² less trigamma(df/2); log s₀² what their means differ by."""
    rng = np.random.default_rng(1)
    df = rng.integers(3, 9, 4000)
    s2 = 2 * rng.chisquare(df) / df * 6 / rng.chisquare(6, 4000)
    d0, s02 = stats.smyth(s2, df)
    assert (d0, s02) == pytest.approx((6, 2), rel=0.1)
    for one in (3, 20):
        d0, s02 = stats.smyth([1, 2, 9, 40], one)
        e = np.log([1, 2, 9, 40])
        assert scipy.special.polygamma(1, d0 / 2) + scipy.special.polygamma(1, one / 2) == pytest.approx(e.var(ddof=1))
        mean = np.log(scipy.stats.f(one, d0).rvs(200_000, random_state=2)).mean()
        assert math.log(s02) == pytest.approx(e.mean() - mean, abs=0.02)
    assert stats.smyth([1, 1.01, 0.99], 4)[0] == math.inf  # less than sampling leaves
    for bad in ([1.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="two variances above 0"):
            stats.smyth(bad, 3)


# The lower bound
@pytest.mark.parametrize(("m", "df", "d0"), [(5, 4, 5), (9, 2, 4), (9, 4, 10), (40, 7, 3), (40, 4, 1e9)])
def test_the_bound_is_above_the_truth_one_time_in_ten_at_most(m, df, d0):
    rng, draws = np.random.default_rng(3), 1500
    s2 = rng.chisquare(df, (draws, m)) / df * d0 / rng.chisquare(d0, (draws, m))
    bounds = np.array([moderated.lower_bound(row, df) for row in s2])
    assert np.mean(bounds > d0 * (1 + 1e-9)) <= 0.1 + binomial(0.1, draws)
    if d0 > 1e6:
        assert np.mean(np.isfinite(bounds)) > 0.85  # a tenth, and no more, is taken for alike
    else:
        assert np.mean(bounds > d0 / 10) > 0.4  # and it does not lie on the floor


def test_the_bound_of_unlike_variances_is_low_and_does_not_know_the_unit():
    alike, unlike = [1, 1.2, 0.9, 1.1, 1], [1, 20, 0.1, 300, 4]
    assert moderated.lower_bound(alike, 4) == math.inf
    assert moderated.lower_bound(unlike, 4) < 0.75
    assert moderated.lower_bound(np.array(unlike) * 1e-4, 4) == pytest.approx(moderated.lower_bound(unlike, 4))
    spread = [moderated.lower_bound(np.exp(s * np.array([-1, -0.5, 0, 0.5, 1])), 4) for s in (1.5, 2, 3)]
    assert sorted(spread, reverse=True) == spread


# Rows that share a rung
def test_rows_that_share_a_rung_are_fewer_than_they_look():
    rng = np.random.default_rng(4)
    apart = rng.normal(size=(40, 20_000))
    shared = apart - rng.normal(size=20_000)
    same = np.tile(rng.normal(size=10), (6, 1)) * np.arange(1, 7)[:, None]
    for rows, number in ((apart, 40), (shared, 40 / (1 + 39 / 4)), (same, 1)):
        assert moderated.independent([(x, range(len(x))) for x in rows]) == pytest.approx(number, rel=0.06)
    one, other = rng.normal(size=(2, 30))
    told = [(one, range(30)), (np.append(one[5:], other[:5]), [*range(5, 30), *range(40, 45)])]
    assert 1 <= moderated.independent(told) < 1.3  # the seeds tell which values are of one
    assert moderated.independent([(x, range(30)) for x, _ in told]) > 1.7


# Rows of a table
ALIKE = np.array([[0.4, -0.5, 0.2, 0.6], [1.2, 0.3, 0.9, 1.4], [0.1, 0.2, -0.7, 0.3], [0.5, 1.1, 0.1, 0.9]])
FIVE = np.vstack([ALIKE, [-0.2, 0.3, 0.8, -0.1]])


def test_a_row_by_hand():
    """Five rows as alike as can be: the variance is the mean of all, and t that of their degrees of freedom."""
    table = stats.compare(FIVE, "moderated")
    told = table[0].prior
    assert (told.bound, told.why, told.share) == (math.inf, "", 0.8)
    s02 = float(np.mean([np.var(row, ddof=1) for row in FIVE]))
    r2 = np.corrcoef(FIVE) ** 2
    rho2 = max(0, ((r2.sum() - 5) / 20 - 1 / 3) / (1 - 1 / 3))
    df = 3 * 5 / (1 + 4 * rho2)
    p = [2 * scipy.stats.t.sf(abs(row.mean()) / math.sqrt(s02 / 4), df) for row in FIVE]
    assert [row.p for row in table] == pytest.approx(p)
    assert [row.adjusted for row in table] == pytest.approx(np.minimum(1, stats.holm(p) / 0.8))
    half = scipy.stats.t.isf(0.025, df) * math.sqrt(s02 / 4)
    assert [row.low for row in table] == pytest.approx([x.mean() - half for x in FIVE])
    assert [row.high for row in table] == pytest.approx([x.mean() + half for x in FIVE])
    assert [row.verdict.split(" (")[0] for row in table] == ["not resolved", "helps", *["not resolved"] * 3]
    assert table[1].plain.verdict.startswith("not resolved")
    assert [row.plain for row in table] == stats.compare(FIVE)
    effect = table[0].mde  # what 80 % of studies whose s.d. is known to so many degrees of freedom would resolve
    bar, shift = scipy.stats.t.isf(0.04 / 5 / 2, df), effect / math.sqrt(s02 / 4)
    assert scipy.stats.nct.sf(bar, df, shift) + scipy.stats.nct.cdf(-bar, df, shift) == pytest.approx(0.8)


def test_between_its_own_variance_and_the_mean():
    sizes = (1.0, 1.3, 0.7, 1.6, 1.0, 2.0)
    rows = [np.array([1, -1, 1, -1]) * size for size in sizes]
    told = stats.prior(rows)
    *_, df, sd = stats.moderated_t(rows[0], told)
    d0, own, mean = told.df, 4 / 3, float(np.mean([4 / 3 * size**2 for size in sizes]))
    assert 0.75 < d0 < 10
    assert sd**2 == pytest.approx((d0 * mean + 3 * own) / (d0 + 3))
    assert df == max(3, min(d0 + 3, told.most)) == 3  # rows that are one another's multiple know no more than one


def test_it_falls_back_to_the_plain_test_and_says_why():
    few = stats.compare(ALIKE, "moderated")
    assert (few[0].prior.why, few[0].prior.share) == ("of fewer than 5 gains", 1)
    wild = [row * size for row, size in zip(FIVE, (1, 30, 0.02, 900, 5), strict=True)]
    apart = stats.compare(wild, "moderated")
    assert (apart[0].prior.why, apart[0].prior.share) == ("s.d. differ too much", 0.8)
    assert apart[0].prior.bound < moderated.FLOOR
    for told, rows in ((few, ALIKE), (apart, wild)):
        plain = stats.compare(rows)
        assert [(r.gain, r.low, r.high, r.p, r.df) for r in told] == [(r.gain, r.low, r.high, r.p, 3) for r in plain]
        assert [r.adjusted for r in told] == pytest.approx([min(1, r.adjusted / told[0].prior.share) for r in plain])
    assert stats.compare([[1.0, 1.0, 1.0]] * 6, "moderated")[0].prior.why == "too few gains have a spread"
    assert stats.compare([], "moderated") == []


def test_rows_without_a_spread_lean_on_none_and_none_on_them():
    odd = [[0.25] * 4, [1.0, math.nan, 1.0, 2.0], [0.3]]
    table = stats.compare([*FIVE, *odd], "moderated")
    assert [row.p for row in table[:5]] == [row.p for row in stats.compare(FIVE, "moderated")]
    assert (table[5].p, math.isnan(table[5].df), math.isnan(table[5].low)) == (2 / 16, True, True)
    assert np.isnan([table[6].p, table[7].p]).all()
    two = stats.compare([*FIVE, [1.0, 1.7]], "moderated")[5]
    assert (two.p, two.df) == (pytest.approx(stats.paired_t([1.0, 1.7])[3]), 1)


def test_order_and_unit_change_nothing():
    rng = np.random.default_rng(5)
    for rows in simulations.unlike(rng, 10, 7, 5, 0.4, "ladder", "normal")[0]:
        order, table = rng.permutation(7), stats.compare(rows, "moderated")
        moved = stats.compare(-rows[order] / 100, "moderated")
        assert [row.p for row in moved] == pytest.approx([table[i].p for i in order])
        assert [-100 * row.high for row in moved] == pytest.approx([table[i].low for i in order])


@pytest.mark.parametrize(("spread", "design"), [(0.6, "ladder"), (1, "leave-one-out")])
def test_nothing_is_rarely_resolved_and_more_is_resolved_than_by_the_plain_test(spread, design):
    rng, studies = np.random.default_rng(6), 250
    draws, _ = simulations.unlike(rng, studies, 9, 3, spread, design, "normal")
    wrong = np.mean([simulations.leant(rows)[1].min() <= 0.05 for rows in draws])
    assert wrong <= 0.05 + binomial(0.05, studies)
    draws, sd = simulations.unlike(rng, 40, 9, 5, 0.15, design, "normal")
    told = [simulations.leant(rows)[:2] for rows in draws + 2 * sd[..., None]]
    plain, leaning = (np.mean([p <= 0.05 for p in ps]) for ps in zip(*told, strict=True))
    assert leaning > plain + 0.15
