"""wandb's few calls, against a stand-in that notes them, and against wandb itself where it is installed."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from harness import Problem
from harness.tracking import Wandb
from tests.tracking.test_tensorboard import RECORD, ROWS, told

EPOCHS = [{name: float(row[name]) for name in ("loss", "top1", "seconds")} for row in ROWS.values()]


def stand_in(name, calls, **only):
    """A module with the calls that the sink makes. As wandb does, a run refuses what is logged after its end."""
    module = ModuleType(name)

    def begun(**asked):
        calls.append(("init", asked))
        over = []

        def log(row, step=None):
            assert not over
            calls.append(("log", row, step))

        def finish(exit_code=0):
            over.append(True)
            calls.append(("finish", exit_code))

        return SimpleNamespace(log=log, finish=finish)

    def init(project, name, config, resume, id, dir, reinit, group):
        return begun(**locals())

    def brief(project, name, config, resume, group):
        return begun(**locals())

    module.init = brief if name == "trackio" else init
    module.Image = lambda path: ("image", path)
    module.Table = lambda **cells: ("table", cells)
    return module


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_SILENT", "WANDB_CONSOLE", "TRACKIO_DIR"):
        monkeypatch.setenv(name, "offline" if name == "WANDB_MODE" else "")
    made = []
    monkeypatch.setitem(sys.modules, "wandb", stand_in("wandb", made))
    return made


def kinds(calls):
    return [call[0] for call in calls]


def test_a_run_is_begun_once_and_each_epoch_is_logged_once(calls, tmp_path):
    sink = Wandb("tiny", "tiny@few", "call")
    assert sink.send(told(epochs=1))
    assert not sink.send(told(epochs=1))
    assert sink.send(told(record=RECORD))
    assert not sink.send(told(record=RECORD))
    assert kinds(calls) == ["init", "log", "log", "log", "finish"]
    asked = calls[0][1]
    named = {word: asked[word] for word in ("project", "name", "id", "group", "resume", "dir")}
    assert named == {
        **{"project": "tiny", "name": "+ zero γ, seed 3", "id": "b" * 16},
        **{"group": "tiny@few", "resume": "allow", "dir": str(tmp_path)},
    }
    assert asked["config"]["data.limit"] == "300"
    assert asked["config"]["seed"] == 3
    assert [call[1:] for call in calls[1:3]] == [(EPOCHS[0], 0), (EPOCHS[1], 1)]
    assert calls[3][1]["total/params"] == 1000
    assert calls[4] == ("finish", 0)


def test_another_invocation_sends_what_is_lacking_alone(calls):
    first = Wandb("tiny", "tiny", "call")
    first.send(told(epochs=1))
    first.close("KILLED")
    assert calls[-1] == ("finish", 1)
    del calls[:]
    again = Wandb("tiny", "tiny", "call")
    assert not again.send(told(epochs=1))
    assert again.send(told(record=RECORD))
    assert kinds(calls) == ["init", "log", "log", "finish"]
    assert calls[1][1:] == (EPOCHS[1], 1)


def test_what_raised_is_sent_anew(calls, monkeypatch):
    sink = Wandb("tiny", "tiny", "call")
    with monkeypatch.context() as patch:
        patch.setattr(sink.api, "init", lambda **asked: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sink.send(told())
    assert sink.send(told())
    assert kinds(calls) == ["init", "log", "log"]


def test_trackio_serves_it_where_wandb_is_absent(calls, monkeypatch):
    """With fewer words, and one run at a time."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "trackio", stand_in("trackio", calls))
    sink = Wandb("tiny", "tiny", "call")
    sink.send(told(epochs=1))
    other = told(epochs=1, seed=4)
    sink.send(type(other)(**{**vars(other), "born": "c" * 16}))
    assert kinds(calls) == ["init", "log", "finish", "init", "log"]
    assert "dir" not in calls[0][1]


def test_a_report_is_a_run_of_its_own(calls, tmp_path):
    (tmp_path / "table.csv").write_text("rung,top1\nbaseline,90\n")
    (tmp_path / "ladder.png").write_bytes(b"")
    Wandb("tiny", "tiny@few", "call").report("", tmp_path)
    assert kinds(calls) == ["init", "log", "finish"]
    cells = {"columns": ["rung", "top1"], "data": [["baseline", "90"]]}
    assert calls[1][1] == {"table": ("table", cells), "ladder": ("image", str(tmp_path / "ladder.png"))}


def test_nobody_is_asked_for_a_key(calls, monkeypatch, tmp_path):
    import os

    monkeypatch.setenv("HOME", str(tmp_path))
    for key, mode in (("", "offline"), ("k" * 40, "online")):
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("WANDB_API_KEY", key)
        Wandb.check()
        assert os.environ["WANDB_MODE"] == mode


def test_without_either_a_line_names_the_extra(calls, monkeypatch):
    for name in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Problem, match=r'--track wandb: .* pip install "ablation-harness\[wandb\]"'):
        Wandb.check()


@pytest.mark.filterwarnings("ignore")
def test_wandb_itself_keeps_an_offline_run(tmp_path, monkeypatch):
    """Its file holds the names and values of what was logged, plainly."""
    pytest.importorskip("wandb", reason="wandb is not installed", exc_type=ImportError)
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    sink = Wandb("tiny", "tiny", "call")
    assert sink.send(told(record=RECORD))
    (path,) = (tmp_path / "wandb").glob(f"offline-run-*-{'b' * 16}/run-{'b' * 16}.wandb")
    held = path.read_bytes()
    assert all(word in held for word in (b"loss", b"1.125", b"data.limit", b"total/params"))
