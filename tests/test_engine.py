"""The engine, on real processes. Slow to start, so each test asks several things of one engine."""

import os
import re
import signal
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from harness import Problem
from harness import train as loop
from harness.engine import ECHO, Engine, asked_to_stop, execute, places, why
from harness.rng import streams
from harness.store import Store
from tests.faults import commands  # noqa: F401  # what the processes below are forked from has imported already
from tests.kit.tiny import BASELINE, Lying, finish, tiny_plan

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
        events = list(Engine(store, ["cpu"] * jobs, method=FORKS if jobs == 1 else "spawn").events(p.runs()))
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
                os.kill(engine.processes[0].process.pid, signal.SIGKILL)


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
    assert [e["event"] for e in store.events(run.id, 0)].count("started") == 3


def test_a_run_whose_process_dies_three_times_fails_alone(tmp_path):
    run = BASELINE.but(epochs=100_000)
    engine = Engine(Store(tmp_path), ["cpu"], every=0, method=FORKS)
    said = list(killing(engine, run, 3))
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


def test_a_refused_run_is_said_kept_apart_and_trained_again(tmp_path):
    store, spec = Store(tmp_path), BASELINE.but(augment=(Lying(),))
    for _ in range(2):
        epochs = []
        with pytest.raises(Problem, match="REFUSED by its evidence: Lying, what was promised: expected done, seen not"):
            execute(spec, 0, store, torch.device("cpu"), epochs.append)
        assert [e["kind"] for e in epochs] == ["started", "epoch", "epoch"], "trained, not taken from the store"
    assert (spec.id, 0) not in store
    assert store.refused(spec.id, 0)["status"] == "refused"
    assert store.refused(spec.id, 1) is None


def test_what_builds_on_a_run_that_diverged_says_so(tmp_path):
    store, plan = Store(tmp_path), tiny_plan()
    teacher, student = plan.runs()[0][0], plan.rungs[-1].spec
    finish(store, teacher.id, 0, {"status": "diverged"})
    with pytest.raises(Problem, match=f"{teacher.id}, was diverged"):
        execute(student, 0, store, torch.device("cpu"), lambda event: None)


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


def test_an_echo_of_ctrl_c_is_heard_as_the_first_and_a_later_one_is_another():
    stopped, before = SimpleNamespace(stopping=False), signal.getsignal(signal.SIGINT)
    echo = threading.Timer(ECHO / 2, os.kill, (os.getpid(), signal.SIGINT))
    with asked_to_stop(stopped):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.stopping
        echo.start()  # it comes when the work has ended
    echo.join()
    with pytest.raises(KeyboardInterrupt, match="goes on from what is kept"), asked_to_stop(stopped):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


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


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_hangs_up_stops_runs_unless_that_is_ignored(ignored):
    """Twice: a shell says so, and the kernel. `nohup` has it ignored, and so it stays."""
    stopped, handler = SimpleNamespace(stopping=False), signal.SIG_IGN if ignored else signal.SIG_DFL
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with asked_to_stop(stopped):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
                assert stopped.stopping == (not ignored)
                time.sleep(ECHO + 0.01)
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


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
