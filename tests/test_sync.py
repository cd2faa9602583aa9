"""What MLflow lacks is sent afterwards, each epoch once."""

import random
import shlex
import shutil
import sqlite3
import sys
import warnings
from contextlib import closing

import mlflow.pytorch
import pytest
import torch

from harness import Problem, sync
from harness.engine import Interrupted, execute, key
from harness.report import remember
from harness.search.trial import named_by
from harness.spec import plain, resolved
from harness.store import Store
from harness.study import describe
from harness.tracking import database, open_experiment
from harness.train import LAYOUT
from tests.faults.served import database as empty
from tests.kit.tiny import BASELINE, tiny_plan

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder of runs: one rung's two, one of them stopped after its third batch, and MLflow's database, empty."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(folder))
        store, plan = Store(), tiny_plan()
        remember(describe(plan, store))
        whole, stopped = plan.runs(["baseline"])
        execute(*whole, store, CPU)
        asked = iter(range(99))
        with pytest.raises(Interrupted):
            execute(*stopped, store, CPU, stop=lambda: next(asked) == 6)
    shutil.copy(empty(), folder / "mlflow.db")
    return folder


@pytest.fixture
def trained(begun, tmp_path, monkeypatch):
    """A copy of those runs, which a test may do with as it likes."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(), *tiny_plan().runs(["baseline"])


def send(capsys, *labels):
    sync.run(sync.parser().parse_args(labels))
    return capsys.readouterr().out


def seen(store):
    client, experiment = open_experiment("tiny")
    found = client.search_runs([experiment])
    return client, {
        (run.data.tags["spec_id"], int(run.data.tags["seed"])): run for run in found if "spec_id" in run.data.tags
    }


def test_what_is_missing_is_sent_once_and_what_goes_on_is_completed(trained, capsys):
    store, whole, stopped = trained
    assert send(capsys, "tiny").startswith("tiny: 2 of 9 runs had news")
    client, runs = seen(store)
    assert set(runs) == {key(whole), key(stopped)}
    assert (runs[key(whole)].info.status, runs[key(stopped)].info.status) == ("FINISHED", "KILLED")
    steps = [m.step for m in client.get_metric_history(runs[key(stopped)].info.run_id, "loss")]
    assert steps == [0], "what it came to"
    assert send(capsys).startswith("tiny: 0 of 9 runs had news")

    execute(*stopped, store, CPU)  # type: ignore[call-arg]
    assert send(capsys).startswith("tiny: 1 of 9 runs had news")
    client, again = seen(store)
    assert {k: run.info.run_id for k, run in again.items()} == {k: run.info.run_id for k, run in runs.items()}
    assert again[key(stopped)].info.status == "FINISHED"
    for run_key, run in again.items():
        for name in ("loss", "lr", "top1", "top5", "test_loss"):
            history = client.get_metric_history(run.info.run_id, name)
            assert [(m.step, m.value) for m in history] == [
                (e["epoch"], e[name]) for e in store.read(*run_key)["epochs"]
            ]


def test_a_database_that_was_half_made_is_made_again_and_sent_all(trained, capsys):
    """As by a kill in the middle of one of MLflow's migrations, which then finds its table there."""
    store, whole, stopped = trained
    database().unlink()
    with closing(sqlite3.connect(database())) as db, db:
        db.execute("create table latest_metrics (key)")
    assert sync.run(sync.parser().parse_args(["another"])) == 0
    said = capsys.readouterr()
    (moved,) = (store.root.parent / "aside").glob("*/*")
    what = f"MLflow's {database()} was half made: it was moved to {moved} and made anew"
    assert said.err == f"harness.sync: {what}; the runs of all studies are sent\n"
    assert said.out.startswith("tiny: 2 of 9 runs had news")
    assert set(seen(store)[1]) == {key(whole), key(stopped)}


