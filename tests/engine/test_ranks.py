"""Runs of several processes, by the engine: begun, killed, stopped, and none left behind."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from harness import Problem
from harness.engine import Engine, execute, worker
from harness.engine.local import Local, Worker
from harness.engine.ranks import Beside
from harness.engine.scheduler import Listed
from harness.store import Store
from tests.engine.test_local import FORKS, timeless
from tests.kit.stops import Plain
from tests.kit.tiny import BASELINE
from tests.mutants.breaking import TINY

TWO = BASELINE.but(ranks=2, epochs=3, model=TINY.model)


def ranks_of(pid):
    """Rank 0, and its children, the others."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def gone(pid):
    return not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def vanished(pids):
    end = time.monotonic() + 10
    while time.monotonic() < end and not all(map(gone, pids)):
        time.sleep(0.05)
    return all(map(gone, pids))


class Killing:
    """What an engine says of a run while, after its first epoch, one of its processes is killed."""

    def __init__(self, engine, run, which):
        self.seen, self.kept = [], []
        for event in engine.events([run]):
            self.seen.append(event)
            pid = engine.launcher.workers[0].process.pid if engine.launcher.workers else 0
            if event["kind"] == "epoch" and not self.kept:
                self.kept = ranks_of(pid)
                os.kill(self.kept[which], signal.SIGKILL)


@pytest.mark.parametrize("which", [0, 1], ids=["rank 0", "rank 1"])
def test_a_run_goes_on_bit_for_bit_where_a_rank_is_killed(tmp_path, which):
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    told = Killing(Engine(broken, ["cpu"] * 2, every=0, method=FORKS), (TWO, 0), which)
    assert len(told.kept) == 2, "rank 0, and one other"
    assert vanished(told.kept)
    notes = [e["text"] for e in told.seen if e["kind"] == "note"]
    assert notes[0] == f"is taken up again, {('its process was killed by SIGKILL', 'one of its ranks is gone')[which]}"
    assert notes[1].startswith("goes on from epoch")
    execute(TWO, 0, whole, torch.device("cpu"), beside=Beside(method="fork"))
    assert timeless(whole.read(TWO.id, 0)) == timeless(broken.read(TWO.id, 0))
    for name, tensor in whole.weights(TWO.id, 0).items():
        assert torch.equal(tensor, broken.weights(TWO.id, 0)[name]), name


class Picky(Listed):
    def see(self, event):
        return [event["run"]] if event["kind"] == "epoch" else ()


def test_a_run_that_is_stopped_is_kept_and_leaves_no_process(tmp_path):
    store, long = Store(tmp_path), TWO.but(epochs=1000)
    engine, pids = Engine(store, ["cpu"] * 2, method=FORKS), []
    for event in engine.events(Picky([(long, 0)])):
        pids = pids or ranks_of(engine.launcher.workers[0].process.pid)[1:]
        last = event
    assert last["kind"] == "stopped"
    assert [e["event"] for e in store.events(long.id, 0)][-2:] == ["checkpoint", "interrupted"]
    assert len(pids) == 1
    assert vanished(pids)


def test_no_run_is_given_the_gpu_of_anothers_rank(tmp_path, monkeypatch):
    """Runs of one rank have left processes on GPUs 0 and 1; a pair takes both, and the next run the third."""

    class Silent:
        def send(self, said):
            pass

    def begin(self, place):
        self.workers.append(Worker(Silent(), None, place))
        return self.workers[-1]

    monkeypatch.setattr(Local, "_begin", begin)
    local = Local(Store(tmp_path), ["cuda:0", "cuda:1", "cuda:2"], 60.0)
    for each in [local.start((BASELINE, 0)), local.start((BASELINE, 1))]:
        each.run = None
    pair, single = local.start((TWO, 0)), local.start((BASELINE, 2))
    assert (pair.place, pair.others) == ("cuda:0", ["cuda:1"])
    assert (single.place, single.others) == ("cuda:2", [])
    assert local.free() == 0
    pair.run = None
    assert local.start((BASELINE, 3)).place == "cuda:0"
    assert local.start((BASELINE, 4)).place == "cuda:1"


def test_a_run_of_more_ranks_than_places_is_said_before_any_begins(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(Problem, match="ranks=4 needs as many places, and there are 2: --jobs 4"):
        list(Engine(store, ["cpu"] * 2).events([(BASELINE, 0), (BASELINE.but(ranks=4), 0)]))
    assert (BASELINE.id, 0) not in store
    with pytest.raises(Problem, match="ranks=2 needs as many GPUs, and this run was given 1"):
        execute(TWO, 0, store, torch.device("meta"))


class Broken(Plain):
    """A network that rank 1 cannot build."""

    def build(self, channels, classes):
        if torch.distributed.is_initialized() and torch.distributed.get_rank():
            raise Problem("no such network here")
        return super().build(channels, classes)


def test_what_a_rank_could_not_do_is_why_the_run_failed_however_late_it_says_so(tmp_path, monkeypatch):
    def late(*told, why=worker.why):
        time.sleep(1.5)
        return why(*told)

    monkeypatch.setattr(worker, "why", late)
    store, broken = Store(tmp_path), TWO.but(model=Broken(), epochs=1)
    with pytest.raises(Problem, match="rank 1: no such network here"):
        execute(broken, 0, store, torch.device("cpu"), beside=Beside(method="fork"))
    assert [e["event"] for e in store.events(broken.id, 0)][-1] == "failed"
