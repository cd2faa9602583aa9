"""Lengths to a target, of curves whose crossing is known."""

import math

import numpy as np
import pytest
import scipy.stats

from harness import stats


def asked(score, target, lengths, start):
    """The lengths that a walk asks for, one after the other, each answered by `score`; and how it ends."""
    known, order = {}, []
    while (now := stats.walk(known.get, target, lengths, start)).due is not None:
        assert now.due not in known, "asked twice"
        order.append(now.due)
        known[now.due] = score(now.due)
    assert list(now.tried) == order
    return order, now


@pytest.mark.parametrize("start", [1, 7, 40, 128, 500])
@pytest.mark.parametrize("need", [1, 2, 3, 7, 45, 64, 100, 127, 128])
def test_the_least_length_is_found_in_few_tries(need, start):
    order, end = asked(lambda e: 90 + math.log(e / need), 90, range(1, 129), start)
    assert end.reached == need
    assert end.low == (need - 1 or None)
    assert len(order) <= 2 * math.log2(128) + 1


def test_it_doubles_then_takes_the_middle():
    assert asked(lambda e: e, 45, range(1, 129), 9)[0] == [9, 18, 36, 72, 54, 45, 40, 42, 43, 44]
    assert asked(lambda e: e, 3, range(1, 129), 16)[0] == [16, 8, 4, 2, 3]


def test_a_list_of_lengths_is_all_that_is_tried():
    order, end = asked(lambda e: e, 20, (24, 4, 8, 16, 32, 64), 8)
    assert (order, end.reached, end.low) == ([8, 16, 32, 24], 24, 16)
    order, end = asked(lambda e: e, 1, (4, 8, 16), 16)
    assert (order, end.reached, end.low) == ([16, 8, 4], 4, None)


def test_what_never_reaches_it_says_so_at_the_longest():
    order, end = asked(lambda e: 1 - 1 / e, 2, range(1, 41), 10)
    assert (order[-1], end.reached, end.low) == (40, None, 40)
    assert order == [10, 20, 40]


def test_noise_that_breaks_the_rise_still_ends():
    scores = {n: 50 + n / 10 + 3 * ((-1) ** n) for n in range(1, 65)}
    order, end = asked(scores.get, 53, range(1, 65), 8)
    assert scores[end.reached] >= 53 > scores[end.low]
    assert len(order) == len(set(order))


def test_it_waits_for_what_is_not_known_and_goes_the_same_way_again():
    full, _ = asked(lambda e: e, 45, range(1, 129), 9)
    for n in range(len(full)):
        known = {e: float(e) for e in full[:n]}
        now = stats.walk(known.get, 45, range(1, 129), 9)
        assert (now.due, now.tried) == (full[n], tuple(full[:n]))


def test_no_lengths_are_an_error():
    with pytest.raises(ValueError, match="no lengths"):
        stats.walk(lambda e: None, 1, (), 1)


def test_a_mean_needs_every_seed():
    assert stats.mean_of({0: 1.0, 2: 4.0}, (0, 2)) == 2.5
    assert stats.mean_of({0: 1.0}, (0, 2)) is None


# crossings
def test_the_crossing_by_hand():
    """From 90 at 4 to 92 at 8, half a point an epoch: 91 is at 6, and each seed is off by its noise / slope."""
    made = stats.crossings(4, [89.0, 91.0], 8, [92.0, 92.0], 91)
    assert made.tolist() == pytest.approx([6 + 0.5 * 1 / 0.5, 6 - 0.5 * 1 / 0.5])
    assert stats.crossings(None, [], 3, [95.0, 96.0], 91).tolist() == [3, 3]
    with pytest.raises(ValueError, match="do not enclose"):
        stats.crossings(4, [91.5], 8, [92.0], 91)


def test_the_spread_is_that_of_many_such_crossings():
    """The s.e. by the seeds' values, against crossings of 4,000 experiments drawn anew; their mean is the crossing."""
    rng = np.random.default_rng(0)
    low, high = rng.normal(90, 0.3, (4000, 8)), rng.normal(92, 0.2, (4000, 8))
    means = 4 + 4 * (91.2 - low.mean(1)) / (high.mean(1) - low.mean(1))
    each = [stats.crossings(4, a, 8, b, 91.2) for a, b in zip(low, high, strict=True)]
    assert [values.mean() for values in each] == pytest.approx(list(means))
    se = np.sqrt(np.mean([values.var(ddof=1) / 8 for values in each]))
    assert se == pytest.approx(means.std(ddof=1), rel=0.05)


# theirs, told as means
def test_against_one_arm_without_noise_it_is_welchs_test():
    ours = [0.9, 1.3, 0.7, 1.6, 1.0]
    made = stats.gains_apart(ours, (80.5, 0.2, 3), (80.0, 0.0, 3))
    other = scipy.stats.ttest_ind_from_stats(np.mean(ours), np.std(ours, ddof=1), 5, 0.5, 0.2, 3, equal_var=False)
    assert made[0] == pytest.approx(0.6)
    assert made[3] == pytest.approx(other.pvalue)


def test_gains_apart_by_hand():
    """Ours 2 with s.e.² 1/3 of two d.f.; theirs 78.82 ± .07 less 79.36 ± .07, three each: (.0049 / 3) twice."""
    gap, low, high, p = stats.gains_apart([1.0, 2.0, 3.0], (78.82, 0.07, 3), (79.36, 0.07, 3))
    assert gap == pytest.approx(2.54)
    se2 = 1 / 3 + 2 * 0.0049 / 3
    df = se2**2 / ((1 / 3) ** 2 / 2 + 2 * (0.0049 / 3) ** 2 / 2)
    half = scipy.stats.t.isf(0.025, df) * math.sqrt(se2)
    assert (low, high) == pytest.approx((2.54 - half, 2.54 + half))
    assert p == pytest.approx(2 * scipy.stats.t.sf(2.54 / math.sqrt(se2), df))


@pytest.mark.parametrize(
    ("ours", "above", "below"),
    [
        ([1.0], (1, 1, 3), (0, 1, 3)),
        ([1.0, 1.0], (1, 1, 3), (0, 1, 3)),
        ([1.0, 2.3], (1, math.nan, 3), (0, 1, 3)),
        ([1.0, 2.3], (1, 1, math.nan), (0, 1, 3)),
        ([1.0, 2.3], (1, 1, 1), (0, 1, 3)),
    ],
)
def test_without_a_spread_there_is_no_test(ours, above, below):
    assert all(map(math.isnan, stats.gains_apart(ours, above, below)[1:]))
