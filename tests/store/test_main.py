"""The store's command line."""

import argparse
import json
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch

from harness.engine import execute
from harness.paths import write_atomic
from harness.report import known, remember
from harness.store import Store
from harness.store.command import shown
from harness.study import Study, describe, plan
from tests.kit import transfers
from tests.kit.commands import harness
from tests.kit.records import record
from tests.kit.stores import add
from tests.kit.tiny import BASELINE, SOURCE, tiny_plan


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's folder with a study, its runs of one seed, and a run that no study names."""
    home = tmp_path_factory.mktemp("home")
    (home / "experiments").mkdir()
    (home / "experiments" / "own.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_RUNS", str(home / "runs"))
        store, plan = Store(), tiny_plan()
        remember({**describe(plan, store), "label": "own", "study": "own"})
        for spec, seed in [*plan.runs(["baseline"])[:1], (BASELINE.but(epochs=1), 7)]:
            execute(spec, seed, store, torch.device("cpu"))
    return home


def told(home, *words):
    done = harness(home, *words, module="harness.store")
    assert "Traceback" not in done.stderr
    return done


def test_list_and_show(home):
    lines = told(home, "list").stdout.splitlines()
    assert len(lines) == 3
    assert any("own: baseline" in line and "finished" in line for line in lines)
    shown = told(home, "show", f"{BASELINE.id[:6]}/0").stdout
    assert "optimizer.lr: " in shown
    assert re.search(r"seed 0: finished, in .*/store/", shown)
    assert re.search(r"0 +\d+\.\d\d s +started", shown)
    for words, said in ((("show", "ffff"), "no run ffff"), (("show", ""), "no run")):
        done = told(home, *words)
        assert (done.returncode, said in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("scores", "heading", "cells"),
    [
        (("top1", "top1"), " top-1 ", (" 60.00 ", " 60.00 ")),
        (("mIoU", "mIoU"), "  mIoU ", (" 60.00 ", " 60.00 ")),
        (("top1", "mAP"), " score ", (" top-1 60.00 ", " mAP 60.00 ")),
        ((), " top-1 ", ()),
    ],
)
def test_the_list_says_what_each_run_is_scored_by(scores, heading, cells, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    for seed, score in enumerate(scores):
        made = record(60.0, tested=10) if score == "top1" else transfers.result(60.0, score)
        transfers.add(Store(), transfers.resolved("a"), seed, made)
    shown.list_runs(argparse.Namespace())
    head, *lines = capsys.readouterr().out.splitlines()
    assert heading in head
    assert [cell in line for cell, line in zip(cells, lines, strict=True)] == [True] * len(scores)


def test_verify_names_what_is_wrong_and_says_so_by_its_status(home):
    assert told(home, "verify").stdout == "2 runs, 2 whole, 0 with something wrong\n"
    weights = home / "runs" / "store" / BASELINE.id / "0" / "weights.pt"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    done = told(home, "verify")
    weights.write_bytes(data)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{weights}: is damaged, its digest is another",
        "2 runs, 1 whole, 1 with something wrong",
    ]


def test_gc_sets_aside_what_nothing_names_and_a_dated_step_frees_it(home):
    other = BASELINE.but(epochs=1).id
    there = home / "runs" / "store" / other / "7"
    (home / "experiments" / "broken.py").write_text("import nosuch")
    dry = told(home, "gc").stdout
    assert f"unnamed: {other}, seed 7, finished" in dry
    assert "broken does not load, so what it was last seen to name is kept" in dry
    assert BASELINE.id not in dry
    assert there.exists()
    done = told(home, "gc", "--delete").stdout
    (home / "experiments" / "broken.py").unlink()
    day = time.strftime("%Y-%m-%d")
    assert f"harness.store restore {day} brings runs back" in done
    assert not there.exists()
    assert (home / "runs" / "store" / BASELINE.id / "0" / "result.json").exists()
    assert told(home, "restore", day).stdout == "1 run brought back\n"
    assert (there / "result.json").exists()
    assert told(home, "verify").returncode == 0
    told(home, "gc", "--delete")
    assert "left aside" not in told(home, "restore", f"{other}/7").stdout
    told(home, "gc", "--delete")
    for bad in ("2999-01-01", "1999-13-01", "yesterday"):
        assert "is not a day that has begun" in told(home, "free", bad).stderr
    assert "nothing was set aside" in told(home, "free", "1999-01-01").stderr
    assert "removed: " in told(home, "free", day).stdout
    assert list((home / "runs" / "aside").iterdir()) == [] if (home / "runs" / "aside").exists() else True
    assert "no such day" in told(home, "restore", day).stderr


