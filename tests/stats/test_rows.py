import math
from itertools import product

import numpy as np
import pytest
import scipy.stats

from harness import stats
from tests.kit.textbook import DRUG_1, DRUG_2, SLEEP, binomial


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
    assert (row.p, row.mde, row.verdict) == (2 / 32, math.inf, "not resolved (MDE above 100)")
    (row,) = stats.compare([[*up, 1.0]], test="sign-flip")
    assert (row.p, row.verdict) == (2 / 64, "helps")
    rows = stats.compare([[*up, 1.0]] * 2, test="sign-flip")
    assert [r.verdict for r in rows] == ["not resolved (MDE above 100)"] * 2
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


def test_arms_apart_are_welchs_with_holm_over_all():
    rows = [(DRUG_2, DRUG_1), (DRUG_2[:4], DRUG_1), ([1.0], DRUG_1), ([2.0, 2.0], [1.0, 1.0])]
    table = stats.compare_apart(rows)
    tests = [scipy.stats.ttest_ind(*rows[i], equal_var=False) for i in range(2)]
    for row, test in zip(table, tests, strict=False):
        assert (row.low, row.high, row.p) == pytest.approx((*test.confidence_interval(), test.pvalue))
        assert row.df == pytest.approx(test.df)
    p = [test.pvalue for test in tests]
    assert [row.adjusted for row in table[:2]] == pytest.approx([max(2 * min(p), p[0]), max(2 * min(p), p[1])])
    assert [row.verdict for row in table[2:]] == ["", ""]
    assert [row.n for row in table] == [10, 4, 1, 2]
    se = math.sqrt(np.var(DRUG_1, ddof=1) / 10 + np.var(DRUG_2, ddof=1) / 10)
    at = table[0].mde / se  # the noncentral t of the test, at Holm's first step
    bar = scipy.stats.t.isf(0.05 / 4, table[0].df)
    assert scipy.stats.nct.sf(bar, table[0].df, at) == pytest.approx(0.8, abs=1e-4)
    assert stats.compare_apart([([1.0, 4.0, 5.0], [1.0, 1.1, 0.9])])[0].verdict.startswith("not resolved (MDE ")
    assert stats.compare_apart([([9.0, 9.1, 9.2], [1.0, 1.1, 0.9])])[0].verdict == "helps"
