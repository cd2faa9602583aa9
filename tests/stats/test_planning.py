import math

import numpy as np
import pytest
import scipy

from harness import stats
from tests.kit.textbook import binomial


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
