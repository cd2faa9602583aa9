import math

import numpy as np
import pytest

from harness.report import figures
from tests.kit.figures import EPOCHS, lines, runs_of


@pytest.mark.parametrize("seed", range(30))
def test_pareto_is_what_nothing_beats(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, (2, 12)).astype(float)
    y[rng.random(12) < 0.1] = math.nan
    there = [i for i in range(12) if y[i] == y[i]]
    beaten = {
        i for i in there for j in there if x[j] <= x[i] and y[j] >= y[i] and (x[j] < x[i] or y[j] > y[i])
    }  # fmt: skip
    front = figures.pareto(x, y)
    assert sorted(front) == sorted(set(there) - beaten)
    assert list(x[front]) == sorted(x[front])


def test_points_of_cost_are_where_their_cost_and_mean_are():
    every, table, _ = runs_of(12, emulated={3, 5})
    upper, lower = figures.cost("s", every, table).axes
    for axis, x in ((upper, [EPOCHS * (1 + i) for i in range(12)]), (lower, [1 + i % 3 for i in range(12)])):
        points = lines(axis, "rung")
        at = [(float(p.get_xdata()[0]), float(p.get_ydata()[0])) for p in points]
        assert at == [pytest.approx(point) for point in zip(x, table["top1_mean"], strict=True)]
        assert [i for i, p in enumerate(points) if p.get_marker() == "s"] == [3, 5]
        (front,) = lines(axis, "front")
        assert max(front.get_ydata()) == pytest.approx(table["top1_mean"].max())
        assert {text.get_text() for text in axis.texts} == set(figures.names(table))
    assert (upper.get_xscale(), lower.get_xscale()) == ("log", "linear")


def test_of_many_rungs_the_first_and_the_front_are_named():
    every, table, _ = runs_of(20)
    upper = figures.cost("s", every, table).axes[0]
    front = figures.pareto(table["seconds_per_epoch"] * table["epochs"], table["top1_mean"])
    assert {text.get_text() for text in upper.texts} == {f"rung {i}" for i in {0, *front}}


def test_costs_that_are_alike_have_no_axis_and_linear_ones_start_at_0():
    every, table, _ = runs_of(3)
    alike = table.assign(gmacs=[0.00355, 0.0036, 0.0039])
    (axis,) = figures.cost("s", every, alike).axes
    assert axis.get_xlabel() == "seconds of training a run"
    assert axis.get_xlim()[0] == 0
    assert "3.55 to 3.9 MFLOPs an image" in axis.figure._suptitle.get_text()
    _, lower = figures.cost("s", every, alike.assign(gmacs=[0.001, 0.001, 0.003])).axes
    assert lower.get_xlabel() == "MFLOPs of one image's forward"
    assert lower.get_xlim()[0] == 0
    said = [point.get_url() for point in lines(lower, "rung")]
    assert said[2] == f"rung 2: {table['top1_mean'][2]:.2f} %, 3 MFLOPs"