def test_a_fresh_record_is_a_run_of_its_own(trained, capsys):
    store, whole, _ = trained
    send(capsys)
    store.set_aside(*key(whole))
    execute(*whole, store, CPU)  # type: ignore[call-arg]
    assert send(capsys).startswith("tiny: 1 of 9 runs had news")
    client, experiment = open_experiment("tiny")
    assert len(client.search_runs([experiment], f"tags.spec_id = '{whole[0].id}' and tags.seed = '0'")) == 2


def test_an_epoch_done_twice_is_sent_as_it_was_first(trained, capsys):
    """As after a kill between the epoch's line and its checkpoint."""
    store, _, stopped = trained
    with store.claim(*key(stopped)) as claim:
        claim.begin(store.forms(*key(stopped)))
        assert claim.saved(f"torch {torch.__version__} on cpu, layout {LAYOUT}")
        claim.note("epoch", epoch=0, loss=-1.0)
    send(capsys)
    client, runs = seen(store)
    (loss,) = client.get_metric_history(runs[key(stopped)].info.run_id, "loss")
    assert loss.value == next(e["loss"] for e in store.events(*key(stopped)) if e["event"] == "epoch")
    assert loss.value != -1


def test_what_is_begun_anew_is_a_run_of_its_own(trained, capsys):
    """As where the checkpoints are another torch's: no curve is half of one training and half of another."""
    store, _, stopped = trained
    send(capsys)
    for path in store.folder(*key(stopped)).glob("checkpoint-*"):
        path.unlink()
    execute(*stopped, store, CPU)  # type: ignore[call-arg]
    send(capsys)
    client, experiment = open_experiment("tiny")
    found = client.search_runs([experiment], f"tags.spec_id = '{stopped[0].id}' and tags.seed = '1'")
    steps = {r.info.status: [m.step for m in client.get_metric_history(r.info.run_id, "loss")] for r in found}
    assert steps == {"KILLED": [0], "FINISHED": [0, 1]}


def test_a_request_that_failed_is_made_again(trained, capsys, monkeypatch):
    from mlflow import MlflowClient

    store, whole, _ = trained
    chance = random.Random(0)  # not every second call: a period of its own could always meet the same one

    def fails_once(name):
        real = getattr(MlflowClient, name)

        def call(*args, **kwargs):
            if chance.random() < 0.3:
                raise OSError("gone")
            return real(*args, **kwargs)

        monkeypatch.setattr(MlflowClient, name, call)

    for name in ("log_batch", "log_dict", "log_text", "log_inputs", "set_terminated"):
        fails_once(name)
    for _ in range(99):
        try:
            if ": 0 of 9" in send(capsys):
                break
        except Problem as problem:
            assert "gone" in str(problem)  # noqa: PT017
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_RUNS", str(store.root.parent))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # which mlflow sets
    client, runs = seen(store)
    run = runs[key(whole)]
    assert run.data.params["epochs"] == "2"
    assert {f.path for f in client.list_artifacts(run.info.run_id)} > {"spec.json", "curves.csv"}
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [0, 1]
    assert run.info.status == "FINISHED"


def test_a_damaged_record_keeps_no_other_back(trained, capsys):
    store, whole, stopped = trained
    (store.folder(*key(whole)) / "result.json").write_text("{}")
    assert sync.run(sync.parser().parse_args([])) == 1
    said = capsys.readouterr()
    assert said.out.startswith("tiny: 1 of 9 runs had news")
    assert said.err.startswith("harness.sync: left out: ")
    assert set(seen(store)[1]) == {key(stopped)}


def test_a_run_that_failed_before_it_did_anything_is_none(trained, capsys):
    store, _, _ = trained
    run = tiny_plan().runs(["warmup"])[0]
    with store.claim(*key(run)) as claim:
        claim.begin({"spec": plain(run[0]), "resolved": resolved(run[0])})
    store.remark(*key(run), "failed", why="its process was killed by SIGKILL, 3 times")
    assert send(capsys).startswith("tiny: 2 of 9 runs had news")


