import pandas as pd
import pytest

from harness.report import figures


def found(classes, rungs=2):
    """Class c of rung r has (r + 1)(c - 3) / 10 points."""
    rows = [
        {"place": r, "title": f"rung {r}", "class": f"c{c}", "gain": (r + 1) * (c - 3) / 10, "low": -9.0, "high": 9.0}
        for r in range(rungs)
        for c in range(classes)
    ]
    return pd.DataFrame(rows)


def test_a_bar_for_each_class_and_its_number():
    axis = figures.by_class("s", found(4)).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["c0", "c1", "c2", "c3"]
    widths = [bar.get_width() for bar in axis.patches]
    due = [-0.3, -0.6, -0.2, -0.4, -0.1, -0.2, 0, 0]
    assert widths == pytest.approx([0.44 * gain / 0.6 for gain in due])
    assert [text.get_text() for text in axis.texts] == [f"{gain:+.2f}" for gain in due]
    assert axis.patches[0].get_url() == "rung 0, class c0: -0.30 points [-9.00, +9.00]"


def test_of_many_classes_the_most_changed_are_shown_and_points_of_top_1_still_add_up():
    axis = figures.by_class("s", found(30)).axes[0]
    names = [label.get_text() for label in axis.get_xticklabels()]
    assert names == [*(f"c{c}" for c in range(18, 30)), "others"]
    numbers = [float(text.get_text()) for text in axis.texts]
    assert sum(numbers[::2]) == pytest.approx(sum((c - 3) / 10 for c in range(30)), abs=0.01)
    assert "others" not in [
        label.get_text() for label in figures.by_class("s", found(30), "mAP").axes[0].get_xticklabels()
    ]


def test_one_rung_or_one_class_is_no_figure():
    assert figures.by_class("s", found(4, rungs=1)) is None
    assert figures.by_class("s", found(1)) is None
