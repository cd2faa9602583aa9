"""Frames of a study's results, against the records that they are made from, and hand arithmetic."""

import numpy as np
import pytest
import scipy.stats

import harness
from harness import Problem
from harness.report import remember
from harness.store import Store
from tests.kit.records import designed, record, rung
from tests.kit.tiny import finish, known

SCORES = {"baseline": (75.0, 62.0, 50.0), "one": (88.0, 85.0, 64.0)}  # of 100 images; gains 13, 23, 14


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    store = Store()
    check = {"part": "loop", "what": "steps", "expected": "4", "seen": "4", "ok": True}
    for name, scores in SCORES.items():
        for seed, score in enumerate(scores):
            finish(store, name, seed, record(score, evidence=[check], epochs=2, tested=100))
    remember(designed("ladder", [rung("baseline"), rung("one", [1, 0])]))
    return harness.results("s")


def test_gains_are_paired_by_seed(found):
    (row,) = found.gains.to_dict("records")
    low, high = scipy.stats.t.interval(0.95, 2, 50 / 3, scipy.stats.sem([13, 23, 14]))
    assert (row["rung"], row["over"], row["over_place"], row["pairs"]) == ("one", "baseline", 0, 3)
    assert [row[name] for name in ("gain", "low", "high")] == pytest.approx([50 / 3, low, high])


def test_runs_epochs_and_evidence_are_those_of_the_records(found):
    told = {(row.rung, row.seed): row.top1 for row in found.runs.itertuples()}
    assert told == {(name, seed): score for name, scores in SCORES.items() for seed, score in enumerate(scores)}
    assert len(found.epochs) == 2 * 6
    first = found.store.read(known("one"), 2)["epochs"]
    own = found.epochs[(found.epochs["rung"] == "one") & (found.epochs["seed"] == 2)]
    assert own["loss"].tolist() == [row["loss"] for row in first]
    assert found.evidence["n"].tolist() == [3, 3]
    assert found.effects is None
    assert found.score == "top1"
    assert found.table["rung"].tolist() == ["baseline", "one"]
    assert any("95 % t" in note for note in found.notes)
    assert repr(found) == "<results of s: 2 rungs, 6 runs>"


def test_logits_and_labels_of_a_run_and_metrics_of_them(found):
    labels, z = np.arange(100) % 2, np.eye(2, dtype=np.float16)[np.arange(100) % 2]
    for seed in range(3):
        finish(found.store, "baseline", seed, record(100.0, tested=100), arrays={"labels": labels, "logits": 9 * z})
        finish(found.store, "one", seed, record(50.0, tested=100), arrays={"labels": labels, "logits": 0 * z})
    told, logits = found.logits("baseline", 1)
    assert told.tolist() == labels.tolist()
    assert (logits.dtype, logits.tolist()) == (np.float16, (9 * z).tolist())
    other = harness.results("s", metric="balanced_accuracy")
    assert other.score == "balanced_accuracy"
    assert other.rungs["balanced_accuracy_mean"].tolist() == [100, 50]
    assert other.gains["gain"].tolist() == [-50]
    assert other.gains["verdict"].tolist() == ["not resolved"], "three equal pairs"
    assert harness.results("s", metric="ece").gains["gain"].iloc[0] == pytest.approx(0, abs=0.1)
    with pytest.raises(Problem, match="--metric rmse is none of top1, .*, nor of the study's own: no study 's'"):
        harness.results("s", metric="rmse")


def test_a_run_that_kept_no_logits_says_why(found):
    with pytest.raises(Problem, match="baseline of s, seed 0, kept no logits: harness.ablate --fresh trains it anew"):
        found.logits("baseline", 0)
    finish(found.store, "baseline", 0, record(75.0, tested=100, no_logits="logits of so many are 100 MB"))
    with pytest.raises(Problem, match="kept no logits: logits of so many are 100 MB"):
        found.logits("baseline", 0)
    with pytest.raises(Problem, match="baseline of s has no finished run of seed 7"):
        found.logits("baseline", 7)


def test_which_images_were_right_is_a_row_a_seed(found):
    bits = found.right("baseline")
    assert bits.shape == (3, 100)
    assert (100 * bits.mean(axis=1)).tolist() == list(SCORES["baseline"])
    assert found.right(np.int64(1)).equals(found.right("one"))
    for odd in ("two", 2, -1):
        with pytest.raises(Problem, match="is no rung of s: baseline, one"):
            found.right(odd)


def test_figures_are_the_reports(found):
    assert "top-1" in found.figure("ladder").axes[0].get_xlabel()
    with pytest.raises(Problem, match=r"s has no figure 'none'; there are: ladder, curves"):
        found.figure("none")
