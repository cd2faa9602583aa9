import io
import math
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine
from sklearn.isotonic import IsotonicRegression

from harness.report import figures
from tests.kit.figures import DRAW, runs_of
from tests.kit.hostile import size_of


@pytest.mark.parametrize("seed", range(20))
def test_names_part_as_little_as_they_must(seed):
    rng = np.random.default_rng(seed)
    n, gap = int(rng.integers(1, 20)), 0.05
    wanted = rng.random(n).round(1)
    made = figures.apart(wanted, gap)
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(n)
    fit = IsotonicRegression(y_min=0, y_max=1 - steps[-1]).fit_transform(np.arange(n), wanted[order] - steps)
    assert made[order] == pytest.approx(fit + steps)
    assert (np.diff(made[order]) >= gap - 1e-9).all()


def test_names_part_by_hand():
    assert list(figures.apart([0.5, 0.5], 0.1)) == pytest.approx([0.45, 0.55])
    assert list(figures.apart([0.9, 0.1], 0.1)) == [0.9, 0.1]
    assert list(figures.apart([1, 1, 1], 0.1)) == pytest.approx([0.8, 0.9, 1])
    assert list(figures.apart([0, 0, 0], 0.9)) == pytest.approx([0, 0.5, 1])


def test_a_frame_has_every_point_and_no_more_than_thrice_their_room():
    low, high = figures.frame([1, 2, 3, math.nan], [[0.5, 3.5], [math.nan, math.nan]])
    assert (low, high) == pytest.approx((0.35, 3.65))
    low, high = figures.frame([95.0, 95.0, 95.0], [[95.0, 95.0]])
    assert low < 94.5 < 95.5 < high, "of equal values the axis is a point wide"
    low, high = figures.frame([95.0, 95.1], [])
    assert high - low < 0.12
    low, high = figures.frame([1, 3], [-100, 3.5])
    assert (low, high) == pytest.approx((-3 - 0.325, 3.5 + 0.325))


def test_logarithmic_axes_have_plain_numbers():
    every, table, _ = runs_of(12)
    steep = [[{"epoch": 0, "loss": 100.0, "top1": 1.0}, {"epoch": 1, "loss": 0.1, "top1": 2.0}]] * len(every)
    for axis in (
        figures.curves("s", every.assign(epochs=steep), table).axes[0],
        figures.cost("s", every, table).axes[0],
    ):
        with figures.style():
            axis.figure.draw_without_rendering()
        side = {"log": axis.yaxis}.get(axis.get_yscale(), axis.xaxis)
        assert side.get_scale() == "log"
        told = [label.get_text() for label in side.get_ticklabels()]
        assert len(told) >= 3
        assert [float(text) for text in told] == pytest.approx(list(side.get_majorticklocs()))


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_is_laid_out_once_and_saved_as_matplotlib_would(name, tmp_path, monkeypatch):
    data, laid_out, whole = runs_of(3), [], ConstrainedLayoutEngine.execute
    with figures.style(), mpl.rc_context({"svg.hashsalt": name}):
        buffer = io.BytesIO()
        DRAW[name]("s", *data).savefig(buffer, format="svg", metadata={"Date": None})
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *at: laid_out.append(at) or whole(*at))
    figure = DRAW[name]("s", *data)
    due = re.sub('<a xlink:href="(.*?)" target="_blank">', r"<g><title>\1</title>", buffer.getvalue().decode())
    assert figures.save(tmp_path, name, figure) == due.replace("</a>", "</g>")
    assert len(laid_out) == 1
    assert size_of((tmp_path / f"{name}.png").read_bytes()) == tuple(
        int(side) for side in 160 * figure.get_size_inches()
    )
