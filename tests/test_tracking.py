"""MLflow, read back through its own client from a real sqlite store."""

import importlib
import json
import multiprocessing
import os
import resource
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from harness import Problem, tracking
from harness.engine import execute, key
from harness.spec import flat, resolved
from harness.store import Store
from harness.tracking import Tracker, database, default_uri, open_experiment, ready, tracking_uri, ui_command
from harness.tracking.database import _broken
from tests.faults.shapes import forge
from tests.kit import postgres
from tests.kit.tiny import Lying, tiny_plan


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A plan of one rung and two seeds: seed 0 was in the store before, seed 1 is trained before the tracker's eyes."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store, plan = Store(), tiny_plan()
        runs = plan.runs(["baseline"])
        execute(*runs[0], store, torch.device("cpu"), lambda event: None)
        for again in range(2):
            tracker = Tracker("tiny", plan.names(), store, map(key, runs), f"call {again}")
            if again == 0:
                say = lambda event: tracker.see({**event, "run": runs[1]})  # noqa: E731, B023
                execute(*runs[1], store, torch.device("cpu"), say)
                say({"kind": "finished"})
            assert tracker.close() is None
        client, experiment = open_experiment("tiny")
        found = client.search_runs([experiment])
        yield client, plan, store, found


def children(found):
    return sorted((r for r in found if "spec_id" in r.data.tags), key=lambda r: r.data.tags["seed"])


def test_a_parent_an_invocation_and_a_child_a_run_each_once(logged):
    _, plan, _, found = logged
    parents = [r for r in found if "mlflow.parentRunId" not in r.data.tags]
    assert sorted(r.data.tags["command"] for r in parents) == ["call 0", "call 1"]
    seeds = [(r.data.tags["spec_id"], r.data.tags["seed"]) for r in children(found)]
    assert seeds == [(plan.rungs[0].spec.id, "0"), (plan.rungs[0].spec.id, "1")]
    first = next(r for r in parents if r.data.tags["command"] == "call 0")
    assert {r.data.tags["mlflow.parentRunId"] for r in children(found)} == {first.info.run_id}
    assert {r.info.status for r in found} == {"FINISHED"}


def test_params_are_the_flattened_specification_and_tags_say_what_ran(logged):
    _, plan, _, found = logged
    spec = plan.rungs[0].spec
    for run in children(found):
        assert run.data.params == {k: str(v) for k, v in flat(resolved(spec)).items()}
        assert run.data.tags["rung"] == "baseline"
        assert run.data.tags["torch"] == torch.__version__
        assert run.data.tags["status"] == "finished"
        assert "mlflow.source.git.commit" in run.data.tags


def test_every_epoch_of_every_metric_is_there_once_as_the_store_has_it(logged):
    client, _, store, found = logged
    for run in children(found):
        record = store.read(run.data.tags["spec_id"], int(run.data.tags["seed"]))
        for name in ("loss", "test_loss", "top1", "top5", "lr"):
            history = client.get_metric_history(run.info.run_id, name)
            assert [m.step for m in history] == [0, 1]
            assert [m.value for m in history] == [e[name] for e in record["epochs"]]


def test_artifacts_and_the_data_with_its_digest(logged):
    client, plan, _, found = logged
    run = children(found)[0]
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"spec.json", "curves.csv", "environment.json", "evidence.json"}
    (data,) = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert data.dataset.name == "Digits"
    assert data.dataset.digest == plan.rungs[0].spec.data.load().digest
    curves = client.download_artifacts(run.info.run_id, "curves.csv")
    with open(curves) as file:
        assert file.readline().startswith("epoch,loss,lr")
        assert len(file.readlines()) == 2


