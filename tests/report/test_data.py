"""A report for programs, against the Markdown table, the store's records, and MLflow's database."""

import json
import math
import sqlite3

import pandas as pd
import pytest

from harness.report import data, frames, render
from harness.store import Store
from tests.kit.records import plan, record
from tests.kit.tiny import finish, known


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Nine runs, the last of which diverged."""
    store = Store(tmp_path_factory.mktemp("runs") / "store")
    for seed, tops in enumerate([(90.0, 92.0, 91.0), (91.0, 92.0, 93.0), (92.0, 95.0, 0.0)]):
        for name, top1, epochs in zip(("baseline", "one", "two"), tops, (2, 2, 3), strict=True):
            status = "finished" if top1 else "diverged"
            finish(store, name, seed, record(top1, status=status, epochs=epochs, emulated=name == "two"))
    return store


@pytest.fixture(scope="module")
def written(store):
    """The folder of their report; MLflow knows two of them."""
    folder = store.root.parent
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("create table runs (run_uuid text, lifecycle_stage text)")
        database.execute("create table tags (key text, value text, run_uuid text)")
        for seed, stage in ((0, "active"), (1, "deleted")):
            own = store.read(known("one"), seed)
            database.execute("insert into runs values (?, ?)", (f"run{seed}", stage))
            born = own.get("record") or own["digest"]
            database.execute("insert into tags values ('record', ?, ?)", (born, f"run{seed}"))
    database.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return render(plan(), store, folder / "page").folder


def cells(folder):
    """The Markdown table's rows, by rung."""
    lines = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].split(" ‡")[0].split(" †")[0]: dict(zip(head, row, strict=True)) for row in rows}


def test_the_json_says_what_the_markdown_table_says(written):
    told = json.loads((written / "table.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    table = cells(written)
    assert [row["title"] for row in told["rungs"]] == list(table)
    for row in told["rungs"]:
        shown = table[row["title"]]
        assert shown["top-1"] == f"{row['score']['mean']:.2f} ± {row['score']['sd']:.2f}"
        assert shown["n"] == str(row["n"]) == str(len(row["runs"]))
        gain = row["gain"]
        due = f"{gain['value']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]" if gain else "–"
        assert shown["gain over the rung below"] == due
        assert shown["verdict"] == (row["verdict"] or "–")
        mean = sum(run["metrics"]["top1"] for run in row["runs"]) / len(row["runs"])
        assert mean == pytest.approx(row["score"]["mean"])
    assert [row["gain"] and row["gain"]["over"] for row in told["rungs"]] == [None, "baseline", "one"]
    assert told["rungs"][2]["marks"] == ["budget_changed", "emulated"]
    assert (told["format"], told["score"], told["design"], told["effects"]) == (1, "top1", "ladder", None)


def test_runs_are_the_stores_records(written, store):
    runs = pd.read_csv(written / "runs.csv", keep_default_na=False)
    assert runs.equals(pd.read_parquet(written / "runs.parquet").astype(runs.dtypes.to_dict()))
    assert len(runs) == 9
    for row in runs.to_dict("records"):
        own = store.read(row["spec_id"], row["seed"])
        assert row["spec_id"] == known(row["rung"])
        assert {name: row[name] for name in own["metrics"]} == own["metrics"]
        assert (row["status"], row["commit"]) == (own["status"], own["environment"]["commit"])
        assert row["epochs"] == len(own["epochs"])
        assert (store.root.parent / row["folder"]).samefile(store.folder(row["spec_id"], row["seed"]))
    ids = {(row.rung, row.seed): row.mlflow_run_id for row in runs.itertuples() if row.mlflow_run_id}
    assert ids == {("one", 0): "run0"}, "a run that MLflow deleted is none"


def test_each_number_of_the_page_leads_to_its_runs(written):
    page = (written / "index.html").read_text()
    for place, name in enumerate(("baseline", "+ one", "+ two")):
        row = page.split(f'<th scope="row">{name}')[1].split("</tr>")[0]
        numbers = [cell for cell in row.split("<td")[1:] if cell.split(">", 1)[1][:1] not in "–nh"]
        assert numbers
        assert all(f'<a href="#runs-{place}">' in cell for cell in numbers)
        behind = page.split(f'<div id="runs-{place}">')[1].split("</table>")[0]
        assert behind.count("<tr>") == 4
        assert known(("baseline", "one", "two")[place]) in behind
    assert "run0" in page


def test_of_many_runs_the_page_shows_the_first_and_the_json_is_a_line(written, store, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(store.root.parent))
    monkeypatch.setattr("harness.report.draw", lambda *_: ())
    monkeypatch.setattr("harness.report.page.RUNS", 2)
    monkeypatch.setattr("harness.report.data.LINES", 8)
    folder = render(plan(), store, store.root.parent / "many").folder
    page = (folder / "index.html").read_text()
    own = page.split("<summary>+ two: 3 runs</summary>")[1].split("</details>")[0]
    assert "The first 2 of 3; runs.csv has all." in own
    assert own.count("<tr>") == 3, "a heading and two runs"
    assert f"store/{known('two')}/1" in own
    assert f"store/{known('two')}/2" not in own
    assert "The first 2 of" not in (written / "index.html").read_text()
    told = (folder / "table.json").read_text()
    assert told.count("\n") == 1
    assert json.loads(told) == json.loads((written / "table.json").read_text())
    for name in ("runs.csv", "table.csv", "table.md"):
        assert (folder / name).read_bytes() == (written / name).read_bytes()


def test_a_server_of_mlflows_is_not_asked_nor_a_database_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert data.mlflow_runs() == {}
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert data.mlflow_runs() == {}
    assert not (tmp_path / "mlflow.db").exists(), "it is read, and not made"
    (tmp_path / "mlflow.db").write_text("no database, but longer than the head of one" * 5)
    assert data.mlflow_runs() == {}


def test_metrics_that_some_runs_lack_are_null(tmp_path):
    store = Store(tmp_path / "store")
    for name, more in (("baseline", {}), ("one", {}), ("two", {"top5": 99.0})):
        finish(store, name, 0, record(90.0, **more))
    every = frames.runs(plan(), store)
    told = data.table(plan(), every, frames.rungs(plan(), every), None, [])
    values = [run["metrics"]["top5"] for row in told["rungs"] for run in row["runs"]]
    assert values == [None, None, 99.0]
    assert not any(isinstance(value, float) and math.isnan(value) for row in told["rungs"] for value in row.values())
