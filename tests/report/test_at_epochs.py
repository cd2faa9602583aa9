"""Top-1 after chosen epochs, against numbers done by hand, beside published cells of a file of its own."""

import csv
import io

import pytest

from harness import Problem, report
from harness.report import at_epochs
from harness.store import Store
from tests.kit.records import plan, record
from tests.kit.tiny import finish


def told(*top1, name="top1", status="finished"):
    """A record whose epochs have these accuracies."""
    made = record(top1[-1], status=status)
    return made | {"epochs": [{"epoch": i, "loss": 1.0, name: value} for i, value in enumerate(top1)]}


@pytest.fixture
def three(tmp_path):
    """A store where `baseline` rises by 10 an epoch, and `one` and `two` lie 1 and 2 above; seeds 0, 2 and 4 apart."""
    store = Store(tmp_path / "runs" / "store")
    for place, name in enumerate(("baseline", "one", "two")):
        for seed in range(3):
            finish(store, name, seed, told(*(10.0 * epoch + 2 * seed + place for epoch in (1, 2, 3))))
    return store


@pytest.fixture
def published(tmp_path, monkeypatch):
    monkeypatch.setattr(at_epochs, "FOLDER", tmp_path)
    (tmp_path / "s.csv").write_text(
        "row,column,metric,value,epoch,rung,note\n"
        "E2,One,accuracy,0.21,2,one,Odd it is.\nE3,One,accuracy,0.29,3,one,Odd it is.\nE3,Two,top1,33,3,two,\n"
    )


def values(text):
    return {(row["rung"], int(row["epoch"])): row for row in csv.DictReader(io.StringIO(text))}


def test_means_and_intervals_are_those_of_the_epoch(three, published):
    """Of 12, 14 and 16: 14 ± 4.303 · 2/√3, by a table of Student's t with two degrees of freedom."""
    text, made = at_epochs.compare(plan(), report.finished(plan(), three), [3, 1, 3])
    cells = values(made)
    assert list(cells) == [(name, epoch) for name in ("baseline", "one", "two") for epoch in (3, 1)]
    for place, name in enumerate(("baseline", "one", "two")):
        for epoch in (1, 3):
            row = {key: float(cells[name, epoch][key]) for key in ("mean", "low", "high", "n")}
            mean = 10 * epoch + 2 + place
            assert row == pytest.approx({"mean": mean, "low": mean - 4.968, "high": mean + 4.968, "n": 3}, abs=1e-3)
    (row,) = [line for line in text.splitlines() if line.startswith("| baseline")]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [r"32.00 [27.03, 36.97]", r"12.00 [7.03, 16.97]"]


def test_published_numbers_stand_below_their_rung_in_percent(three, published):
    text, made = at_epochs.compare(plan(), report.finished(plan(), three), [1, 2, 3])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["baseline", "+ one", "+ one, published", "+ two", "+ two, published"]
    assert rows[4][1:] == ["–", "21", "29"]
    assert rows[6][1:] == ["–", "–", "33"]
    assert {key: row["published"] for key, row in values(made).items() if row["published"]} == {
        ("one", 2): "21.0",
        ("one", 3): "29.0",
        ("two", 3): "33.0",
    }
    assert text.count("Odd it is.") == 1


def test_that_epochs_were_measured_on_a_few_images_is_said(three, published):
    every = report.finished(plan(), three)
    assert "--curve-images" not in at_epochs.compare(plan(), every, [1])[0]
    every.at[every.index[0], "curve_images"] = 1200
    told = "Curves of 1 of 9 runs are of 1,200 of the test images, but for the last point: --curve-images."
    assert told in at_epochs.compare(plan(), every, [1])[0]


def test_a_study_that_nobody_published_has_none(three, tmp_path, monkeypatch):
    monkeypatch.setattr(at_epochs, "FOLDER", tmp_path)
    text, made = at_epochs.compare(plan(), report.finished(plan(), three), [1])
    assert "ublished" not in text
    assert {row["published"] for row in values(made).values()} == {""}


def test_epochs_that_no_run_has_are_said_in_a_line(three, published):
    text, made = at_epochs.compare(plan(), report.finished(plan(), three), [0, 2, 4, -1])
    assert {epoch for _, epoch in values(made)} == {2}
    assert [line for line in text.splitlines() if "No run has" in line] == [
        "- No run has epoch 0, 4, -1: the longest has 3."
    ]
    with pytest.raises(Problem, match=r"^s: no run has epoch 4, 0: the longest has 3; give --at epochs from 1 to 3$"):
        at_epochs.compare(plan(), report.finished(plan(), three), [4, 0])


def test_a_run_that_diverged_keeps_its_accuracy_and_one_that_stopped_is_not_there(tmp_path, published):
    store = Store(tmp_path / "runs")
    finish(store, "baseline", 0, told(50.0, 10.0, status="diverged"))
    finish(store, "baseline", 1, told(50.0, 60.0, 70.0))
    finish(store, "one", 0, told(40.0, 50.0))
    finish(store, "one", 1, told(40.0, 52.0, 54.0))
    finish(store, "two", 0, told(90.0, 90.0, 90.0, status="refused"))
    text, made = at_epochs.compare(plan(), report.finished(plan(), store), [2, 3])
    cells = values(made)
    assert [(cells["baseline", epoch]["mean"], cells["baseline", epoch]["n"]) for epoch in (2, 3)] == [
        ("35.0", "2"),
        ("40.0", "2"),
    ]
    assert [cells["one", epoch]["mean"] for epoch in (2, 3)] == ["51.0", "54.0"]
    assert [cells["one", epoch]["n"] for epoch in (2, 3)] == ["2", "1"]
    assert {rung for rung, _ in cells} == {"baseline", "one"}, "no run of the other counts"
    assert "54.00 (n = 1)" in text
    assert "over n = 2 seeds" in text


def test_images_held_out_are_in_the_place_of_the_test_set_and_said(tmp_path, published):
    store = Store(tmp_path / "runs")
    finish(store, "baseline", 0, told(50.0, 60.0, name="val_top1"))
    text, made = at_epochs.compare(plan(), report.finished(plan(), store), [2])
    assert values(made)["baseline", 2]["mean"] == "60.0"
    assert "held out of training" in text


def test_the_table_of_the_optimizers_is_as_the_report_prints_it():
    """Table II by hand: the first and the last row, and the sum of each column."""
    cells = at_epochs.read("mnist_optimizers")
    assert sorted(set(cells["epoch"])) == list(range(10, 101, 10))
    by = {name: own.set_index("epoch")["percent"] for name, own in cells.groupby("column")}
    assert {name: (own[10], own[100], round(own.sum())) for name, own in by.items()} == {
        "SAM": (41, 81, 703),
        "ADAMP": (11, 69, 463),
        "EXPECTIGRAD": (89, 90, 899),
    }


def test_the_command_writes_both_files(three, published, monkeypatch, capsys, tmp_path):
    from harness.report import __main__ as command

    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    report.remember(plan() | {"about": "", "command": ["s"]})
    command.run(command.parser().parse_args(["s", "--at", "1", "2", "--to", str(tmp_path / "made")]))
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"at_epochs.md", "at_epochs.csv"}
    out = capsys.readouterr().out
    assert (tmp_path / "made" / "at_epochs.md").read_text() in out
    with pytest.raises(SystemExit):
        command.parser().parse_args(["s", "--at", "1", "--table", "1"])
