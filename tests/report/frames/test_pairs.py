import math

import pytest

from harness import Problem, report
from harness.report import frames
from tests.kit.records import designed, rows, rung
from tests.kit.tiny import known


def test_rungs_whose_every_run_is_bit_for_bit_anothers_are_refused(store):
    """Of one seed alone it may be: a run that was kept at an early epoch, say."""
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0], may=["rates"])])
    for seed in range(3):
        for name in ("baseline", "one"):
            store.add(name, seed, 90.0, network=f"n{seed}", seen={"order": f"{seed}"})
    assert rows(store, p).loc["one", "verdict"] == "refused: bit for bit the runs of baseline"
    assert math.isnan(rows(store, p).loc["one", "gain"])
    store.add("one", 1, 90.0, network="n1", seen={"order": "1", "rates": "r"})
    assert not rows(store, p).loc["one", "verdict"].startswith("refused")
    store.add("one", 1, 91.0, network="n1", seen={"order": "1"})
    assert not rows(store, p).loc["one", "verdict"].startswith("refused"), "one network, tested by other views"
    store.add("one", 1, 90.0, network="another", seen={"order": "1"})
    assert not rows(store, p).loc["one", "verdict"].startswith("refused")


def test_rungs_that_differ_in_what_nothing_explains_are_not_compared(full, store):
    full.add("one", 1, 92.0, seen={"order": "b", "targets": "y"})
    full.add("baseline", 1, 91.0, seen={"order": "a", "targets": "x"})
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0], may=["targets"])])
    table = rows(full, p)
    assert table.loc["one", "verdict"] == "not comparable: differs in order"
    assert math.isnan(table.loc["one", "gain"])
    with pytest.raises(Problem, match="one and baseline differ in order at seed 1, though only targets was changed"):
        report.compare(p, full, (known("one"), 1))
    report.compare(p, full, (known("one"), 0))
    full.add("one", 1, 92.0, seen={"order": "b", "targets": "y"}, device="another")
    assert "not comparable" not in rows(full, p).loc["one", "verdict"], "on other hardware bits differ anyway"
    assert frames.marks(rows(full, p).loc["one"]) == "¶"


@pytest.mark.parametrize(
    ("above", "below", "marked"),
    [
        ({"Pillow": "12"}, {"Pillow": "13"}, True),
        ({"libjpeg_turbo": "2"}, {"libjpeg_turbo": "3"}, True),
        ({"timm": "1", "imgaug": "0.4.0"}, {"timm": "1", "imgaug": "0.3.0"}, True),
        ({"timm": "1"}, {}, True),  # a record of before, which does not tell
        ({}, {}, False),
        ({"timm": "1"}, {"timm": "1"}, False),
        ({"pandas": "2", "python": "3.11"}, {"pandas": "3", "python": "3.12"}, False),
    ],
)
def test_pixels_of_another_librarys_version_are_marked_and_not_called_a_difference(full, above, below, marked):
    full.add("one", 1, 92.0, seen={"images": "b"}, libraries=above)
    full.add("baseline", 1, 91.0, seen={"images": "a"}, libraries=below)
    row = rows(full, designed("ladder", [rung("baseline"), rung("one", [1, 0])])).loc["one"]
    assert frames.marks(row) == ("¶" if marked else "")
    assert row["verdict"].startswith("not comparable: differs in images") == (not marked)


@pytest.mark.parametrize("status", ["diverged", "finished"])
def test_a_run_that_diverged_or_stopped_early_is_compared_all_the_same(full, status):
    full.add("baseline", 0, 90.0, seen={"steps": "a", "rates": "x", "order": "o"})
    full.add("one", 0, 10.0, status=status, epochs=1, seen={"steps": "b", "rates": "y", "order": "o"})
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0], may=["targets"])])
    report.compare(p, full, (known("one"), 0))
    assert "not comparable" not in rows(full, p).loc["one", "verdict"]
    full.add("one", 0, 10.0, status=status, epochs=1, seen={"steps": "b", "rates": "y", "order": "p"})
    with pytest.raises(Problem, match="differ in order at seed 0"):
        report.compare(p, full, (known("one"), 0))
    full.add("one", 0, 10.0, status=status, seen={"steps": "b", "rates": "y", "order": "o"})
    with pytest.raises(Problem, match="differ in rates, steps at seed 0"):
        report.compare(p, full, (known("one"), 0))
