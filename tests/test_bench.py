"""The benchmark's arithmetic and plumbing. Nothing here asserts how fast anything is."""

import os
import re
import subprocess
import sys
from pathlib import Path
from queue import Queue
from threading import Barrier
from typing import ClassVar

import numpy as np
import pytest

from harness import Problem, bench, tracking
from harness import train as loop
from harness.bench.__main__ import parser, run
from harness.bench.evidence import show_evidence
from harness.bench.loop import Measured, Slice, _bare_loop, bound, sized, specification, study
from harness.bench.photos import loaded
from harness.bench.policy import costs, normalised, prepared, source
from harness.bench.records import records
from harness.parts.data import Digits
from harness.spec import parse, plain
from tests.kit import photos


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def spec():
    return specification("small", "digits", 8, 32)


def command(*words):
    run(parser().parse_args(words))


def test_slice_keeps_the_proportion_the_classes_and_the_images():
    whole, part = Digits().load(), Slice(data=Digits(), images=100).load()
    assert part.counts == {"train": 100, "test": 1200 * 100 // 597}
    for split, (images, labels) in part.arrays.items():
        assert set(labels) == set(range(10))
        assert len(images) == len(labels) == part.counts[split]
        whole_images, whole_labels = whole.arrays[split]
        pairs = {(x.tobytes(), y) for x, y in zip(whole_images, whole_labels, strict=True)}
        assert {(x.tobytes(), y) for x, y in zip(images, labels, strict=True)} <= pairs
        assert len(np.unique(images.reshape(len(images), -1), axis=0)) > 0.9 * len(images)


def test_slice_has_an_identity_of_its_own(spec):
    ids = {spec.but(data=data).id for data in (Digits(), *(Slice(data=Digits(), images=n) for n in (64, 65)))}
    assert len(ids) == 3
    sliced = Slice(data=Digits(), images=64)
    assert parse(plain(sliced)) == sliced


def test_slice_larger_than_the_data():
    with pytest.raises(Problem, match="597"):
        Slice(data=Digits(), images=598).load()


@pytest.mark.parametrize(("rate", "seconds", "images", "epochs"), [(32, 5, 160, 1), (100, 18, 576, 3), (1, 1, 32, 1)])
def test_a_study_is_sized_by_the_bound(spec, rate, seconds, images, epochs):
    sized = sized(spec, rate, seconds)  # 18 batches of 32 are all that 597 images give
    assert (sized.data.images, sized.epochs) == (images, epochs)


def test_the_ratio_is_of_medians(monkeypatch, capsys):
    bounds = iter([100.0, 300.0, 120.0])
    studies = iter([60.0, 40.0])
    monkeypatch.setattr("harness.bench.loop.bound", lambda spec, places, seconds: next(bounds))
    seen = lambda spec, places: Measured(next(studies), 10.0, 8.0, 1.5, 90.0, 0.004)  # noqa: E731
    monkeypatch.setattr("harness.bench.loop.study", seen)
    command("--model", "small", "--rounds", "2", "--jobs", "2", "--device", "cpu")
    out = capsys.readouterr().out
    assert re.findall(r"(bound|harness) +([\d.]+)\n", out) == [
        ("bound", "100.0"),
        ("harness", "60.0"),
        ("bound", "300.0"),
        ("harness", "40.0"),
        ("bound", "120.0"),
    ]
    assert re.search(r"bound +100\.0 +120\.0 +3\n", out)
    assert re.search(r"harness +40\.0 +50\.0 +2\n", out)
    assert "harness / bound = 0.417" in out  # 50 / 120
    assert "the bound itself moved by x 3.00" in out
    assert "80.0% in the training loop, at 0.750 of the bound; 15.0% in evaluation; 5.0% in starting" in out


def test_the_bound_is_measured_by_a_process_of_its_own(spec):
    assert bound(spec, ["cpu"], 0.1) > 0


def test_a_failure_in_the_bound_says_why_and_frees_the_others(spec):
    answers, together = Queue(), Barrier(2)
    _bare_loop(spec, "nowhere", 0.1, together, answers)
    assert "nowhere" in answers.get_nowait()
    assert together.broken
    _bare_loop(spec, "cpu", 0.1, together, answers)
    assert answers.empty()


def test_the_ratios_of_loaders_are_of_pairs(monkeypatch, capsys):
    seen = [("harness", 300.0, 2.0), ("timm", 100.0, 4.0), ("harness", 200.0, 3.0), ("timm", 200.0, 4.0)]
    seen += [("harness", 150.0, 1.0), ("timm", 100.0, 1.0)]
    monkeypatch.setattr("harness.bench.photos.loaded", lambda root, rounds: iter(seen))
    command("--loader", "somewhere", "--rounds", "3")
    out = capsys.readouterr().out
    assert "images/s, harness / timm = 1.50 (1.00 to 3.00, n = 3)" in out
    assert "CPU time, harness / timm = 0.75 (0.50 to 1.00, n = 3)" in out


def test_both_loaders_load_a_folder(tmp_path, monkeypatch):
    photos.make(tmp_path / "tree", classes=2, train=4)
    monkeypatch.setenv("HARNESS_DECODERS", "1")  # restored afterwards
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)  # no warning on one core
    with pytest.raises(Problem, match="8 training images, and a batch has 64"):
        command("--loader", str(tmp_path / "tree"))
    monkeypatch.setattr("harness.bench.photos.BATCH", 4)
    seen = list(loaded(tmp_path / "tree", 2))
    assert [name for name, _, _ in seen] == ["harness", "timm"] * 2
    assert all(rate > 0 and spent > 0 for _, rate, spent in seen)