def test_a_refused_run_is_there_as_failed_with_its_evidence(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plan, store = tiny_plan(augment=(Lying(),)), Store()
    run = plan.runs(["baseline"])[0]
    tracker = Tracker("tiny", plan.names(), store, [key(run)], "call")
    with pytest.raises(Problem) as refusal:
        execute(*run, store, torch.device("cpu"), lambda event: tracker.see({**event, "run": run}))
    tracker.see({"kind": "failed", "run": run, "why": str(refusal.value)})
    assert tracker.close() is None
    client, experiment = open_experiment("tiny")
    (child,) = children(client.search_runs([experiment]))
    assert child.info.status == "FAILED"
    assert child.data.tags["status"] == "refused"
    assert "Lying: what was promised: not done" in child.data.tags.values()


def test_of_a_record_of_before_all_is_sent_that_it_tells(logged, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(logged[2].root.parent / "mlflow.db", database())
    plan, store = tiny_plan(), Store()
    run = plan.runs(["warmup"])[0]
    execute(*run, store, torch.device("cpu"))

    def older(record):
        lacks = [(record, "record"), (record, "peak_memory"), (record["images"], "digest")]
        for held, name in (*lacks, *((epoch, "time") for epoch in record["epochs"])):
            del held[name]

    forge(store, key(run), older)
    tracker = Tracker("tiny", plan.names(), store, [key(run)], "call")
    assert tracker.close() is None
    client, experiment = open_experiment("tiny")
    (child,) = client.search_runs([experiment], f"tags.spec_id = '{run[0].id}'")
    assert child.info.status == "FINISHED"
    assert child.data.metrics["params"] == store.read(*key(run))["params"]
    assert "peak_memory" not in child.data.metrics
    assert [metric.step for metric in client.get_metric_history(child.info.run_id, "top1")] == [0, 1]
    assert not child.inputs.dataset_inputs


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (
            "http://me:se@cret@127.0.0.1:9",
            "MLflow at http://me:***@127.0.0.1:9 lacks runs (MlflowException: API request",
        ),
        ("http://me:se/cret@127.0.0.1:9", "MLflow at http://me:***@127.0.0.1:9 lacks runs ("),
        (
            "postgrsql://me:cret@db/m",
            "(MLFLOW_TRACKING_URI=postgrsql://me:***@db/m: is no address that MLflow knows, as ",
        ),
        ("postgresql://me:cret@db:x/m", "(MLFLOW_TRACKING_URI=postgresql://me:***@db:x/m: is no address that MLflow"),
        ("mysql+nosuch://me:cret@db/m", "(MLFLOW_TRACKING_URI=mysql+nosuch://me:***@db/m: is no address that MLflow"),
        ("mssql+pyodbc://me:cret@db/m", "MLFLOW_TRACKING_URI=mssql+pyodbc://me:***@db/m: its driver is missing (Mod"),
    ],
)
def test_an_address_of_no_use_is_one_line_and_loses_nothing(tmp_path, monkeypatch, capfd, address, says):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    importlib.import_module("mlflow")  # its seconds are not of the patience below
    plan, store = tiny_plan(), Store()
    tracker = Tracker("tiny", plan.names(), store, [], "call")
    tracker.see({"kind": "started", "run": (plan.rungs[0].spec, 0)})
    trouble = tracker.close(patience=4)
    assert trouble is not None
    assert says in trouble
    assert "the store has them all: python -m harness.sync sends them" in trouble
    assert "\n" not in trouble
    assert "cret" not in trouble + ui_command() + "".join(capfd.readouterr())


def test_the_address_is_mlflows_own_variable_else_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert "--host 127.0.0.1" in ui_command()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"
    assert default_uri().startswith("sqlite:///")


def first_open(home, barrier, answers):
    os.environ["HARNESS_RUNS"] = home
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    import mlflow  # noqa: F401  # so that what races is the database, not the import

    barrier.wait(120)
    answers.put(open_experiment("race")[1])


def test_two_processes_may_open_a_fresh_database_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    racers = [context.Process(target=first_open, args=(str(tmp_path), barrier, answers)) for _ in range(2)]
    for racer in racers:
        racer.start()
    assert len({answers.get(timeout=180) for _ in racers}) == 1
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        assert json.dumps(db.execute("select count(*) from experiments where name = 'race'").fetchone()) == "[1]"


