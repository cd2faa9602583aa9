"""The time left, under a clock of our own."""

import pytest

from harness.engine import progress
from harness.engine.progress import Progress, clock
from tests.kit.tiny import tiny_plan


@pytest.fixture
def watch(monkeypatch):
    """A list whose one item is the time."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def runs():
    return tiny_plan().runs(["baseline"])  # two runs of one specification, two epochs each


def test_no_time_is_given_before_there_is_a_pace(watch, runs):
    seen = Progress(tiny_plan(), runs, reused=0, jobs=1)
    assert seen.left() is None
    seen.see({"kind": "started", "run": runs[0]})
    assert seen.left() is None


def test_the_time_left_is_the_work_left_at_the_pace_so_far(watch, runs):
    seen = Progress(tiny_plan(), runs, reused=0, jobs=1)
    seen.see({"kind": "started", "run": runs[0]})
    watch[0] = 10.0
    seen.see({"kind": "epoch", "run": runs[0], "at": {"epoch": 0, "loss": 1.0}})
    assert seen.left() == pytest.approx(30)  # half of the first run took 10: its other half, and another run
    watch[0] = 20.0
    seen.see({"kind": "epoch", "run": runs[0], "at": {"epoch": 1, "loss": 1.0, "top1": 50.0}})
    seen.see({"kind": "finished", "run": runs[0]})
    assert seen.left() == pytest.approx(20)


def test_two_jobs_halve_it_until_one_run_is_left(watch, runs):
    seen = Progress(tiny_plan(), runs, reused=0, jobs=2)
    for run in runs:
        seen.see({"kind": "started", "run": run})
    watch[0] = 10.0
    for run in runs:
        seen.see({"kind": "batch", "run": run, "at": {"epoch": 0, "batch": 1, "batches": 4, "loss": 1.0}})
    assert seen.left() == pytest.approx(70)  # an eighth of each took 10
    watch[0] = 80.0
    seen.see({"kind": "epoch", "run": runs[0], "at": {"epoch": 1, "loss": 1.0, "top1": 50.0}})
    seen.see({"kind": "finished", "run": runs[0]})
    assert seen.left() == pytest.approx(7 / 8 * 80)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"val_top1": 50.0}, "held-out top-1 50.00"),
        ({"mAP": 61.2, "mAP_area": 70.0}, "mAP 61.20"),
        ({"val_mIoU": 39.0, "val_pixAcc": 80.0}, "held-out mIoU 39.00"),
    ],
)
def test_a_finished_run_tells_its_headline_metric(at, said, watch, runs, capsys):
    with Progress(tiny_plan(), runs, reused=0, jobs=1) as seen:
        seen.see({"kind": "started", "run": runs[0]})
        seen.see({"kind": "epoch", "run": runs[0], "at": {"epoch": 1, "loss": 1.0} | at})
        seen.see({"kind": "finished", "run": runs[0]})
    assert f"seed 0: {said}" in capsys.readouterr().err


def test_what_is_printed_where_there_is_no_terminal(watch, runs, capsys):
    with Progress(tiny_plan(), runs, reused=3, jobs=1) as seen:
        seen.see({"kind": "started", "run": runs[0]})
        watch[0] = 65.0
        seen.see({"kind": "epoch", "run": runs[0], "at": {"epoch": 1, "loss": 1.0, "top1": 93.21}})
        seen.see({"kind": "finished", "run": runs[0]})
        seen.see({"kind": "failed", "run": runs[1], "why": "its process was killed by SIGKILL"})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/2] baseline, seed 0: top-1 93.21, about 1:05 left"
    assert lines[1] == "baseline, seed 1 failed: its process was killed by SIGKILL"


def test_the_live_block_shows_each_run_in_flight(watch, runs):
    seen = Progress(tiny_plan(), runs, reused=3, jobs=2)
    for run in runs:
        seen.see({"kind": "started", "run": run})
    watch[0] = 10.0
    seen.see({"kind": "epoch", "run": runs[0], "at": {"epoch": 0, "loss": 0.51234}})
    block = seen._block()
    assert block[0].startswith("0/2 runs done (3 reused), about ")
    assert block[1:] == ["  baseline, seed 0: epoch 1/2, loss 0.5123", "  baseline, seed 1: starting"]


@pytest.mark.parametrize(("seconds", "text"), [(5.4, "0:05"), (65, "1:05"), (3599.6, "1:00:00"), (7384, "2:03:04")])
def test_clock(seconds, text):
    assert clock(seconds) == text
