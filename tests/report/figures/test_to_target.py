import math

import numpy as np
import pandas as pd
import pytest

from harness import stats
from harness.report import figures
from tests.kit.figures import lines

EPOCHS = [{0: 11.5, 1: 10.5, 2: 11.0}, {0: 6.5, 1: 5.0, 2: 6.0}, {}]


@pytest.fixture
def table():
    saved = stats.t_interval([5.0, 5.5, 5.0])
    rows = [
        {
            "place": place,
            "title": title,
            "n": 3,
            "ended": True,
            "epochs": np.mean(list(own.values())) if own else math.nan,
            "epochs_by_seed": own,
            "epochs_saved": 31 / 6 if place == 1 else math.nan,
            "epochs_saved_low": saved[0] if place == 1 else math.nan,
            "epochs_saved_high": saved[1] if place == 1 else math.nan,
            "epochs_verdict": "helps" if place == 1 else "",
        }
        for place, (title, own) in enumerate(zip(["baseline", "warm", "slow"], EPOCHS, strict=True))
    ]
    return pd.DataFrame(rows)


def test_every_seed_is_a_dot_and_means_and_savings_have_their_intervals(table):
    left, right = figures.to_target("s", table, 90, "top-1").axes
    seeds = [sorted(dots.get_offsets()[:, 0]) for dots in left.collections if dots.get_label() == "seeds"]
    assert seeds == [sorted(own.values()) for own in EPOCHS]
    assert [float(dot.get_xdata()[0]) for dot in lines(left, "resolved")] == pytest.approx([11.0, 35 / 6])
    assert [float(dot.get_xdata()[0]) for dot in lines(right, "resolved")] == pytest.approx([31 / 6])
    assert [text.get_text() for text in left.texts] == ["not reached"]
    assert left.get_xlabel() == "epochs to 90 % top-1"
    assert left.get_xlim()[0] >= 0


def test_a_saving_that_is_not_resolved_is_hollow_and_a_rung_that_is_not_over_is_said(table):
    table["epochs_verdict"] = ["", "not resolved", ""]
    table.loc[2, "ended"] = False
    left, right = figures.to_target("s", table, 90, "top-1").axes
    assert len(lines(right, "open")) == 1
    assert not lines(right, "resolved")
    assert [text.get_text() for text in left.texts] == ["to be run"]


def test_where_no_rung_has_reached_it_there_is_no_figure(table):
    table["epochs_by_seed"] = [{}, {}, {}]
    assert figures.to_target("s", table, 90, "top-1") is None
