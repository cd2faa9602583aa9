"""The command."""

import json
import subprocess
import sys
from pathlib import Path

from harness import report
from harness.engine import Engine
from harness.search import __main__ as command
from harness.search import outcome
from harness.search.lines import Lines
from harness.search.search import make
from harness.spec import upstream
from harness.store import Store
from tests.search.here import SEARCHED, Here, trained


class NoTracker:
    def __init__(self, *_):
        self.seen = []

    def see(self, event):
        assert event["kind"] not in ("begun", "trial")

    def reused(self, keys):
        self.seen += keys

    def close(self):
        return None


def test_a_trials_runs_that_are_there_already_are_sent_too(home):
    """Which were trained while MLflow was away, say: of every seed, with what they build on."""
    search, tracker = make(SEARCHED, seeds=2), NoTracker()
    spec = search.rung.spec
    Lines(search, tracker, {})({"kind": "begun", "number": 0, "run": (spec, 0)})
    (teacher,) = upstream(spec)
    assert {*tracker.seen} == {(teacher.id, 0), (spec.id, 0), (spec.id, 1)}


def test_the_test_set_is_met_by_the_chosen_values_alone_at_the_end(monkeypatch, capsys, home):
    started = []

    def body(spec, seed):
        started.append((spec.id, seed))
        return (yield from trained(spec, seed))

    def engine(store, places, every, how):
        assert places == ["cpu"]
        return Engine(store, places, launcher=Here(body))

    monkeypatch.setattr("harness.engine.Engine", engine)
    monkeypatch.setattr("harness.tracking.Tracker", NoTracker)
    monkeypatch.setattr("harness.study.load", lambda name: SEARCHED)
    options = command.parser().parse_args(["tiny", "--trials", "2", "--jobs", "1", "--device", "cpu"])
    met = []
    tested = outcome.tested

    def look(searched, best, *rest):
        met.append({run: Store().read(*run) for run in Store()})
        return tested(searched, best, *rest)

    monkeypatch.setattr(outcome, "tested", look)
    assert command.run(options) == 0
    out, err = capsys.readouterr()
    true = SEARCHED.baseline.data.load()
    (before,) = met
    assert len(before) == 3, "two trials, and their one teacher"
    for record in before.values():
        assert record["images"]["digest"] != true.digest
        assert record["images"]["test"] == 597 - record["images"]["train"] == 120
    described = json.loads((home / "searches" / "tiny@search-distillation.json").read_text())
    new = {run: Store().read(*run) for run in Store() if run not in before}
    chosen = described["chosen"]
    assert {run[0] for run in new} == {chosen["spec_id"], upstream(make(SEARCHED).rung.spec)[0].id}
    assert {record["images"]["test"] for record in new.values()} == {len(true.labels("test"))}
    assert chosen["test"] == {str(seed): new[chosen["spec_id"], seed]["metrics"]["top1"] for seed in (0, 1)}
    assert described["tested"] == [chosen["spec_id"]]
    names = report.called("tiny@search-distillation")
    assert {run[0] for run in Store()} == set(names)
    assert set(names.values()) == {
        f"search-distillation, {what}" for what in ("trial 0", "trial 1", "upstream", "chosen")
    }
    assert "This search looked at the test set once, by the chosen configuration." in out
    assert f"optuna-dashboard {home}/searches/tiny@search-distillation.log" in out
    assert "[2/2] trial 1: top-1" in err

    started.clear()
    assert command.run(options) == 0
    assert capsys.readouterr().out == out, "the same command only tells it again"
    assert started == []


def test_help_needs_neither_torch_nor_optuna():
    code = "import sys, harness.search.__main__ as s; s.parser().format_help(); "
    code += "print({'torch', 'optuna', 'pandas', 'pydantic', 'numpy'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"
