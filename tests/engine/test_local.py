"""The engine on real processes. They are slow to start, so each test asks several things of one engine."""

import os
import signal

import pytest
import torch

from harness import Problem
from harness.engine import Engine, execute, places
from harness.engine.local import Local
from harness.engine.scheduler import Listed
from harness.engine.worker import FAULT
from harness.store import Store
from tests.faults import commands  # noqa: F401  # what the processes below are forked from has imported already
from tests.kit.tiny import BASELINE, tiny_plan

FORKS = "forkserver"
TIMES = (
    "seconds",
    "time",
    "seconds_per_epoch",
    "peak_memory",
    "finished",
    "keeping",
    "environment",
    "record",
    "digest",
)


def timeless(value):
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def test_one_process_and_two_give_the_same_bits_and_upstream_comes_first(tmp_path):
    p = tiny_plan()
    records, weights, orders = [], [], []
    for jobs in (1, 2):
        store = Store(tmp_path / str(jobs))
        events = list(Engine(store, ["cpu"] * jobs, method=FORKS).events(p.runs()))
        assert [e for e in events if e["kind"] == "failed"] == []
        orders.append([(e["kind"], e["run"][0].id) for e in events if e["kind"] in ("started", "finished")])
        records.append({(s.id, n): timeless(store.read(s.id, n)) for s, n in p.runs()})
        weights.append({(s.id, n): store.weights(s.id, n) for s, n in p.runs()})
    assert records[0] == records[1]
    for run, state in weights[0].items():
        assert all(torch.equal(tensor, weights[1][run][name]) for name, tensor in state.items())
    teacher, student = p.runs()[0][0].id, p.rungs[-1].spec.id
    for order in orders:
        assert order.index(("finished", teacher)) < order.index(("started", student))


def killing(engine, run, times):
    """What the engine says while the process of `run` is killed, each time some epochs after it began."""
    epochs, killed = 0, 0
    for event in engine.events([(run, 0), (BASELINE, 0)]):
        yield event
        if event["kind"] == "epoch" and event["run"][0] == run:
            epochs += 1
            if epochs % 3 == 0 and killed < times:
                killed += 1
                os.kill(engine.launcher.workers[0].process.pid, signal.SIGKILL)


def test_a_killed_run_is_taken_up_again_from_its_checkpoint(tmp_path):
    run = BASELINE.but(epochs=8)
    store = Store(tmp_path)
    said = list(killing(Engine(store, ["cpu"], every=0, method=FORKS), run, 2))
    assert [e["kind"] for e in said if e["kind"] in ("failed", "finished")] == ["finished"] * 2
    notes = [e["text"] for e in said if e["kind"] == "note"]
    assert sum("killed by SIGKILL" in note for note in notes) == 2
    assert sum(note.startswith("goes on from epoch") for note in notes) == 2
    alone = Store(tmp_path / "alone")
    execute(run, 0, alone, torch.device("cpu"))
    assert store.read(run.id, 0)["correct"] == alone.read(run.id, 0)["correct"]
    assert store.read(run.id, 0)["logits"] == alone.read(run.id, 0)["logits"], "to the bit: it is their digest"
    assert [e["event"] for e in store.events(run.id, 0)].count("started") == 3


def test_a_run_whose_process_dies_three_times_fails_alone(tmp_path):
    run = BASELINE.but(epochs=100_000)
    engine, said = Engine(Store(tmp_path), ["cpu"], every=0, method=FORKS), []
    for event in engine.events([(run, 0), (BASELINE, 0)]):
        said.append(event)
        if event["kind"] == "started" and event["run"][0] == run:  # it comes no further
            os.kill(engine.launcher.workers[0].process.pid, signal.SIGKILL)
    (failed,) = [e for e in said if e["kind"] == "failed"]
    assert failed["run"][0] == run
    assert failed["why"] == "its process was killed by SIGKILL, 3 times"
    assert (BASELINE.id, 0) in engine.store
    assert (run.id, 0) not in engine.store


