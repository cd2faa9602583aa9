"""How often the scheduler looks, never how long that takes."""

import pytest

from harness.bench.scheduler import WORLDS, Trial, show_scheduler
from harness.engine import scheduler


@pytest.fixture
def asked(monkeypatch):
    """The runs of which was asked what they build on: whoever walks a queue asks that of each in it."""
    runs, needed = [], scheduler.needed
    monkeypatch.setattr(scheduler, "needed", lambda *run: runs.append(run) or needed(*run))
    return runs


@pytest.mark.parametrize("world", WORLDS)
def test_looks_grow_as_runs_do_whatever_makes_them_wait(world, asked):
    looked = []
    for count in (100, 400):
        asked.clear()
        trial = Trial(world, count).see()
        looked.append((len(asked) / count, trial.looks / count))
    assert looked[0][0] <= 6
    assert looked[1] == pytest.approx(looked[0], rel=0.05)


@pytest.mark.parametrize("world", [world for world in WORLDS if world != "doomed"])
def test_each_run_of_a_world_ends_stored(world):
    trial = Trial(world, 70).see()
    assert len(trial.stored) == 70 + (world == "taught")


def test_no_run_of_a_failed_teacher_is_trained():
    assert Trial("doomed", 70).see().stored == set()


def test_it_is_shown(capsys):
    show_scheduler(20)
    shown = capsys.readouterr().out
    assert all(f"\n{world} " in shown for world in WORLDS)