def test_runs_of_searches_are_sent_and_those_of_an_objective_of_ones_own_are_not(trained, capsys):
    store, _, _ = trained
    trial, own = (BASELINE.but(epochs=1, batch_size=size) for size in (64, 32))
    for label, spec in (("tiny@search-baseline", trial), ("tiny@objective", own)):
        named_by(label, spec, "trial 3")
        execute(spec, 5, store, CPU)
    said = send(capsys).splitlines()
    assert [line.partition(" run")[0] for line in said] == ["tiny: 2 of 9", "tiny@search-baseline: 1 of 1"]
    client, runs = seen(store)
    assert runs[trial.id, 5].data.tags["rung"] == "search-baseline, trial 3"
    assert [m.step for m in client.get_metric_history(runs[trial.id, 5].info.run_id, "loss")] == [0]
    assert (own.id, 5) not in runs
    assert send(capsys, "tiny@search-baseline").startswith("tiny@search-baseline: 0 of 1 run had")


def test_a_server_that_is_not_there_is_one_line(trained, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Problem, match="MLflow at http://127.0.0.1:9 does not take them") as problem:
        sync.run(sync.parser().parse_args([]))
    assert len(str(problem.value)) < 500


def test_an_experiment_that_was_deleted_there_can_be_restored(trained, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["harness.sync", "--storage", "postgresql://me:secret@db/m"])
    send(capsys)
    client, experiment = open_experiment("tiny")
    client.delete_experiment(experiment)
    with pytest.raises(Problem, match="MLflow's experiment tiny was deleted there: MLFLOW_TRACKING_URI=") as problem:
        send(capsys)
    restore = shlex.split(str(problem.value).partition("there: ")[2].removesuffix(" brings it back"))
    assert restore[1:] == ["mlflow", "experiments", "restore", "--experiment-id", experiment]
    assert restore[0] == f"MLFLOW_TRACKING_URI=sqlite:///{database()}"
    client.restore_experiment(experiment)
    assert send(capsys).startswith("tiny: 0 of 9 runs had news")
    tags = [run.data.tags for run in client.search_runs([experiment])]
    assert [tag["command"] for tag in tags if "command" in tag] == [
        "harness.sync --storage postgresql://me:***@db/m"
    ], "no password in what is sent, and one invocation had something to send"


def test_a_network_is_registered_as_a_model_that_mlflow_gives_back(trained, capsys):
    store, whole, _ = trained
    said = [send(capsys, "tiny", "--register", "baseline").splitlines() for _ in range(2)]
    assert "tiny: 2 of 9 runs had news" in said[0][0]
    assert [line.partition(" in MLflow")[0] for _, line in said] == [
        f"registered as models:/tiny-baseline/{version}" for version in (1, 2)
    ]
    client, runs = seen(store)
    version = client.get_model_version("tiny-baseline", "1")
    assert version.run_id == runs[key(whole)].info.run_id, "of the first seed, which is finished"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mlflow.pytorch.load_model("models:/tiny-baseline/1")
    weights = store.weights(*key(whole))
    assert {name: tensor.tolist() for name, tensor in model.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in weights.items()
    }
    for words, said in (
        (("tiny", "--register", "nosuch"), "'nosuch' is no rung of tiny: baseline"),
        (("tiny", "--register", "mixup"), "mixup of tiny has no finished run"),
        (("--register", "baseline"), "--register takes one study"),
    ):
        with pytest.raises(Problem, match=said):
            send(capsys, *words)


def test_a_study_has_its_address_too(trained, capsys):
    assert send(capsys, "./tiny.py").startswith("tiny: 2 of 9 runs had news")


def test_a_study_that_was_never_run_is_one_line(trained):
    with pytest.raises(Problem, match="no study 'nosuch' was run here"):
        sync.run(sync.parser().parse_args(["nosuch"]))
