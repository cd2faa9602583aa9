import csv
import io

import pytest

from harness import Problem
from harness.report import beside, frames, side_by_side
from tests.kit.findings import fill, made, stack
from tests.kit.records import rung

SCORES = [("baseline", (90.0, 91.0, 92.0)), ("warmup", (91.0, 92.1, 92.9)), ("zero_gamma", (90.0, 91.0, 92.0))]
SCORES += [("mixup", (91.0, 90.0, 92.3)), ("alone", (92.0, 93.1, 93.9))]


def told(store, others, plan=None):
    plan = plan or stack()
    every = frames.runs(plan, store)
    return beside.designs(plan, others, store, frames.rungs(plan, every), None)


def alone(**more):
    rungs = [rung("baseline"), rung("alone", [1, 0], (2,)) | {"title": "+ mixup"}]
    return made("add-one", rungs, ("warmup", "zero_gamma", "mixup")) | more


def test_each_design_tells_its_own_gains(store):
    fill(store, SCORES)
    found = told(store, [alone()])
    assert list(found) == ["ladder", "each trick alone"]
    assert {gain.name: round(gain.value, 6) for gain in found["each trick alone"]} == {"mixup": 2.0}
    assert {gain.name: round(gain.value, 6) for gain in found["ladder"]} == {"LR warmup": 1, "zero γ": -1, "mixup": 0.1}


def test_another_study_other_settings_or_other_runs_are_not_beside_it(store):
    fill(store, SCORES)
    strange = alone()
    strange["rungs"][0] = rung("another baseline")
    for other in (alone(study="t"), alone(settings=["epochs=3"]), alone(tuned={"trials": 8}), strange, stack()):
        assert told(store, [other]) == {}
    assert told(store, [alone(settings=["2 seeds"])]), "how many seeds makes no other run"


# Asked for by name
def test_a_row_a_trick_and_a_column_a_design(store):
    fill(store, SCORES)
    columns = beside.columns([stack(), alone(label="s@add-one")], store)
    assert [column.heading for column in columns] == ["on the ladder", "alone"]
    text, values, told = beside.written(columns)
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    assert lines[0] == ["trick", "on the ladder", "alone"]
    assert lines[1][1:] == ["-" * 14 + ":", "-" * 7 + ":"] or all(cell.endswith(":") for cell in lines[1][1:])
    assert lines[2:] == [["LR warmup", "**+1.00**", "–"], ["zero γ", "**-1.00**", "–"], ["mixup", "+0.10", "**+2.00**"]]
    rows = list(csv.DictReader(io.StringIO(values)))
    assert [(row["trick"], row["of"]) for row in rows][-1] == ("mixup", "s@add-one")
    assert [float(row["gain"]) for row in rows] == pytest.approx([1, -1, 0.1, 2])
    assert [column["runs"] for column in told["columns"]] == [12, 6]
    assert [column["new"] for column in told["columns"]] == [12, 3], "the baseline is shared"
    assert "on the ladder 12 and 12; alone 6 and 3." in text


def test_a_resolved_gain_is_bold_and_the_verdict_is_that_of_its_own_table(store):
    fill(store, SCORES)
    columns = beside.columns([stack(), alone(label="s@add-one")], store)
    own = frames.rungs(stack(), frames.runs(stack(), store)).set_index("title")["verdict"]
    told = {gain.name: gain.verdict for gain in columns[0].gains}
    assert told["mixup"] == own["+ mixup"]
    assert told["mixup"].startswith("not resolved")


def test_other_studies_are_called_by_their_names(store):
    fill(store, SCORES)
    columns = beside.columns([stack(), alone(study="t", label="t@add-one")], store)
    assert [column.heading for column in columns] == ["s", "t@add-one"]
    twice = beside.columns([stack(), stack(label="s@few") | {"settings": ["2 seeds"]}], store)
    assert [column.heading for column in twice] == ["s", "s@few"], "of one design"


def test_what_cannot_be_set_side_by_side_is_said(store):
    fill(store, SCORES)
    with pytest.raises(Problem, match="--beside: s is there twice"):
        beside.columns([stack(), stack()], store)
    with pytest.raises(Problem, match="--beside: s has no gain to tell"):
        beside.columns([made("ladder", [rung("baseline"), rung("never", [1, 0])], ()), alone(label="x")], store)


def test_it_is_written_with_a_figure(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    fill(store, SCORES)
    done = side_by_side([stack(), alone(label="s@add-one")], store)
    assert done.folder == tmp_path / "reports" / "s-beside"
    assert {path.name for path in done.folder.iterdir()} == {"beside.md", "beside.csv", "beside.png", "beside.svg"}
    assert done.told["columns"][1]["heading"] == "alone"
