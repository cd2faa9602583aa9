import math

import numpy as np
import pytest

from harness.report import figures
from tests.kit.figures import effects_of, lines, runs_of


def dots(axis):
    """(x, y) of each seed, and the marks that stand for them."""
    seeds = [c for c in axis.collections if c.get_label() == "seeds"]
    return np.concatenate([c.get_offsets() for c in seeds]), [len(c.get_offsets()) for c in seeds]


# --- forest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "seeds"), [(2, 1), (3, 2), (10, 5), (40, 3)])
def test_every_seed_and_every_pair_is_a_dot(n, seeds):
    every, table, gains = runs_of(n, seeds)
    left, right = figures.forest("s", every, table, gains).axes
    at, _ = dots(left)
    assert sorted(at[:, 0]) == pytest.approx(sorted(every["top1"]))
    assert set(at[:, 1].round()) == set(range(n))
    (pairs,) = (dots.get_offsets()[:, 0] for dots in right.collections if dots.get_label() == "pairs")
    assert len(pairs) == (n - 1) * seeds
    assert sorted(pairs) == pytest.approx(sorted(g for own in gains.values() for _, g in own))
    for axis, x in ((left, at[:, 0]), (right, pairs)):
        assert axis.get_xlim()[0] < min(x)
        assert max(x) < axis.get_xlim()[1]


def test_many_dots_are_faint_pixels_of_the_same_seeds_and_pairs(monkeypatch, tmp_path):
    every, table, gains = runs_of(4, 30, diverged={(1, 0)})
    few = figures.save(tmp_path, "few", figures.forest("s", every, table, gains))
    monkeypatch.setattr("harness.report.figures.gains.CROWD", 80)
    figure = figures.forest("s", every, table, gains)
    left, right = figure.axes
    (seeds,), (pairs,) = lines(left, "seeds"), lines(right, "pairs")
    good = every[every["status"] == "finished"]
    assert sorted(seeds.get_xdata()) == pytest.approx(sorted(good["top1"]))
    assert sorted(pairs.get_xdata()) == pytest.approx(sorted(g for own in gains.values() for _, g in own))
    for line, rows in ((seeds, good["place"]), (pairs, [place for place, own in gains.items() for _ in own])):
        up = np.array(rows) - line.get_ydata()  # of a row, towards the one above
        assert line.get_rasterized()
        assert figures.BESIDE / 2 <= up.min() < up.max() < 0.5
        assert len(np.unique(up.round(9))) == len(up), "they do not lie on each other"
    assert [len(dots.get_offsets()) for dots in left.collections] == [1], "what diverged still says which run it is"
    many = figures.save(tmp_path, "many", figure)
    assert "rung 3, seed 29: " in few
    assert "rung 3, seed 29: " not in many
    assert "rung 3: " in many, "the mean says its number"
    assert many.count("<image") > few.count("<image") == 0
    assert len(many.split("<image")) < 10


def test_a_gain_is_hollow_unless_it_helps_or_hurts():
    every, table, gains = runs_of(10)
    table.loc[9, "verdict"] = ""
    right = figures.forest("s", every, table, gains).axes[1]
    hollow = {round(float(m.get_ydata()[0])): m.get_mfc() == "white" for m in lines(right, "open")}
    filled = {round(float(m.get_ydata()[0])): m.get_mfc() == m.get_color() for m in lines(right, "resolved")}
    assert hollow == {2: True, 3: True, 6: True, 7: True, 9: True}
    assert filled == {1: True, 4: True, 5: True, 8: True}
    color = {round(float(m.get_ydata()[0])): m.get_color() for m in lines(right, "resolved")}
    assert color[4] == color[8] != color[1] == color[5]


def test_a_diverged_run_is_marked_and_a_refused_one_is_not_there():
    every, table, gains = runs_of(3, diverged={(1, 0)})
    every.loc[8, "status"] = "refused"
    left = figures.forest("s", every, table, gains).axes[0]
    at, counts = dots(left)
    assert counts == [7, 1]
    assert list(at[-1]) == pytest.approx([10, 1 - figures.BESIDE / 2])
    assert "diverged" in left.get_xlabel()
    assert every["top1"][8] not in at[:, 0]


def test_each_point_says_rung_seed_and_run():
    every, table, gains = runs_of(3, diverged={(1, 0)})
    left, right = figures.forest("s", every.assign(id="abc"), table, gains).axes
    finished, diverged = (dots.get_urls() for dots in left.collections if dots.get_label() == "seeds")
    assert finished[0] == f"rung 0, seed 0: {every['top1'][0]:.2f} %, run abc/0"
    assert diverged == ["rung 1, seed 0: 10.00 %, diverged, run abc/0"]
    pairs = next(dots for dots in right.collections if dots.get_label() == "pairs").get_urls()
    assert pairs[-1] == f"rung 2, seed 2: {gains[2][2][1]:+.2f} points"
    means = [line.get_url() for line in (*lines(right, "resolved"), *lines(right, "open"))]
    row = table.loc[1]
    assert f"rung 1: {row['gain']:+.2f} points [{row['gain_low']:+.2f}, {row['gain_high']:+.2f}], hurts" in means


def test_a_design_without_gains_has_one_panel():
    every, table, _ = runs_of(4)
    (axis,) = figures.forest("s", every, table.assign(gain=math.nan), {}).axes
    assert "paired" not in axis.figure._suptitle.get_text()


def test_an_interval_beyond_the_frame_ends_in_an_arrow():
    every, table, gains = runs_of(3)
    table.loc[1, ["gain_low", "gain_high"]] = [-1000.0, 1000.0]
    right = figures.forest("s", every, table, gains).axes[1]
    assert {m.get_marker() for m in right.lines if round(float(np.ravel(m.get_ydata())[0])) == 1} >= {"<", ">"}
    assert max(map(abs, right.get_xlim())) < 50


# --- effects and cost ------------------------------------------------------------------------------------------------


def test_effects_are_bars_main_ones_first():
    table = effects_of(
        ("a × b", "b", "a"), main=[False, True, True], aliases=["c × d", "", ""], order_se=[math.nan, 0.1, 0.2]
    )
    axis = figures.effects("s", table).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a", "a × b\nor c × d"]
    assert [bar.get_width() for bar in axis.patches] == [0.5, 1.5, -0.5]
    assert [bar.get_facecolor()[3] > 0 for bar in axis.patches] == [True, False, True]
    spans = [list(line.get_xdata()) for line in lines(axis, "orders")]
    assert spans == [pytest.approx([0.4, 0.6]), pytest.approx([1.3, 1.7])]
    assert axis.get_ylim()[0] > axis.get_ylim()[1]
