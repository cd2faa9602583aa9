import pytest

from harness.report import figures
from harness.report.versus import compare, side
from tests.report.versus.conftest import here, there  # noqa: F401


def drawn(found):
    return figures.versus("B over A", found.every, found.table, found.rows, found.paired)


def test_each_seed_is_a_dot_and_each_pair_a_line(here):  # noqa: F811
    left, right = drawn(compare(side("s:baseline"), side("s:one"))).axes
    dots = sorted(float(x) for points in left.collections for x, _ in points.get_offsets())
    assert dots == [50, 62, 64, 75, 85, 88]
    lines = [line.get_xdata().tolist() for line in left.lines if line.get_label() == "pair"]
    assert lines == [[75, 88], [62, 85], [50, 64]]
    gains = sorted(float(points.get_offsets()[0][0]) for points in right.collections)
    assert gains == [13, 14, 23]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["A  s:baseline", "B  s:one"]
    assert [text.get_text() for text in right.texts] == ["+16.67, helps"]
    (mean,) = [line.get_xdata()[0] for line in right.lines if line.get_label() == "resolved"]
    assert mean == pytest.approx(50 / 3)


def test_unpaired_sides_have_no_lines_and_no_pairs(there, here):  # noqa: F811
    left, right = drawn(compare(side("s:one"), side(f"{there}:s:two"))).axes
    assert not [line for line in left.lines if line.get_label() == "pair"]
    assert not right.collections
    assert "unpaired" in right.get_xlabel()
    assert [line.get_label() for line in right.lines if line.get_label() in ("open", "resolved")] == ["open"]


def test_studies_have_a_row_a_rung(there, here):  # noqa: F811
    figure = drawn(compare(side("s"), side(f"{there}:s")))
    left, right = figure.axes
    assert figure.get_suptitle() == "B over A"
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["baseline", "one", "two"]
    assert len(right.texts) == 3
    assert not [line for line in left.lines if line.get_label() == "pair"], "`two` has other seeds there"
    assert not right.collections
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["A", "B"]
