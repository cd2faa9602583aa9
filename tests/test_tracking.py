"""MLflow, read back through its own client from a real sqlite store."""

import json
import multiprocessing
import os
import sqlite3

import pytest
import torch

from harness import Problem
from harness.engine import execute, key
from harness.spec import flat, resolved
from harness.store import Store
from harness.tracking import Tracker, default_uri, open_experiment, tracking_uri, ui_command
from tests import postgres
from tests.tiny import Lying, tiny_plan


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


def test_a_server_that_is_not_there_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    plan, store = tiny_plan(), Store()
    tracker = Tracker("tiny", plan.names(), store, [], "call")
    tracker.see({"kind": "started", "run": (plan.rungs[0].spec, 0)})
    trouble = tracker.close(patience=2)
    assert trouble is not None
    assert "the store has them all: python -m harness.sync sends them" in trouble
    assert "\n" not in trouble


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
    from harness.tracking import shown_uri

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:se:c@ret@127.0.0.1:5/mlflow")
    assert shown_uri() == "postgresql://me:***@127.0.0.1:5/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert shown_uri() == "http://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://127.0.0.1/m?user=me&password=secret&x=1")
    assert shown_uri() == "postgresql://127.0.0.1/m?user=me&password=***&x=1"
