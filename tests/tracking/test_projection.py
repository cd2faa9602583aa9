import shutil

import pytest
import torch

from harness import Problem
from harness.engine import execute, key
from harness.spec import flat, resolved
from harness.store import Store
from harness.tracking import Tracker, database, open_experiment
from tests.faults.shapes import forge
from tests.kit import postgres
from tests.kit.tiny import Lying, tiny_plan


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
