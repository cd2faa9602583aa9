import math

import pytest

from harness.report import figures
from tests.kit.figures import lines, runs_of

BELOW = {1: 0, 2: 1, 3: 2}


def drawn(table, below):
    return figures.waterfall("s", table, below).axes[0]


def test_a_bar_goes_from_the_rung_below_by_the_gain():
    _, table, _ = runs_of(4)
    axis = drawn(table, BELOW)
    means = table["top1_mean"]
    assert [bar.get_x() for bar in axis.patches] == pytest.approx(list(means[:3]))
    assert [bar.get_width() for bar in axis.patches] == pytest.approx(list(table["gain"][1:]))
    spans = [list(line.get_xdata()) for line in lines(axis, "interval")]
    left, right = axis.get_xlim()
    due = [(means[i - 1] + table["gain_low"][i], means[i - 1] + table["gain_high"][i]) for i in (1, 2, 3)]
    assert spans == [pytest.approx((max(a, left), min(b, right))) for a, b in due]
    assert [bar.get_facecolor()[:3] == (1, 1, 1) for bar in axis.patches] == [False, True, True], "hurts, then open"
    assert [text.get_text() for text in axis.texts][1:] == [f"{gain:+.2f}" for gain in table["gain"][1:]]


def test_a_way_that_branches_starts_at_its_own_rung():
    _, table, _ = runs_of(4)
    assert drawn(table, BELOW | {3: 0}).patches[-1].get_x() == pytest.approx(table["top1_mean"][0])


def test_one_gain_is_no_waterfall():
    _, table, _ = runs_of(2)
    assert figures.waterfall("s", table, {1: 0}) is None
    _, table, _ = runs_of(4)
    assert figures.waterfall("s", table.assign(gain=math.nan), BELOW) is None
