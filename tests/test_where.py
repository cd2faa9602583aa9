"""Where runs execute, by a command's options."""

import argparse
from contextlib import contextmanager

import pytest
import torch

from harness import Problem, ablate, where
from harness.engine import sharing
from harness.engine.sharing import Shared
from harness.study.costs import Market
from harness.train import How
from tests.kit.prices import PRICE
from tests.kit.tiny import BASELINE

RUNS = [(BASELINE, 0)]


def options(*words):
    p = argparse.ArgumentParser()
    where.add(p)
    p.set_defaults(curve_every=3)
    return p.parse_args(words)


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def found(monkeypatch):
    """What is found of cards, and what happened meanwhile."""
    happened = []

    @contextmanager
    def shared(runs, store, places, say, how):
        assert how == where.how(argparse.Namespace(curve_every=3))
        happened.append((runs, places))
        yield Shared([*places] * 4, ["4 runs share cuda:0: 3.4 times"], 4 / 3.4)
        happened.append("ended")

    monkeypatch.setattr(sharing, "shared", shared)
    return happened


def test_jobs_is_a_number_or_auto(two, capsys):
    assert where.places(options("--jobs", "3")) == ["cuda:0", "cuda:1", "cuda:0"]
    assert where.places(options("--jobs", "auto")) == where.places(options()) == ["cuda:0", "cuda:1"]
    assert where.places(options("--jobs", "auto", "--device", "cpu")) == where.places(options("--device", "cpu"))
    for wrong in ("0", "Auto", "-1", "x"):
        with pytest.raises(SystemExit):
            options("--jobs", wrong)
    assert "nor auto" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["slurm", "ray", "ray://head:1"])
def test_auto_is_of_this_machine(engine):
    with pytest.raises(Problem, match="--jobs auto measures the GPUs of this machine: .* say how many, --jobs N"):
        where.check(options("--jobs", "auto", "--engine", engine))


@pytest.mark.parametrize(
    ("words", "runs", "at"),
    [
        ((), RUNS, ["cuda:0"]),
        (("--jobs", "4"), RUNS, ["cuda:0"]),
        (("--jobs", "auto"), RUNS, ["cpu", "cpu"]),
        (("--jobs", "auto"), [], ["cuda:0"]),
    ],
)
def test_nothing_is_measured_where_it_was_not_asked_for_or_tells_nothing(found, words, runs, at):
    with where.shared(options(*words), runs, None, at) as cards:
        assert cards == Shared(at)
    assert found == []


def test_what_was_chosen_is_said_and_lasts_as_long_as_the_command(found, capsys):
    with where.shared(options("--jobs", "auto"), RUNS, None, ["cuda:0"]) as cards:
        assert cards.places == ["cuda:0"] * 4
        assert found == [(RUNS, ["cuda:0"])]
    assert found[1:] == ["ended"]
    assert capsys.readouterr().err == "--jobs auto: 4 runs share cuda:0: 3.4 times\n"


def test_a_dry_run_has_it_in_its_plan_and_leaves_nothing_started(found, capsys):
    own = options("--jobs", "auto")
    own.dry_run = True
    with where.shared(own, RUNS, None, ["cuda:0"]):
        assert found[1:] == ["ended"]
    assert capsys.readouterr().err == ""


def test_a_plan_tells_of_it_and_of_the_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setattr(Market, "prices", lambda self, specs: {spec.id: PRICE for spec in specs})
    (tmp_path / "own.py").write_text('"""A."""\nfrom tests.kit.tiny import BASELINE\nTRICKS = ()\nSEEDS = range(8)\n')
    told = []
    monkeypatch.setattr(ablate, "answer", told.append)
    words = [str(tmp_path / "own.py"), "--dry-run", "--jobs"]
    for lines in ([], ["4 runs share cuda:0: 2 times"]):
        shown = Shared(["cpu"] * 4, lines, 2.0 if lines else 1.0)
        monkeypatch.setattr(where, "shared", lambda *given: _given(shown))  # noqa: B023
        ablate.run(ablate.parser().parse_args([*words, "4"]))
        assert (capsys.readouterr().out.splitlines()[-1] == "4 runs share cuda:0: 2 times") is bool(lines)
    assert [one["seconds"] for one in told] == [200, 400]
    assert "sharing" not in told[0]
    assert told[1]["sharing"] == ["4 runs share cuda:0: 2 times"]


@contextmanager
def _given(shown):
    yield shown


def test_it_goes_by_the_runs_that_are_missing(tmp_path, monkeypatch):
    from harness import study
    from harness.store import Store
    from tests.kit.tiny import RESULT, STUDY, finish

    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    plan = study.plan(STUDY)
    every = plan.runs()
    auto, fresh, plain = (
        ablate.parser().parse_args(words)
        for words in (["digits", "--jobs", "auto"], ["digits", "--jobs", "auto", "--fresh"], ["digits"])
    )
    assert ablate.to_train(plan, ["cuda:0"], auto) == every
    for spec, seed in every:
        finish(Store(), spec.id, seed, RESULT)
    assert ablate.to_train(plan, ["cuda:0"], auto) == []
    assert ablate.to_train(plan, ["cuda:0"], fresh) == every
    tuned = ablate.parser().parse_args(["digits", "--jobs", "auto", "--tuned", "3"])
    assert ablate.to_train(plan, ["cuda:0"], tuned) == every, "whose trials are to come"
    assert ablate.to_train(plan, ["cpu"], fresh) == ablate.to_train(plan, ["cuda:0"], plain) == []


def test_cuda_graphs_that_there_are_none_of_are_told_of_once(capsys, monkeypatch):
    options = argparse.Namespace(engine="local", slurm=None, jobs=1, per_job=None, device="cpu", cuda_graphs=True)
    assert where.places(options) == ["cpu"]
    assert capsys.readouterr().err == "--cuda-graphs: a CPU has none, passes are done as they are written\n"
    assert where.how(options) == How(cuda_graphs=True)
    monkeypatch.setattr("harness.engine.places", lambda device, jobs: ["cuda:0"])
    assert where.places(options) == ["cuda:0"]
    assert not capsys.readouterr().err
