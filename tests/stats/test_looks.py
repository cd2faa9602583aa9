import math
from collections import Counter

import numpy as np
import pytest
import scipy

from harness import stats
from harness.stats.looks import LESS, _bounds, _known_levels, _levels
from tests.kit import simulations
from tests.kit.textbook import binomial, verdicts


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


@pytest.mark.parametrize("looks", [stats.LOOKS["t"], (4, 8), (2, 3, 4)])
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
    for at, n in enumerate(stats.LOOKS["t"], 1):
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
        n = stats.LOOKS["t"][look - 1] if look else 0
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
            [rng.permutation(np.arange(*ends)) for ends in zip((0, 4, 6, 8, 12), stats.LOOKS["t"], strict=True)]
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
    levels = [_levels(stats.LOOKS["t"], 0.05 / m) for m in range(20, 0, -1)]
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


# Looks by moderated tests
def test_levels_of_known_sd_spend_alpha_exactly():
    rng, looks, alpha = np.random.default_rng(30), (4, 6, 9), 0.02
    z = np.cumsum(rng.normal(size=(400_000, 9)), axis=1)[:, np.subtract(looks, 1)] / np.sqrt(looks)
    levels = _known_levels(looks, alpha)
    assert np.divide(levels, looks) == pytest.approx([levels[0] / 4] * 3)
    spent = np.mean((2 * scipy.stats.norm.sf(abs(z)) <= levels).any(1))
    assert spent == pytest.approx(alpha, abs=binomial(alpha, len(z)))
    assert min(np.divide(levels, _levels(looks, alpha))) > 1.05  # t-tests at few seeds are less alike from look to look
    with pytest.raises(ValueError, match="looks must rise"):
        _known_levels((4, 4), alpha)


def test_bounds_of_moderated_looks_pay_for_the_fallback_by_rows_and_seeds():
    looks = (4, 6, 9)
    assert _bounds(looks, 4, "moderated")(0.05) == _bounds(looks, 40, "t")(0.05) == _levels(looks, 0.05)
    assert _bounds(looks, 8, "moderated")(0.05) == _levels(looks, 0.8 * 0.05)
    assert _bounds((3, 6), 9, "moderated")(0.05) == _levels((3, 6), 0.8 * 0.05)
    assert _bounds(looks, 9, "moderated")(0.05) == _known_levels(looks, LESS * 0.05)


def test_a_moderated_look_by_hand():
    """Each row that is open leans on all rows, at the newest look of each."""
    rng, looks = np.random.default_rng(31), (4, 6)
    rows = rng.normal(size=(5, 6)) * 0.3
    rows[0] += 9  # found at the first look
    table = stats.decide(rows, 0, looks, test="moderated")
    assert [(row.look, row.verdict) for row in table] == [(1, "helps"), *[(2, "not resolved")] * 4]
    first, second = stats.prior(rows[:, :4]), stats.prior([rows[0, :4], *rows[1:]])
    assert (table[0].prior, table[1].prior) == (first, second)
    assert table[0].p == pytest.approx(stats.moderated_t(rows[0, :4], first)[3])
    level = _levels(looks, 0.8 * 0.05)[1]
    for row, x in zip(table[1:], rows[1:], strict=True):
        assert (row.gain, row.low, row.high, row.p, row.df) == pytest.approx(
            stats.moderated_t(x, second, 1 - level)[:5]
        )
    (known,) = {row.verdict for row in stats.decide(rows[1:], 5, looks, test="moderated")}  # four rows: plain
    assert known == "known to ± 5"
    plain = stats.decide(rows[1:], 0, looks)
    assert [row.p for row in stats.decide(rows[1:], 0, looks, test="moderated")] == [row.p for row in plain]


def test_moderated_looks_replayed_with_every_seed_say_the_same():
    rng = np.random.default_rng(32)
    for _ in range(2):
        whole, have, asked = studied(rng), [0] * 10, dict.fromkeys(range(10), 4)
        looks = stats.LOOKS["moderated"]
        while asked != dict(enumerate(have)):
            have = [asked[rung] for rung in range(10)]
            rows = [whole[row, : min(have[above], have[below])] for row, (above, below) in enumerate(simulations.PAIRS)]
            table = stats.decide(rows, 0.5, test="moderated")
            asked = stats.seeds_asked(table, simulations.PAIRS, looks)
        assert stats.decide(whole, 0.5, test="moderated") == table


def test_moderated_looks_err_no_more_and_take_fewer_runs():
    rng, studies = np.random.default_rng(33), 60
    draws, _ = simulations.unlike(rng, studies, 9, 16, 0.6, "leave-one-out", "normal")
    wrong = simulations.family([stats.decide(study, 0, (4, 8, 16), test="moderated") for study in draws])
    assert np.mean(wrong) <= 0.05 + binomial(0.05, studies)
    runs = np.zeros(2)
    for _ in range(10):
        whole = studied(rng, 0.2)
        for i, test in enumerate(simulations.TESTS):
            table = stats.decide(whole, 0.3, test=test)
            runs[i] += simulations.trained(table, stats.LOOKS[test])
    assert runs[1] < 0.93 * runs[0]


def test_the_simulations_print_their_tables(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tests.kit.simulations", "--studies", "3"])
    monkeypatch.setattr(simulations, "TABLES", ((5, 3),))
    monkeypatch.setattr(simulations, "MEASURED", ((5, 3, 2),))
    monkeypatch.setattr(simulations, "ALIKE", (0.35,))
    monkeypatch.setattr(simulations, "SDS", (0.15, 0.5))
    simulations.main()
    out = capsys.readouterr().out
    assert out.count("## ") == 10
    assert "nan" not in out
