import math

import numpy as np
import pytest
import scipy

from harness import stats
from harness.stats import designs, seeds
from tests.kit import simulations
from tests.kit.textbook import SLEEP, binomial

LADDER = designs.of_gains([None, *((row + 1, row) for row in range(9))])
STACK = [designs.Node(i, (i,)) for i in range(4)]


def layout(design, **options):
    return designs.DESIGNS[design](4, STACK, designs.Options(**options))


# Noise
def test_the_noise_of_one_row_is_its_sd_with_the_interval_of_a_textbook():
    found = stats.noise([SLEEP], [range(10)])
    var = np.var(SLEEP, ddof=1)
    low, high = (math.sqrt(9 * var / scipy.stats.chi2.ppf(tail, 9)) for tail in (0.975, 0.025))
    assert (found.sd, found.low, found.high) == pytest.approx((math.sqrt(var), low, high), abs=1e-6)
    assert (found.spread, found.rows) == (0, 1)


def test_the_noise_of_rows_is_their_root_mean_square_and_rows_that_share_noise_tell_less():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(4, 6))
    found = stats.noise(rows, [range(6)] * 4)
    assert found.sd == pytest.approx(math.sqrt(rows.var(axis=1, ddof=1).mean()))
    same = stats.noise([rows[0]] * 4, [range(6)] * 4)
    alone = stats.noise([rows[0]], [range(6)])
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high)), "four times one row is one row"
    assert found.high / found.low < alone.high / alone.low
    assert stats.noise([rows[0], [1.0], [2.0, 2.0]], [range(6), [0], [0, 1]]) == alone, "these tell nothing"
    assert stats.noise([[1.0, 2.0], [1.0, 4.0]], [[0, 1], [0, 1]]).sd == pytest.approx(math.sqrt((0.5 + 4.5) / 2))
    with pytest.raises(ValueError, match="no row has two values"):
        stats.noise([[1.0], [2.0, 2.0]], [[0], [0, 1]])


def test_the_spread_of_rungs_is_found_from_the_gains():
    rng = np.random.default_rng(2)
    for spread in (0.0, 0.4):
        found = []
        for _ in range(20):
            rows = simulations.unlike(rng, 1, 40, 20, spread, "ladder", "normal", rho=0)[0][0]
            found.append(stats.noise(rows, [range(20)] * 40).spread)
        assert np.mean(found) == pytest.approx(spread, abs=0.1)


# Contrasts
def test_a_gain_is_one_rung_less_another():
    assert designs.contrasts("ladder", layout("ladder"), 4).tolist()[:2] == [[-1, 1, 0, 0, 0], [0, -1, 1, 0, 0]]
    assert designs.contrasts("add-one", layout("add-one"), 4).tolist()[3] == [-1, 0, 0, 0, 1]
    assert designs.contrasts("leave-one-out", layout("leave-one-out"), 4).tolist()[0] == [1, -1, 0, 0, 0]


def test_effects_are_made_of_rungs_as_the_table_makes_them():
    scores = np.random.default_rng(3).normal(size=16)
    half = designs.contrasts("factorial", layout("factorial", fraction=1), 4)
    assert np.abs(half) == pytest.approx(np.full((4, 8), 2 / 8))
    whole = layout("factorial", fraction=0)
    x = np.array([[1 if j in row.on else -1 for j in range(4)] for row in whole.rows])
    effects = stats.factorial_effects(x, scores, order=1)
    assert designs.contrasts("factorial", whole, 4) @ scores == pytest.approx(
        [float(effects[letter]) for letter in "ABCD"]
    )
    exact = layout("shapley")
    value = {frozenset(row.on): score for row, score in zip(exact.rows, scores, strict=True)}
    values = stats.shapley(stats.by_bits(value, range(4)))
    assert designs.contrasts("shapley", exact, 4) @ scores == pytest.approx(values)
    sampled = layout("shapley", pairs=3)
    made = designs.contrasts("shapley", sampled, 4)
    assert made.shape == (4, len(sampled.rows))
    assert made.sum(axis=1) == pytest.approx(np.zeros(4))
    assert made.sum(axis=0)[-1] == pytest.approx(1), "all tricks together give the sum of the values"


# Seeds
def test_plain_seeds_are_those_of_a_paired_t_test_at_holms_first_step():
    for m, effect, goal in ((1, 0.5, 0.8), (9, 1.0, 0.8), (9, 0.3, 0.9)):
        n, power = stats.seeds_planned(LADDER[:m], 1.0, effect, goal)
        assert n == stats.seeds_needed(effect, 1.0, goal, alpha=0.05 / m)
        assert power == pytest.approx(stats.power(effect, 1.0, n, alpha=0.05 / m))
    assert stats.seeds_planned(LADDER[:1], 1.0, 0.5)[0] == 34, "a textbook's"
    few = stats.seeds_planned(LADDER[:4], 1.0, 1.0, test="moderated")
    assert few == stats.seeds_planned(LADDER[:4], 1.0, 1.0), "with four gains nothing leans"


