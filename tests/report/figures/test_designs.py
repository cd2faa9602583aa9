import math

import pytest

from harness.report import figures
from harness.report.figures.designs import limit
from tests.kit.figures import lines

TOLD = {
    "ladder": {
        "a": (1.0, 0.5, 1.5, "helps"),
        "b": (-30.0, -31.0, -29.0, "hurts"),
        "c": (0.5, -1.0, 2.0, "not resolved"),
    },
    "each trick alone": {"a": (2.0, math.nan, math.nan, ""), "b": (-1.0, -1.5, -0.5, "hurts")},
}


def test_a_panel_a_design_and_a_row_a_trick():
    first, second = figures.designs("s", ["a", "b", "c"], TOLD).axes
    assert [axis.get_title() for axis in (first, second)] == list(TOLD)
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in first.texts] == ["+1.00", "-30.00", "+0.50"]
    assert [text.get_text() for text in second.texts] == ["+2.00", "-1.00"]
    assert [line.get_xdata()[0] for line in lines(first, "resolved")] == [1.0]
    assert [line.get_xdata()[0] for line in lines(first, "open")] == [0.5]
    assert first.get_xlim() == second.get_xlim()


def test_what_leaves_the_frame_is_an_arrow_that_says_its_number():
    first, _ = figures.designs("s", ["a", "b", "c"], TOLD).axes
    low, high = first.get_xlim()
    assert (low, high) == pytest.approx((-limit([1, 2, -30, -1, 0.5]), limit([1, 2, -30, -1, 0.5])))
    assert high < 10
    (arrow,) = [line for line in first.lines if "-30.00" in (line.get_url() or "")]
    assert (arrow.get_marker(), arrow.get_xdata()[0]) == ("<", low)
    assert arrow.get_url() == "b, ladder: -30.00 points [-31.00, -29.00], hurts"


@pytest.mark.parametrize(
    ("gains", "due"),
    [([1, -2, 2.5], 1.15 * 2.5), ([], 1), ([0.0, math.nan], 1), ([1, 1, 1, 1, -30], 1.15 * 1.5)],  # quartile: 1
)
def test_how_wide_the_axis_is(gains, due):
    assert limit(gains) == pytest.approx(due)
