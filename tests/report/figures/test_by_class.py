import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from harness.report import figures
from harness.report.figures import HELPS, HURTS


def found(classes, rungs=2):
    """Class c of rung r has (r + 1)(c - 3) / 10 points."""
    rows = [
        {"place": r, "title": f"rung {r}", "class": f"c{c}", "gain": (r + 1) * (c - 3) / 10, "low": -9.0, "high": 9.0}
        | {"resolved": (r, c) == (1, 0)}
        for r in range(rungs)
        for c in range(classes)
    ]
    return pd.DataFrame(rows)


def test_a_cell_for_each_class_with_its_number_and_colour():
    axis = figures.by_class("s", found(4)).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["c0", "c1", "c2", "c3"]
    due = [-0.3, -0.2, -0.1, 0, -0.6, -0.4, -0.2, 0]
    assert [text.get_text() for text in axis.texts] == [f"{gain:+.2f}" for gain in due]
    assert [text.get_fontweight() for text in axis.texts] == [*["normal"] * 4, "bold", *["normal"] * 3]
    red, _, blue = np.array([cell.get_facecolor()[:3] for cell in axis.patches]).T
    assert (red - blue)[3] == (red - blue)[7] == 0, "no gain is white"
    assert sorted(range(8), key=lambda i: (red - blue)[i]) == sorted(range(8), key=lambda i: -due[i])
    assert axis.patches[0].get_url() == "rung 0, class c0: -0.30 points [-9.00, +9.00]"
    assert axis.patches[4].get_url() == "rung 1, class c0: -0.60 points [-9.00, +9.00], resolved"


def test_a_gain_and_a_loss_have_their_colours_and_what_is_not_known_none():
    table = found(7)
    table.loc[0, "gain"] = float("nan")
    axis = figures.by_class("s", table).axes[0]
    assert axis.texts[0].get_text() == "–"
    assert len({*axis.patches[0].get_facecolor()[:3]}) == 1, "grey"
    ends = [np.array(axis.patches[i].get_facecolor()) for i in (7, 13)]
    for end, hue in zip(ends, (HURTS, HELPS), strict=True):
        assert end == pytest.approx(1 + (np.array(to_rgba(hue)) - 1) / 1.15, abs=0.01), (
            "as far from white as it is large"
        )


def test_of_many_classes_the_most_changed_are_shown_and_points_of_top_1_still_add_up():
    axis = figures.by_class("s", found(30)).axes[0]
    names = [label.get_text() for label in axis.get_xticklabels()]
    assert names == [*(f"c{c}" for c in range(18, 30)), "others"]
    numbers = [float(text.get_text()) for text in axis.texts]
    assert sum(numbers[:13]) == pytest.approx(sum((c - 3) / 10 for c in range(30)), abs=0.01)
    assert "others" not in [
        label.get_text() for label in figures.by_class("s", found(30), "mAP").axes[0].get_xticklabels()
    ]


def test_one_rung_or_one_class_is_no_figure():
    assert figures.by_class("s", found(4, rungs=1)) is None
    assert figures.by_class("s", found(1)) is None
