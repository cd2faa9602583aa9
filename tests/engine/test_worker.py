"""One run, executed where the test stands."""

import re
import subprocess
import sys

import pytest
import torch

from harness import Problem
from harness import train as loop
from harness.engine import execute, why, worker
from harness.rng import streams
from harness.store import Store
from tests.faults import commands  # noqa: F401  # what the processes below are forked from has imported already
from tests.kit import backbones
from tests.kit.tiny import BASELINE, Lying, finish, tiny_plan


def test_a_refused_run_is_said_kept_apart_and_trained_again(tmp_path):
    store, spec = Store(tmp_path), BASELINE.but(augment=(Lying(),))
    for _ in range(2):
        epochs = []
        with pytest.raises(Problem, match="REFUSED by its evidence: Lying, what was promised: expected done, seen not"):
            execute(spec, 0, store, torch.device("cpu"), epochs.append)
        told = [e["kind"] for e in epochs if e["kind"] != "batch"]  # of those a slow machine tells too
        assert told == ["started", "epoch", "epoch"], "trained, not taken from the store"
    assert (spec.id, 0) not in store
    assert store.refused(spec.id, 0)["status"] == "refused"
    assert store.refused(spec.id, 1) is None


def test_what_builds_on_a_run_that_diverged_says_so(tmp_path):
    store, plan = Store(tmp_path), tiny_plan()
    teacher, student = plan.runs()[0][0], plan.rungs[-1].spec
    finish(store, teacher.id, 0, {"status": "diverged"})
    with pytest.raises(Problem, match=f"{teacher.id}, was diverged"):
        execute(student, 0, store, torch.device("cpu"), lambda event: None)


def test_a_run_is_given_the_backbone_of_its_own_seed(tmp_path, monkeypatch):
    store, given = Store(tmp_path), {}
    network = BASELINE.model.build(1, 10)
    for seed in (0, 1):
        weights = {name: torch.full_like(value, seed) for name, value in network.state_dict().items()}
        finish(store, BASELINE.id, seed, {"status": "finished"}, weights)

    def train(spec, seed, device, inner, keeper, ranks):
        for said in ((), (0,)):
            found = inner(spec.model.backbone, *said)
            given[seed, said] = found.result["seed"], float(next(found.model.parameters()).detach().mean())
        raise Problem("enough")

    monkeypatch.setattr(worker, "train", train)
    for seed in (0, 1):
        with pytest.raises(Problem, match="enough"):
            execute(backbones.DETECTOR, seed, store, torch.device("cpu"), lambda event: None)
    assert given == {(0, ()): (0, 0.0), (0, (0,)): (0, 0.0), (1, ()): (1, 1.0), (1, (0,)): (0, 0.0)}
    with pytest.raises(Problem, match=f"{BASELINE.id}/2/result.json cannot be read"):
        execute(backbones.DETECTOR, 2, store, torch.device("cpu"), lambda event: None)


def raised(source, name="/home/me/mine.py"):
    """The error of code that lies at `name`, as it arrives here."""
    try:
        exec(compile(source, name, "exec"), {})
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


IN_A_DECODER = """Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/lib/python3.11/site-packages/torch/utils/data/_utils/worker.py", line 358, in _worker_loop
    data = fetcher.fetch(index)
  File "/home/me/mine.py", line 7, in on_pixels
    raise ValueError("odd pixels")
ValueError: odd pixels
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            raised("import torch\ndef f(x):\n    return torch.nn.functional.conv2d(x, x)\nf(torch.ones(2, 3))"),
            r"RuntimeError: .* \(mine\.py:3\)",
        ),
        (raised("import json\njson.loads('{')"), r"JSONDecodeError: Expecting .* \(mine\.py:2\)"),
        (raised("open('/nowhere/weights.pt')"), r"FileNotFoundError: .*/nowhere/weights\.pt' \(mine\.py:1\)"),
        (raised("raise ValueError('two\\nlines')"), r"ValueError: two lines \(mine\.py:1\)"),
        (RuntimeError(IN_A_DECODER), r"ValueError: odd pixels \(mine\.py:7\)"),
    ],
)
def test_a_failure_names_the_users_deepest_line_and_no_librarys(error, said):
    assert re.fullmatch(said, why(error))


def test_a_run_that_begins_as_another_seed_did_is_refused(tmp_path):
    """Every seed from the first one's weights: no run sees it of itself alone."""
    store = Store(tmp_path)
    spec = BASELINE.but(epochs=1)
    execute(spec, 0, store, torch.device("cpu"))
    first = store.read(spec.id, 0)
    build = loop.build
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "streams", lambda seed: streams(0))
        with pytest.raises(Problem, match="REFUSED by its evidence: split, runs of other seeds with the same initial"):
            execute(spec, 1, store, torch.device("cpu"))
    assert loop.build is build
    execute(spec, 2, store, torch.device("cpu"))
    assert [row for row in store.read(spec.id, 2)["evidence"] if not row["ok"]] == []
    assert first["seen"]["weights"] != store.read(spec.id, 2)["seen"]["weights"]


