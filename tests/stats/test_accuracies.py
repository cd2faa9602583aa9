import math

import numpy as np
import pytest
import scipy

from harness import stats
from tests.kit.textbook import SLEEP, binomial


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
