import csv
import errno
import fcntl
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from harness import Problem, ablate
from tests.kit.commands import harness, known_to_mlflow
from tests.kit.tiny import SOURCE, tiny_plan

ROOT = Path(__file__).parent.parent


@pytest.fixture
def home(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.py").write_text(SOURCE)
    return tmp_path


def test_a_study_ends_in_a_table_and_a_figure_and_is_not_trained_twice(home):
    first = harness(home, "own", "--jobs", "1", "--curve-every", "9")
    assert first.returncode == 0, first.stderr
    assert "9 runs trained, 0 reused" in first.stdout
    every = [json.loads(path.read_text())["epochs"] for path in (home / "runs" / "store").glob("*/*/result.json")]
    assert [["top1" in row for row in epochs] for epochs in every] == [
        [False] * (len(epochs) - 1) + [True] for epochs in every
    ]
    assert "mlflow ui" in first.stdout
    assert "left" in first.stderr
    folder = home / "runs" / "reports" / "own"
    assert {"table.md", "table.csv", "table.tex", "index.html", "ladder.png"} <= {p.name for p in folder.iterdir()}
    with (folder / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["rung"] for row in table] == ["baseline", "warmup", "mixup", "distillation"]
    assert {row["n"] for row in table} == {"2"}
    assert [row["budget_changed"] for row in table] == ["False", "False", "True", "False"]
    assert (home / "runs" / "mlflow.db").exists()
    assert sorted(p.name for p in home.iterdir()) == ["experiments", "runs"]

    before = (folder / "table.csv").read_bytes()
    second = harness(home, "own", "--only", "baseline", "mixup")
    assert second.returncode == 0, second.stderr
    assert "0 runs trained, 4 reused" in second.stdout
    assert (folder / "table.csv").read_bytes() == before

    shown = harness(home, "own", module="harness.report")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[2] == first.stdout.splitlines()[2]

    planned = harness(home, "own", "--dry-run", "--json")
    plan = json.loads(planned.stdout)
    assert plan["runs"] == {"asked": 9, "missing": 0}
    assert plan["seconds"] == 0


TALKING = """
from harness.spec import Augment

class Talking(Augment):
    def __call__(self, x, rng):
        print("γ", flush=True)
        return x

    def proof(self, spec, trace):
        return ()

BASELINE = BASELINE.having("augment", Talking())
"""


def test_output_that_nobody_reads_ends_no_training(home):
    """Of `ablate | head -1` from a terminal that is closed meanwhile, and of a user's part; no home, no γ.

    The command is Python's own, and so are its workers.
    """
    known_to_mlflow(home)
    (home / "experiments" / "own.py").write_text(SOURCE + TALKING)
    own = {"PYTHONPATH": str(ROOT), "HOME": str(home / "nowhere")}
    own |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # else Python takes UTF-8 for C's letters
    kept = {k: v for k, v in os.environ.items() if k not in ("HARNESS_RUNS", "MLFLOW_TRACKING_URI")}
    words = [sys.executable, "-m", "harness.ablate", "own", "--only", "baseline", "--jobs", "1"]
    (reader, out), (master, terminal) = os.pipe(), os.openpty()
    with subprocess.Popen(words, cwd=home, env=kept | own, stdout=out, stderr=terminal) as ablate:
        for end in (out, terminal, reader):
            os.close(end)
        assert os.read(master, 1)
        os.close(master)
        assert ablate.wait(300) == 0
    page = (home / "runs" / "reports" / "own" / "index.html").read_text()
    assert "ρ̂" in page
    assert len(list((home / "runs" / "store").glob("*/*/result.json"))) == 2


def test_where_all_runs_fail_the_status_is_1_and_they_are_told(home):
    known_to_mlflow(home)
    (home / "experiments" / "own.py").write_text(
        SOURCE + TALKING.replace('print("γ", flush=True)', "raise KeyError(7)")
    )
    done = harness(home, "own", "--only", "baseline", "--jobs", "1", "--seeds", "1", "--json")
    assert done.returncode == 1
    (failed,) = json.loads(done.stdout)["failed"]
    assert "KeyError" in json.dumps(failed)
    assert "no finished run to report, as 1 run failed" in done.stderr


def test_a_folder_that_cannot_lock_files_is_said_before_the_first_run(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(Problem, match="cannot be locked"):
        ablate.train_and_report(tiny_plan(), ["cpu"], ablate.parser().parse_args([]), set())
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.lock"]


def test_the_plan_shows_what_differs_and_writes_nothing(home):
    done = harness(home, "own", "--dry-run", "--json", "--set", "mix.alpha=0.4", "--seeds", "3")
    plan = json.loads(done.stdout)
    assert [rung["name"] for rung in plan["rungs"]] == ["baseline", "warmup", "mixup", "distillation"]
    assert len({rung["id"] for rung in plan["rungs"]}) == 4
    mixup = plan["rungs"][2]["changes"]
    assert mixup == {"epochs": [2, 3], "mix": [None, "Mixup"], "mix.Mixup.alpha": [None, 0.4]}
    assert plan["runs"] == {"asked": 13, "missing": 13}
    assert plan["seconds"] > 0
    assert sorted(p.name for p in home.iterdir()) == ["experiments"]
    text = harness(home, "own", "--dry-run")
    assert "schedule.warmup.epochs: – → 0.5" in text.stdout
    assert "9 runs asked for, 9 missing" in text.stdout
    assert "ladder: 5 specifications asked for, 5 new" in text.stdout
    halves = harness(home, "own", "--dry-run", "--design", "factorial", "--fraction", "1").stdout
    assert "2^(3-1) factorial of resolution 3: A LR warmup, B mixup, C distillation" in halves
    assert "A = BC; B = AC; C = AB" in halves


def test_designs_share_their_runs_and_end_in_effects(home):
    known_to_mlflow(home)
    done = harness(home, "own", "--design", "shapley", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "20 runs trained, 0 reused" in done.stdout, "8 subsets of 2 seeds, and 4 teachers"
    assert "Shapley value" in done.stdout
    folder = home / "runs" / "reports" / "own@shapley"
    with (folder / "table.csv").open() as file:
        values = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    with (folder / "rungs.csv").open() as file:
        top1 = {row["rung"]: float(row["top1_mean"]) for row in csv.DictReader(file)}
    assert sum(values.values()) == pytest.approx(top1["warmup+mixup+distillation"] - top1["baseline"])
    left = harness(home, "own", "--design", "leave-one-out", "--jobs", "1")
    assert "0 runs trained" in left.stdout, left.stderr
    assert (folder / "index.html").exists()


def test_seeds_are_added_where_gains_need_them_and_never_by_asking_again(home):
    known_to_mlflow(home)
    words = ("own", "--decide", "2", "--looks", "2", "3", "--jobs", "2")
    done = harness(home, *words)
    assert done.returncode == 0, done.stderr
    assert "known to ± 2" in done.stdout
    assert "seeds where needed: " in done.stdout
    (folder,) = (each for each in (home / "runs" / "reports").iterdir() if each.is_dir())
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["n"] for row in rows} <= {"2", "3"}
    for below, above in pairwise(rows):
        if above["verdict"] == "not resolved":
            assert (below["n"], above["n"]) == ("3", "3"), "an open gain has all the seeds there may be"
    before = (folder / "table.csv").read_bytes()
    again = harness(home, *words)
    assert "0 runs trained" in again.stdout
    assert (folder / "table.csv").read_bytes() == before

    told = "at most .10 with the plan before (± 2 at 2, 3 seeds, moderated), and more where what was seen chose this"
    other = harness(home, "own", "--decide", "1", "--looks", "2", "--jobs", "1")
    assert "0 runs trained" in other.stdout
    assert (
        f"own: looks of another plan than the first: the error of all rows and looks together is {told}" in other.stderr
    )
    assert "at looks of another plan than the first (2 seeds), for gains" in other.stdout
    (page,) = (path for path in (home / "runs" / "reports").glob("*/index.html") if path.parent.name != folder.name)
    assert all(f"{told}." in path.read_text() for path in (page, page.parent / "table.md", page.parent / "findings.md"))
    shown = harness(home, *words, "--dry-run")
    assert "beforehand" not in done.stderr + again.stderr + shown.stderr, "the first stays the first, and needs no word"
    assert "looks planned beforehand" in (folder / "table.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "no study 'nosuch'"),
        (["own", "--set", "nosuch.lr=1"], "no slot 'nosuch'"),
        (["own", "--set", "epochs=abc"], "valid integer"),
        (["own", "--set", "batch_size=600"], "fewer than batch_size=600"),
        (["own", "--only", "cutmix"], "no such rung"),
        (["own", "--device", "toaster"], "--device toaster"),
        (["own", "--seeds", "0"], "at least 1"),
        (["own", "--seeds", "two"], "two is not a whole number"),
        (["own", "--design", "tower"], "invalid choice"),
        (["own", "--metric", "rmse"], "--metric rmse: no such metric; there are: top1, top5, loss, "),
        (["own", "--set", 'data={"kind": "ImageFolder", "root": "empty", "size": 32}'], "train"),
    ],
)
def test_a_mistake_is_one_clear_line_exit_2_and_nothing_written(home, words, said):
    (home / "empty").mkdir()
    done = harness(home, *words)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("harness.ablate: ")
    assert said in last
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in home.iterdir()) == ["empty", "experiments"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digits", "--design", "factorial", "--fraction", "7"], "no design for 1/2^7 of 9 tricks"),
        (["digits", "--design", "shapley", "--same-epochs"], "--design shapley has not"),
        (["digits", "--design", "shapley", "--decide", "0.3"], "--design shapley has not"),
        (["digits", "--decide", "0"], "must be above 0"),
        (["digits", "--decide", "nan"], "must be above 0"),
        (["digits", "--decide", "1", "--looks", "4", "4"], "must rise"),
        (["digits", "--decide", "1", "--seeds", "4"], "leave out --seeds"),
        (["digits", "--decide", "1", "--max-seeds", "3"], "before the first look, at 4"),
        (["digits", "--looks", "4"], "go with --decide"),
        (["digits", "--metric", "mIoU"], "--metric mIoU: these runs are scored by top1"),
        (
            ["digits", "--metric", "ece", "--tuned", "2"],
            "--tuned tunes by the headline of the task: leave out --metric",
        ),
    ],
)
def test_options_that_do_not_go_together(words, said, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(Problem, match=re.escape(said)):
        ablate.run(ablate.parser().parse_args(words))


def test_the_studies_are_listed_with_what_they_are(home):
    own = dict(line.split(maxsplit=1) for line in harness(home, "--list").stdout.splitlines())
    assert own["own"] == "A study of a user's own."
    assert "digits" in own, "those that are shipped are beside it"
    listed = harness(ROOT, "--list").stdout
    assert {"digits", "cifar10", "photos"} <= {line.split()[0] for line in listed.splitlines()}


@pytest.mark.parametrize("module", ["harness.ablate", "harness.compare", "harness.plan", "harness.report"])
def test_help_imports_nothing_heavy(module):
    code = f"""
import sys, runpy
sys.argv = ["x", "--help"]
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit:
    pass
heavy = {{"torch", "mlflow", "numpy", "pandas", "pydantic"}} & sys.modules.keys()
assert not heavy, heavy
"""
    if module == "harness.report":  # its package holds the report itself; torch and mlflow alone are out
        code = code.replace(', "numpy", "pandas", "pydantic"', "")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SPACE = """
from optuna.distributions import FloatDistribution
SPACE = {"optimizer.lr": FloatDistribution(0.01, 0.5, log=True), "mix.alpha": FloatDistribution(0.1, 1)}
BASELINE, TRICKS = BASELINE.but(epochs=1), TRICKS[1:2]
"""


def test_a_tuned_ladder_spends_as_many_trials_on_each_rung_and_is_set_beside_the_untuned(home):
    known_to_mlflow(home)
    (home / "experiments" / "own.py").write_text(SOURCE + SPACE)
    made = harness(home, "own", "--tuned", "2", "--jobs", "1", more={"MLFLOW_TRACKING_URI": "nosuch://here"})
    assert made.returncode == 0, made.stderr
    assert made.stderr.count("MLflow at nosuch://here lacks runs (") == 1
    (folder,) = (home / "runs" / "reports").glob("own@*tuned-2-random")
    with (folder / "tuned.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["trials"] for row in table] == ["2", "2"]
    assert "mix.alpha" not in table[0]["values"]
    assert "mix.alpha" in table[1]["values"]
    assert all("optimizer.lr" in row["values"] for row in table)
    assert {row["tuned_n"] for row in table} == {row["untuned_n"] for row in table} == {"2"}
    searches = sorted(path.name for path in (home / "runs" / "searches").glob("*.log"))
    assert len(searches) == 2
    for path in (home / "runs" / "store").glob("*/*/spec.json"):
        blind = json.loads(path.read_text())["spec"]["data"].get("blind", False)
        assert blind == (path.parent.name == "2"), "trials have a seed of their own, and no other run is blind"

    again = harness(home, "own", "--tuned", "2", "--jobs", "1")
    assert "0 runs trained, 4 reused" in again.stdout
    assert again.stdout.count("runs trained") == 2


def test_what_mlflow_lacks_is_said_once_however_why_is_worded(capsys):
    said = set()
    for trouble in (None, "M lacks runs (at 0x1 (a)); later", "M lacks runs (at 0x2 (b)); later", "M was not sent x"):
        ablate.lacking(trouble, said)
    assert capsys.readouterr().err == (
        "harness.ablate: M lacks runs (at 0x1 (a)); later\nharness.ablate: M was not sent x\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tuned", "2"], "own has no SPACE"),
        (["--tuned", "2", "--decide", "0.5"], "--tuned goes with every rung and seed of a study"),
        (["--sampler", "tpe"], "--sampler goes with --tuned"),
        (["--tuned", "0"], "0 is not a whole number of at least 1"),
    ],
)
def test_what_cannot_be_tuned_is_said(home, words, said):
    made = harness(home, "own", *words)
    assert made.returncode == 2
    assert said in made.stderr
    assert "Traceback" not in made.stderr


def test_a_search_begun_otherwise_is_said_before_the_first_run(home):
    (home / "experiments" / "own.py").write_text(SOURCE + SPACE)
    assert harness(home, "own", "--tuned", "2", "--dry-run").returncode == 0
    assert not (home / "runs" / "searches").exists(), "a dry run begins none"
    begun = "from harness import study; from harness.search import storage, tuned; s = study.load('own')\n"
    begun += "storage.opened(tuned.searches(s, study.plan(s), 2, 'random')[0])"
    environment = {k: v for k, v in os.environ.items() if k != "HARNESS_RUNS"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", begun], cwd=home, env=environment, check=True, timeout=120)
    (home / "experiments" / "own.py").write_text(SOURCE + SPACE.replace("0.01, 0.5", "0.02, 0.5"))
    made = harness(home, "own", "--tuned", "2", "--jobs", "1")
    assert made.returncode == 2
    assert "begun otherwise: SPACE differs: optimizer.lr was" in made.stderr
    assert not (home / "runs" / "store").exists()