def test_runs_of_two_machines_join(home, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.py").write_text(SOURCE)
    assert "1 run written" in told(home, "export", str(tmp_path / "a.tar"), "own").stdout
    assert "1 run imported" in told(tmp_path, "import", "a.tar").stdout
    assert told(tmp_path, "verify").stdout.startswith("1 run, 1 whole")
    again = told(tmp_path, "import", "a.tar").stdout
    assert f"{BASELINE.id}, seed 0: here already\n" in again
    plan = json.loads(harness(tmp_path, "own", "--dry-run", "--json").stdout)
    assert plan["runs"] == {"asked": 9, "missing": 8}


def test_runs_of_machines_without_a_common_folder_join(home, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.py").write_text(SOURCE)
    there = str(tmp_path / "there")
    pushed = told(home, "push", there, "own")
    assert pushed.returncode == 0
    assert f"[1/1] {BASELINE.id}, seed 0, own: baseline: sent to {there}; " in pushed.stderr
    assert pushed.stdout.startswith(f"1 run sent to {there}, 0.")
    pulled = told(tmp_path, "pull", there)
    assert pulled.stdout.startswith(f"1 run brought from {there}, 0.")
    assert told(tmp_path, "verify").stdout.startswith("1 run, 1 whole")
    plan = json.loads(harness(tmp_path, "own", "--dry-run", "--json").stdout)
    assert plan["runs"] == {"asked": 9, "missing": 8}
    again = told(home, "push", there, "own")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"0 runs sent to {there}, 0.0 MB; 1 here and there already, 0 left out\n"
    for path in (tmp_path / "there" / "files").iterdir():
        path.write_bytes(b"")
    (tmp_path / "else").mkdir()
    damaged = told(tmp_path / "else", "pull", there)
    assert (damaged.returncode, damaged.stdout.count("is missing or damaged")) == (1, 1)
    assert "0 here and there already, 1 left out" in damaged.stdout
    nowhere = told(home, "push", "s4://user:hunter2@bucket")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert nowhere.stderr.startswith("harness.store: s4://user:***@bucket is of no kind that is known")
    assert nowhere.stderr.count("\n") == 1


def test_help_is_light():
    code = """
import sys, runpy
sys.argv = ["x", "--help"]
try:
    runpy.run_module("harness.store", run_name="__main__")
except SystemExit:
    pass
assert not {"torch", "mlflow", "numpy", "pandas", "pydantic"} & sys.modules.keys()
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_archive_is_a_plain_tar(home, tmp_path):
    told(home, "export", str(tmp_path / "a.tar"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        names = {member.name.rpartition("/")[2] for member in tar}
        assert names == {"spec.json", "journal.jsonl", "weights.pt", "logits.npz", "result.json"}
        assert {(member.uid, member.uname) for member in tar} == {(0, "")}


def test_a_study_goes_with_its_reports_and_what_no_other_needs(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.py").write_text(SOURCE)
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    store = Store()
    longer, odd = BASELINE.but(epochs=3), BASELINE.but(epochs=1)
    for spec, seed in ((BASELINE, 0), (longer, 0), (odd, 7)):
        add(store, spec, seed)
    plans = {
        "own": tiny_plan(),
        "own@123456": tiny_plan(epochs=3),
        "other": plan(Study("other", "", BASELINE, (), (0,))),
    }
    for label, made in plans.items():
        remember({**describe(made, store), "label": label, "study": label.partition("@")[0]})
        write_atomic(tmp_path / "runs" / "reports" / label / "index.html", b"page")

    def files():
        return {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}

    before = files()
    dry = told(tmp_path, "rm", "./own.py")
    assert files() == before, "dry by default"
    assert f"of this study alone: {longer.id}, seed 0" in dry.stdout
    assert BASELINE.id not in dry.stdout, "other needs it"
    assert odd.id not in dry.stdout, "it is of no study: gc names it"
    assert "1 run, 0.0 MB, 2 plans and 2 reports to set aside with --delete; 1 run kept" in dry.stdout
    done = told(tmp_path, "rm", "own", "--delete", "--json")
    assert json.loads(done.stdout)["runs"] == [{"spec_id": longer.id, "seed": 0}]
    assert set(store) == {(BASELINE.id, 0), (odd.id, 7)}
    assert known() == ["other"]
    assert {path.name for path in (tmp_path / "runs" / "reports").iterdir()} == {"other", "index.html"}
    page = (tmp_path / "runs" / "reports" / "index.html").read_text()
    assert ("own/" in page, "own@" in page) == (False, False), "the page over all reports"
    day = next((tmp_path / "runs" / "aside").iterdir())
    assert (day / "own@123456.report" / "index.html").read_bytes() == b"page"
    gone = told(tmp_path, "rm", "own")
    assert (gone.returncode, "own: no such study was run here; there are: other" in gone.stderr) == (2, True)
