import math

import numpy as np
import pandas as pd
import pytest

from harness.report import figures, frames
from tests.kit import transfers
from tests.kit.figures import lines


@pytest.fixture
def drawn(store):
    transfers.fill(store)
    p = transfers.plan()
    every = frames.runs(p, store)
    return frames.rungs(p, every), frames.backbones(p, store, every)


def test_each_rung_is_a_dot_at_its_means_with_both_spreads_and_every_seed(drawn):
    table, both = drawn
    (axis,) = figures.transfer("s", table, both, "mAP").axes
    at = [(float(dot.get_xdata()[0]), float(dot.get_ydata()[0])) for dot in lines(axis, "rung")]
    assert at == [pytest.approx((np.mean(x), np.mean(y))) for x, y in transfers.LADDER.values()]
    small = [tuple(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in lines(axis, "seeds")]
    assert small == [tuple(zip(x, y, strict=True)) for x, y in transfers.LADDER.values()]
    bars = [np.ptp(line.get_xdata()) or np.ptp(line.get_ydata()) for line in lines(axis, "s.d.")]
    assert bars == pytest.approx([2 * np.std(v, ddof=1) for two in transfers.LADDER.values() for v in two])
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    for line in axis.lines:
        if line.get_label() in ("seeds", "s.d.", "rung"):
            assert left < min(line.get_xdata()) <= max(line.get_xdata()) < right
            assert low < min(line.get_ydata()) <= max(line.get_ydata()) < high
    assert [text.get_text() for text in axis.texts] == [f"{title} §" for title in table["title"]]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("top-1 of the backbone by itself (%)", "mAP (%)")


def test_one_seed_has_no_spread_and_fewer_than_two_rungs_no_figure(drawn):
    table, both = drawn
    (axis,) = figures.transfer("s", table, both[both["seed"] == 0], "mAP").axes
    assert len(lines(axis, "rung")) == 7
    assert not lines(axis, "s.d.")
    lost = both.assign(
        backbone_value=[value if place else math.nan for place, value in both[["place", "backbone_value"]].values]
    )
    (axis,) = figures.transfer("s", table, lost, "mAP").axes
    assert len(lines(axis, "rung")) == 6
    assert figures.transfer("s", table, both[both["place"] == 1], "mAP") is None
    assert figures.transfer("s", table, pd.DataFrame(columns=both.columns), "mAP") is None
    assert figures.transfer("s", table, both.assign(backbone_score=["top1", "mAP", "top1"] * 7), "mAP") is None