@pytest.mark.skipif(not postgres.binaries(), reason=postgres.NEEDED)
def test_postgresql_may_keep_it_and_artifacts_lie_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    plan, store = tiny_plan(), Store()
    run = plan.runs(["baseline"])[0]
    execute(*run, store, torch.device("cpu"))
    with postgres.server() as pg:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", pg.url("mlflow"))
        tracker = Tracker("tiny", plan.names(), store, [key(run)], "call")
        assert tracker.close() is None
        rows = pg.ask(
            "mlflow",
            "select m.step, m.value, r.status from metrics m join runs r using (run_uuid)"
            " where m.key = 'top1' order by step",
        )
    assert rows == [(epoch["epoch"], epoch["top1"], "FINISHED") for epoch in store.read(*key(run))["epochs"]]
    names = {path.name for path in (tmp_path / "runs" / "mlartifacts" / "tiny").rglob("artifacts/*")}
    assert names == {"spec.json", "curves.csv", "environment.json", "evidence.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:5/mlflow")
    assert tracking.shown_uri() == "postgresql://me:***@127.0.0.1:5/mlflow"
    assert ui_command().endswith(' -m mlflow ui --host 127.0.0.1 --backend-store-uri "$MLFLOW_TRACKING_URI"')
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:5000")
    assert ui_command() == 'open "$MLFLOW_TRACKING_URI"'
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert ui_command() == "open http://127.0.0.1:5000"


# --- our own database -------------------------------------------------------------------------------------------------


@pytest.fixture
def spoil(logged, tmp_path, monkeypatch):
    """A function: what `ready` says where a harm was done to our database, of which there was a whole one."""
    whole = logged[2].root.parent / "mlflow.db"
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copied = lambda path: Path(shutil.copy(whole, tmp_path / "new"))  # noqa: E731  # it takes seconds
    monkeypatch.setattr("harness.tracking.database._made", copied)

    def see(harm, thorough=False):
        shutil.copy(whole, database())
        harm(database())
        return ready(thorough)

    return see


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_bytes(b"a list of cats\n" * 20)
    Path(f"{path}-journal").write_text("another's")  # which the next database must not take for its own


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def zeros(path):
    """Over the first page of the metrics, which MLflow does not read to open it."""
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("select rootpage from sqlite_master where name = 'metrics'").fetchone()
        (size,) = db.execute("pragma page_size").fetchone()
    with path.open("rb+") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))


@pytest.mark.parametrize(
    ("harm", "what"),
    [(empty, "is empty"), (text, "is not a database"), (cut, "is damaged"), (zeros, "is damaged")],
)
def test_our_database_is_moved_away_where_it_is_broken_and_made_anew(spoil, tmp_path, harm, what):
    aside = tmp_path / "aside" / time.strftime("%Y-%m-%d")
    for name in ("mlflow.db", "mlflow.db.2"):
        said = spoil(harm, thorough=harm is zeros)
        assert said == f"{database()} {what}: it was moved to {aside / name} and made anew"
        assert (aside / name).exists()
    assert ready(thorough=True) is None
    assert {path.name for path in tmp_path.iterdir()} == {"aside", "mlflow.db", "mlflow.lock"}


@pytest.mark.parametrize(
    ("revision", "why"), [("5b0e9adcef9c", "Detected out-of-date database schema"), ("ffff", "Can't locate revision")]
)
def test_our_database_is_left_alone_where_it_is_another_mlflows(spoil, tmp_path, revision, why):
    def harm(path):
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("update alembic_version set version_num = ?", (revision,))
            if revision == "ffff":
                db.execute("drop table assessments")  # else MLflow does not look for its way to there

    with pytest.raises(Exception, match=why):
        spoil(harm)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.lock"}


def test_a_database_that_is_locked_or_full_is_not_broken(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"a list of cats\n" * 20)
    for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_READ):
        error = sqlite3.OperationalError("it is")
        error.sqlite_errorcode = code
        assert _broken(path, error) is None
    assert _broken(path, OSError()) is None
    assert _broken(path, ValueError()) == "is damaged"


def test_what_the_user_named_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "mlflow.db").write_bytes(b"")
    assert ready(thorough=True) is None
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_disk_that_was_full_while_the_database_was_made_and_is_no_more(tmp_path, monkeypatch):
    """The next try, of the same process, begins anew, and nothing keeps the space of what was half made."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(Exception, match="disk"):
            ready()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.lock"]
    files = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [file for file in files if "mlflow.db" in file and str(tmp_path) in file]
    assert ready() is None
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.lock"}


def test_why_a_database_does_not_answer_is_known_at_once(tmp_path, monkeypatch):
    """MLflow would ask it ten times, for two minutes."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://me:S3CRET@127.0.0.1:9/m")
    began = time.monotonic()
    with pytest.raises(Exception, match="Connection refused"):
        open_experiment("tiny")
    assert time.monotonic() - began < 30