def test_a_run_that_is_there_when_its_claim_is_had_is_said_to_be_reused(tmp_path):
    store = Store(tmp_path)
    finish(store, BASELINE.id, 0, {})
    assert worker.attempt((BASELINE, 0), store, torch.device("cpu"), print, bool) == {
        "kind": "finished",
        "reused": True,
    }


# --- several runs on one card -----------------------------------------------------------------------------------------


def test_out_of_memory_beside_others_says_that_fewer_should_share():
    error = torch.OutOfMemoryError("CUDA out of memory")
    alone, beside = why(error, BASELINE), why(error, BASELINE, 4)
    assert "--jobs" not in alone
    assert why(error, BASELINE, 1) == alone
    assert "with 4 runs on the card: let fewer runs share a card, by --jobs N" in beside
    assert beside.endswith(alone.partition("FP32: ")[2])
    assert "\n" not in beside


def test_a_run_that_fails_says_how_many_shared_its_card(tmp_path, monkeypatch):
    def train(*told):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(worker, "train", train)
    store = Store(tmp_path)
    ended = worker.attempt((BASELINE, 0), store, torch.device("cpu"), print, bool, how=loop.How(sharing=2))
    assert "with 2 runs on the card" in ended["why"]
    assert "with 2 runs on the card" in store.events(BASELINE.id, 0)[-1]["why"]


@pytest.mark.parametrize(
    ("card", "passes", "said"),
    [
        (
            "cuda",
            {"way": "as written", "why": "no kernel image"},
            ["has no CUDA graphs from some step on: no kernel image"],
        ),
        ("cuda", {"way": "CUDA graphs", "played": 9}, []),
        ("cpu", {"way": "as written", "why": "there are none on cpu"}, []),  # which the command said
    ],
)
def test_a_card_that_has_no_graphs_of_a_run_says_so_once(tmp_path, monkeypatch, card, passes, said):
    def train(spec, seed, device, *more):
        trained = loop.train(spec, seed, torch.device("cpu"), *more)
        trained.result["passes"] = passes
        return trained

    environment = worker.environment
    monkeypatch.setattr(worker, "train", train)
    monkeypatch.setattr(worker, "environment", lambda device, *more: environment(torch.device("cpu"), *more))
    heard = []
    execute(BASELINE.but(epochs=1), 0, Store(tmp_path), torch.device(card), heard.append)
    assert [event["text"] for event in heard if event["kind"] == "note"] == said


class Gone(BaseException):
    """The end of a process."""


class Parent:
    """A connection to one that orders three runs."""

    def __init__(self):
        self.left, self.heard = [((BASELINE, seed), None) for seed in range(3)], []

    def recv(self):
        return self.left.pop(0) if self.left else None

    def send(self, event):
        self.heard.append(event["kind"])

    def poll(self):
        return False


@pytest.mark.parametrize(
    ("ends", "works", "mps", "heard", "left"),
    [
        ("failed", True, "", ["failed"] * 3, 0),
        ("failed", True, "own", ["failed"] * 3, 0),
        ("failed", False, "", ["failed"], 2),  # and its process ends: no other run would do there
        ("failed", False, "own", [], 2),  # lost, as all that shared its card, and begun again
        ("finished", False, "own", ["finished"] * 3, 0),
    ],
)
def test_a_process_whose_card_failed_under_it_trains_no_other(monkeypatch, ends, works, mps, heard, left):
    def leave(code):
        raise Gone(code)

    monkeypatch.setenv("HARNESS_DECODERS", "1")
    monkeypatch.setenv("HARNESS_MPS", mps)
    monkeypatch.setattr(worker, "begin_as_worker", lambda: None)
    monkeypatch.setattr(worker, "attempt", lambda *told: {"kind": ends})
    monkeypatch.setattr(worker, "alive", lambda device: works)
    monkeypatch.setattr(worker.os, "_exit", leave)
    parent = Parent()
    if heard:
        worker.work(parent, None, "cpu", 1, 60.0, loop.PLAIN)
    else:
        with pytest.raises(Gone, match=str(worker.FAULT)):
            worker.work(parent, None, "cpu", 1, 60.0, loop.PLAIN)
    assert (parent.heard, len(parent.left)) == (heard, left)


def test_a_device_is_asked_whether_it_still_works(monkeypatch):
    def broken(device):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    assert worker.alive(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert worker.alive(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    assert not worker.alive(torch.device("cuda"))
    assert worker.alive(torch.device("cpu"))


def test_what_a_process_frees_it_keeps():
    """glibc gives back a tensor of 64 MB that is freed, and each of the next one's pages is a fault."""
    code = """
import resource, sys, torch
from harness.engine.worker import settle

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
settle("cpu")
faults()
print(given_back, faults())
"""
    before, after = map(
        int, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    )
    assert before >= 4 * 2**24 * 4 / 2**21 > after  # huge pages, where there are some, are 2 MiB each