def test_a_factorial_needs_as_many_runs_as_its_contrasts_say():
    """A main effect of 8 rungs has the variance of a gain over 4: so a fourth of the seeds, where these are many."""
    main = designs.contrasts("factorial", layout("factorial", fraction=1), 4)
    n, _ = stats.seeds_planned(main, 1.0, 0.2)
    assert n == stats.seeds_needed(0.2, 0.5, alpha=0.05 / 4)
    assert 4 * n == pytest.approx(stats.seeds_needed(0.2, 1.0, alpha=0.05 / 4), rel=0.05)


def resolved(rng, studies, n, effect, test, spread=0.0):
    """The share of simulated ladders whose one true gain is said to help, as tables have it; s.d. of gains is 1."""
    draws = []
    for _ in range(studies):
        unit = np.exp(spread * rng.normal(size=(10, 1)) - spread**2) / math.sqrt(2)
        draws.append(np.diff(rng.normal(size=(1, n)) + unit * rng.normal(size=(10, n)), axis=0))
    found = []
    for rows in draws:
        true = int(rng.integers(9))
        rows[true] += effect
        judged = simulations.leant(rows)[test == "moderated"]
        found.append(judged[true] <= 0.05 and rows[true].mean() > 0)
    return float(np.mean(found))


@pytest.mark.parametrize(("test", "effect", "spread"), [("t", 1.5, 0), ("moderated", 1.5, 0), ("moderated", 1.5, 0.4)])
def test_the_seeds_planned_have_the_power_that_is_told(test, effect, spread):
    n, power = stats.seeds_planned(LADDER, 1.0, effect, 0.8, spread, test)
    assert power >= 0.8
    studies = 300
    share = resolved(np.random.default_rng(4), studies, n, effect, test, spread)
    assert share == pytest.approx(power, abs=binomial(0.8, studies) + 0.02)  # the planner simulates too
    assert stats.curve(LADDER, 1.0, n - 1, spread, test)(effect) < 0.8, "and fewer would not do"


def test_moderated_tests_need_fewer_seeds_and_less_so_of_unlike_rungs():
    """At one s.d. of the gain, which is the root mean square: of unlike rungs many are quieter, and d₀ is small."""
    plain, leaning = (stats.seeds_planned(LADDER, 1.0, 1.5, test=test)[0] for test in ("t", "moderated"))
    assert leaning < plain
    gained = {}
    for spread in (0.0, 1.0):
        t, moderated = (stats.curve(LADDER, 1.0, 5, spread, test)(1.5) for test in ("t", "moderated"))
        gained[spread] = moderated - t
    assert gained[0.0] > 0.15 > 0.1 > gained[1.0]
    many = stats.seeds_planned(LADDER, 1.0, 0.25, test="moderated")[0]
    assert many > seeds.MANY, "where each has seeds enough, it is the plain test at a share of the level"
    assert many == stats.seeds_needed(0.25, 1.0, alpha=0.05 * 0.8 / 9)


def test_shapley_values_by_simulation():
    """Holm over k values, t-tests over seeds, as frames.effects makes them."""
    exact = layout("shapley")
    c = designs.contrasts("shapley", exact, 4)
    n, power = stats.seeds_planned(c, 1.0, 0.5)
    rng, studies, hits = np.random.default_rng(5), 1500, 0
    for _ in range(studies):
        values = (c @ (rng.normal(size=(16, n)) / math.sqrt(2) + rng.normal(size=n))).T
        values[:, 0] += 0.5
        p = scipy.stats.ttest_1samp(values, 0).pvalue
        hits += stats.holm(p)[0] <= 0.05
    assert hits / studies == pytest.approx(power, abs=binomial(0.8, studies) + 0.01)


def test_the_least_effect_is_the_inverse_and_limits_are_told():
    for test in ("t", "moderated"):
        power_of = stats.curve(LADDER, 2.0, 6, test=test)
        least = stats.least_effect(power_of, 2.0)
        assert power_of(least) >= 0.8 > power_of(least - 0.01)
    assert stats.least_effect(lambda effect: 0.0, 1.0) == math.inf
    assert stats.seeds_planned(LADDER, 1.0, 0.005) is None
    with pytest.raises(ValueError, match="effect of 0"):
        stats.seeds_planned(LADDER, 1.0, 0)