def test_the_policy_is_told_beside_its_source(monkeypatch, capsys):
    seen = [("source", 50.0, 20.0), ("1 worker", 60.0, 15.0), ("2 workers", 110.0, 16.0)]
    seen += [("source", 100.0, 10.0), ("1 worker", 90.0, 9.0), ("2 workers", 180.0, 9.0)]
    seen += [("source", 40.0, 10.0), ("1 worker", 60.0, 5.0), ("2 workers", 100.0, 6.0)]
    monkeypatch.setattr("harness.bench.policy.prepared", lambda root, rounds: iter(seen))
    monkeypatch.setattr("harness.bench.policy.costs", lambda root, rounds: {"the policy": 5.0, "Add": 0.125})
    command("--imgaug", "somewhere", "--rounds", "3")
    out = capsys.readouterr().out
    assert "images/s, 1 worker / source = 1.20 (0.90 to 1.50, n = 3)" in out
    assert "images/s, 2 workers / source = 2.20 (1.80 to 2.50, n = 3)" in out
    assert "CPU time, 2 workers / source = 0.80 (0.60 to 0.90, n = 3)" in out
    assert re.search(r"the policy +5\.00\n +Add +0\.12\n", out)


def test_the_policy_and_its_source_prepare_a_folder(tmp_path, monkeypatch):
    photos.make(tmp_path / "tree", classes=2, train=4)
    monkeypatch.setenv("HARNESS_DECODERS", "1")  # restored afterwards
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)  # no warning on one core
    with pytest.raises(Problem, match="8 training images, and a batch has 64"):
        command("--imgaug", str(tmp_path / "tree"))
    monkeypatch.setattr("harness.bench.policy.BATCH", 2)
    seen = list(prepared(tmp_path / "tree", 2))
    assert [name for name, _, _ in seen] == ["source", "1 worker", "2 workers"] * 2
    assert all(rate > 0 and spent > 0 for _, rate, spent in seen)
    spent = costs(tmp_path / "tree", 1)
    assert [*spent][:2] in (["the policy", "the source's function"], ["the source's function", "the policy"])
    assert len(spent) == 2 + 20
    assert spent["PiecewiseAffine"] > spent["Fliplr"]


