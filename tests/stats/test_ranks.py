import itertools
import math

import numpy as np
import pytest
import scipy.stats

from harness import stats
from harness.stats import ranks

UP = [[1.0, 1.2], [2.0, 2.1], [3.0, 3.3], [4.0, 4.2], [5.0, 5.5]]  # rungs x seeds, in one order at each seed


@pytest.mark.parametrize("n", [2, 3, 7, 12])
@pytest.mark.parametrize("ties", [False, True])
def test_both_coefficients_are_those_of_scipy(n, ties):
    rng = np.random.default_rng(n)
    for _ in range(20):
        a, b = rng.normal(size=(2, n)).round(0 if ties else 9)
        if len(set(a)) > 1 and len(set(b)) > 1:
            assert stats.kendall(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic, abs=1e-12)
            assert stats.spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)


def test_tau_by_hand():
    """Of the six pairs of 1 2 3 4 and 1 3 2 4 five are alike: (5 - 1)/6. 1 2 2 4 orders five pairs, all alike."""
    assert stats.kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)
    assert stats.kendall([1, 2, 3, 4], [1, 2, 2, 4]) == pytest.approx(5 / math.sqrt(6 * 5))
    assert stats.spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))


@pytest.mark.parametrize("n", [3, 5, 6])
def test_the_p_of_tau_is_scipys_exact_one(n):
    rng = np.random.default_rng(40 + n)
    a, b = rng.normal(size=(2, n, 4))
    told = stats.rank_correlation(a, b, resamples=9)
    exact = scipy.stats.kendalltau(a.mean(1), b.mean(1), method="exact")
    assert told.tau == pytest.approx(exact.statistic)
    assert told.tau_p == pytest.approx(exact.pvalue)
    orders = [scipy.stats.spearmanr(a.mean(1), order).statistic for order in itertools.permutations(b.mean(1))]
    assert told.rho_p == pytest.approx(np.mean(np.abs(orders) >= abs(told.rho) - 1e-9))


def test_equal_orders_at_every_seed_are_resolved_from_five_rungs_on():
    told = stats.rank_correlation(UP, UP)
    narrow = "of 2 seeds intervals by resampling are too narrow: of a mean about 50 % cover it"
    assert (told.rungs, told.seeds, told.tau, told.rho, told.why) == (5, 2, 1, 1, narrow)
    assert (told.tau_low, told.tau_high, told.rho_low, told.rho_high) == (1, 1, 1, 1)
    assert told.tau_p == pytest.approx(2 / 120)
    assert told.resolved
    assert stats.rank_correlation(UP, -np.array(UP)).resolved, "the opposite order is one too"
    few = stats.rank_correlation(UP[:4], UP[:4])
    assert few.tau_p == pytest.approx(2 / 24)
    assert not few.resolved
    assert few.why == f"4 rungs cannot give less than p = 0.083; {narrow}"
    assert stats.rank_correlation(*[np.tile(UP, 3)] * 2).why == ""


@pytest.mark.parametrize("seeds", ranks.COVERED)
def test_how_often_an_interval_of_few_seeds_covers_a_mean(seeds):
    rng = np.random.default_rng(seeds)
    shares = rng.multinomial(seeds, [1 / seeds] * seeds, size=2000).T / seeds
    low, high = np.quantile(rng.normal(size=(4000, seeds)) @ shares, [0.025, 0.975], axis=1)
    assert 100 * ((low <= 0) & (high >= 0)).mean() == pytest.approx(ranks.COVERED[seeds], abs=2.5)


def test_the_interval_is_that_of_all_resamples():
    """Of three seeds there are 27 resamples: all of them, counted, against 9,999 that are drawn."""
    a = np.array([[1.0, 2, 3], [2, 2.5, 0], [4, 1, 2], [3, 5, 1]])
    b = np.array([[1.0, 3, 2], [2, 0, 1], [5, 2, 3], [3, 2, 9]])
    every = [list(seeds) for seeds in itertools.product(range(3), repeat=3)]
    taus = [scipy.stats.kendalltau(a[:, s].mean(1), b[:, s].mean(1)).statistic for s in every]
    told = stats.rank_correlation(a, b)
    assert (told.tau_low, told.tau_high) == pytest.approx(tuple(np.nanquantile(taus, [0.025, 0.975])), abs=1e-9)
    assert told == stats.rank_correlation(a, b), "it is seeded"


def test_seeds_go_with_their_own_of_the_other_metric_and_of_other_rungs():
    """What all rungs share at a seed moves no rank: were seeds drawn for each apart, the order would be lost."""
    shift = 100 * np.arange(6)
    a = np.arange(5)[:, None] + shift
    b = np.arange(5)[:, None] - shift
    told = stats.rank_correlation(a, b)
    assert (told.tau_low, told.tau_high) == (1, 1)
    noise = np.random.default_rng(5).normal(size=(5, 4))
    told = stats.rank_correlation(noise, 3 * noise)
    assert (told.tau_low, told.rho_low) == pytest.approx((1, 1)), "whatever the order at a seed, it is that of both"


def test_noise_is_not_resolved_as_often_as_it_should_be():
    rng = np.random.default_rng(7)
    found = [stats.rank_correlation(*rng.normal(size=(2, 6, 3)), resamples=199).resolved for _ in range(60)]
    assert np.mean(found) < 0.12


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (UP[:2], UP[:2], "2 rungs cannot give less than p = 1"),
        (UP[:1], UP[:1], "one rung has no order"),
        ([row[:1] for row in UP], [row[:1] for row in UP], "one seed has no interval"),
        ([[1.0, 2.0]] * 5, UP, "one of the two is the same for all rungs"),
        ([[math.nan, 1.0]] * 5, [[1.0, math.nan]] * 5, "no seed has both of every rung"),
        (np.arange(18.0).reshape(9, 2), np.arange(18.0).reshape(9, 2), "of 9 rungs not all orders were counted"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "there is no rung"),
    ],
)
def test_what_cannot_be_told_says_why(a, b, why):
    told = stats.rank_correlation(a, b, resamples=99)
    assert told.why == why or told.why.startswith(why)
    if "seed" in why or "same" in why or "one rung" in why:
        assert math.isnan(told.tau_low)
        assert not told.resolved


def test_a_seed_that_one_rung_lacks_is_in_no_mean():
    a = np.array(UP)
    a[2, 0] = math.nan
    told = stats.rank_correlation(a, UP)
    assert (told.seeds, told.tau) == (1, 1)


def test_equal_means_that_rounding_tells_apart_are_ties():
    a = [[0.1, 0.2, 0.3], [0.2, 0.3, 0.1], [0.9, 0.9, 0.9]]
    b = [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert stats.rank_correlation(a, b, resamples=9).tau == pytest.approx(2 / math.sqrt(2 * 3))


def test_arrays_of_two_shapes_are_a_mistake():
    with pytest.raises(ValueError, match="rungs x seeds"):
        stats.rank_correlation(UP, UP[:3])