def test_what_builds_on_a_failed_run_fails_with_it_and_the_rest_goes_on(tmp_path):
    p = tiny_plan()
    teacher = p.runs()[0][0]
    store = Store(tmp_path)
    store.folder(teacher.id, 0).parent.mkdir(parents=True)
    store.folder(teacher.id, 0).write_text("in the way: the run cannot be written")
    wanted = [(teacher, 0), (p.rungs[-1].spec, 0), (BASELINE, 0)]
    events = list(Engine(store, ["cpu"], method=FORKS).events(wanted))
    why = {e["run"][0].id: e["why"] for e in events if e["kind"] == "failed"}
    assert set(why) == {teacher.id, p.rungs[-1].spec.id}
    assert why[p.rungs[-1].spec.id] == "the run it builds on failed"
    assert (BASELINE.id, 0) in store


class Picky(Listed):
    """Runs, of which a long one is to stop at an epoch."""

    def see(self, event):
        return [event["run"]] if event["kind"] == "epoch" and event["run"][0].epochs > 9 else ()


def test_one_run_is_stopped_at_a_checkpoint_and_its_process_goes_on_with_the_next(tmp_path):
    store, long = Store(tmp_path), BASELINE.but(epochs=100_000)
    said = list(Engine(store, ["cpu"], method=FORKS).events(Picky([(long, 0), (BASELINE, 0)])))
    ends = [(e["run"][0].epochs, e["kind"]) for e in said if e["kind"] not in ("started", "epoch", "batch")]
    assert ends == [(100_000, "stopped"), (2, "finished")]
    kept = store.events(long.id, 0)
    assert [e["event"] for e in kept][-2:] == ["checkpoint", "interrupted"]
    assert kept[0]["pid"] == store.events(BASELINE.id, 0)[0]["pid"]


def test_places():
    assert places("cpu", 3) == ["cpu"] * 3
    assert len(places("cpu", None)) == len(os.sched_getaffinity(0))
    with pytest.raises(Problem, match="unknown; use cpu"):
        places("toaster", None)
    with pytest.raises(Problem, match="only cpu and cuda"):
        places("meta", None)


def test_places_on_cuda_are_one_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert places(None, None) == ["cuda:0", "cuda:1"]
    assert places("cuda", 4) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert places("cuda:1", None) == ["cuda:1"]
    with pytest.raises(Problem, match="has 2 CUDA devices"):
        places("cuda:2", None)


def telling(connection, store, place, decoding, every, how):
    """A worker's life that only says how many share its place."""
    while connection.recv():
        connection.send({"kind": "failed", "why": f"{place} {how.sharing}"})


def test_a_worker_knows_how_many_share_its_card(tmp_path):
    said = []
    for where in (["cuda:0", "cuda:1", "cuda:0"], ["cpu", "cpu"]):
        launcher = Local(Store(tmp_path), where, 60.0, method="fork", life=telling)
        runs = [(BASELINE, seed) for seed in range(len(where))]
        said.append(sorted(e["why"] for e in Engine(launcher.store, where, launcher=launcher).events(runs)))
    assert said == [["cuda:0 2", "cuda:0 2", "cuda:1 1"], ["cpu 1", "cpu 1"]]


def faulty(connection, store, place, decoding, every, how):
    """A worker's life whose card fails the first time."""
    connection.recv()
    mark = store.root / "faulty"
    if not mark.exists():
        mark.touch()
        os._exit(FAULT)
    connection.send({"kind": "failed", "why": "the second time"})
    connection.recv()


def test_a_run_whose_card_failed_is_lost_and_taken_up_again(tmp_path):
    launcher = Local(Store(tmp_path), ["cpu"], 60.0, method="fork", life=faulty)
    said = [
        (e["kind"], e.get("text") or e["why"])
        for e in Engine(launcher.store, ["cpu"], launcher=launcher).events([(BASELINE, 0)])
    ]
    assert said == [
        ("note", "is taken up again, its card failed, by this run or another that MPS has on it"),
        ("failed", "the second time"),
    ]