def test_the_source_is_as_published_and_so_is_the_policy():
    from harness.parts.imgaug_policy import GROUPS, leaves, policy, undisturbed

    def told(tree):
        return [(type(leaf).__name__, re.sub("0x[0-9a-f]+", "", str(leaf.get_parameters()))) for leaf in leaves(tree)]

    with undisturbed() as iaa:
        assert told(source(iaa)) == told(policy(GROUPS))
    image = normalised(np.full((224, 224, 3), 90, np.uint8))
    assert image.shape == (3, 224, 224)
    assert image.dtype == np.float32
    assert image.min() >= -1
    assert image.max() <= 1


class NoTracker:
    seen: ClassVar[list[str]] = []

    def __init__(self, *_):
        assert "MLFLOW_TRACKING_URI" not in os.environ  # a user's server is not written to

    def see(self, event):
        self.seen.append(event["kind"])

    def close(self):
        return None


def test_a_study_runs_for_real_among_runs_of_its_own(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(tracking, "open_experiment", lambda study: None)
    monkeypatch.setattr(tracking, "Tracker", NoTracker)
    seen = study(sized(spec, 32, 2), ["cpu"])
    assert NoTracker.seen == ["started", "epoch", "finished"]
    assert seen.rate == pytest.approx(64 / seen.wall)
    assert seen.in_loop == pytest.approx(64 / seen.loop)
    assert 0 < seen.loop < seen.loop + seen.evaluation < seen.wall
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"cache"}
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"


def test_ctrl_c_in_a_study_is_that_and_no_damaged_record(spec, monkeypatch):
    monkeypatch.setattr(tracking, "open_experiment", lambda study: None)
    monkeypatch.setattr(tracking, "Tracker", NoTracker)
    monkeypatch.setattr(
        "harness.engine.Engine.events", lambda self, runs: iter([{"kind": "interrupted", "run": runs[0]}])
    )
    with pytest.raises(KeyboardInterrupt):
        study(sized(spec, 32, 2), ["cpu"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "vgg"], "--model vgg: unknown; there are: small, resnet18"),
        (["--data", "/nowhere"], "/nowhere"),
        (["--batch-size", "1000"], "--batch-size 1000: there are 597"),
        (["--batch-size", "0"], "--batch-size 0: must be above 0"),
        (["--seconds", "nan"], "--seconds nan: must be above 0"),
        (["--device", "tpu"], "--device tpu"),
        (["--loader", "/nowhere"], "data.root=/nowhere: no such folder"),
        (["--imgaug", "/nowhere"], "data.root=/nowhere: no such folder"),
    ],
)
def test_mistakes(words, says):
    with pytest.raises(Problem, match=re.escape(says)):
        command("--device", "cpu", *words)


def test_a_mistake_is_one_line_and_help_is_light():
    words = [sys.executable, "-m", "harness.bench", "--seconds", "-1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(bench.__file__).parents[2])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "harness.bench: --seconds -1: must be above 0\n"
    code = "import sys; from harness.bench.__main__ import parser; parser().format_help()"
    code += "; print({'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_command_measures_a_study_in_processes_of_its_own():
    words = ("--model", "small", "--jobs", "1", "--device", "cpu", "--seconds", "0.5")
    done = subprocess.run([sys.executable, "-m", "harness.bench", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"harness / bound = [0-9.]+", done.stdout)
    assert re.search(r"journal and checkpoints took [0-9.]+ ?% of the runs' time", done.stdout)


def test_the_store_and_its_report_are_measured():
    measured = list(records(20))
    assert [row[0] for row in measured] == [20]
    assert all(seconds > 0 for seconds in measured[0][1:])


def test_what_evidence_costs_is_measured_with_and_without_it(capsys, monkeypatch):
    watched = []
    watch = loop.watch
    monkeypatch.setattr(loop, "watch", lambda spec, trace: (watched.append(spec), watch(spec, trace)))
    show_evidence(specification("small", "digits", 32, 128), "cpu", 8, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 steps of 128 images, 2 epochs"
    assert [line.split()[-1] for line in lines[2:4]] == ["8", "8"], "all steps of so few are audited"
    assert len(watched) == 3, "one to warm up, and one of each pair"
    assert re.fullmatch(r"median cost of evidence: -?[0-9.]+% of training and evaluation", lines[-1])
