"""Runs compared by another metric than top-1; no run here was trained."""

import json
import math

import numpy as np
import pytest

from harness import Problem, metrics, report
from harness.report import frames, tables
from harness.store import Store
from harness.tasks.classify import packed
from tests.kit.records import plan, record, rows
from tests.kit.tiny import finish, known

LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1])  # eight images, of which class 0 has three times those of class 1


def answered(said, sure=3.0):
    """Logits that say these classes, and are so sure of it."""
    return {"labels": LABELS, "logits": (sure * np.eye(2)[np.array(said)]).astype(np.float16)}


def add(store, name, seed, said, sure=3.0, loss=1.0, logits=True, **more):
    import torch

    right = np.array(said) == LABELS
    made = record(100 * float(right.mean()), correct=np.packbits(right).tobytes().hex(), classes=2, **more)
    made["metrics"]["test_loss"] = loss
    told = {"answers": packed(torch.tensor(said)), "epochs": [dict(row, test_loss=loss) for row in made["epochs"]]}
    finish(store, name, seed, made | told, arrays=answered(said, sure) if logits else None)


ALL_RIGHT, NONE_OF_ONE, HALF_OF_ONE = [0] * 6 + [1, 1], [0] * 8, [0] * 7 + [1]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The baseline misses class 1; `one` has half of it, and `two` all. Losses fall by 0.1 and 0.2, a little uneven."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    store = Store()
    for seed in range(3):
        add(store, "baseline", seed, NONE_OF_ONE, loss=1.0)
        add(store, "one", seed, HALF_OF_ONE, loss=0.9 + 0.001 * seed)
        add(store, "two", seed, ALL_RIGHT, loss=0.7 - 0.001 * seed)
    return store


def by(metric, **more):
    return plan() | {"metric": metric} | more


def test_balanced_accuracy_of_each_rung_by_hand(store):
    table = rows(store, by("balanced_accuracy"))
    assert list(table["balanced_accuracy_mean"]) == pytest.approx([50, 75, 100])
    assert list(table["gain"].iloc[1:]) == pytest.approx([25, 25])
    assert list(table["top1_mean"]) == pytest.approx([75, 87.5, 100]), "stands beside it"
    assert list(table["score"]) == ["balanced_accuracy"] * 3


def test_what_each_metric_is_of_a_rung(store):
    assert list(rows(store, by("worst_class"))["worst_class_mean"]) == pytest.approx([0, 50, 100])
    macro = [(2 * 6 / 8 / (1 + 6 / 8) + 0) / 2, (2 * 6 / 7 / (1 + 6 / 7) + 2 * 0.5 / 1.5) / 2, 1]
    assert list(rows(store, by("macro_f1"))["macro_f1_mean"]) == pytest.approx([100 * x for x in macro])
    sure = 1 / (1 + math.exp(-3))
    due = [100 * abs(right - sure) for right in (0.75, 0.875, 1)]
    assert list(rows(store, by("ece"))["ece_mean"]) == pytest.approx(due)
    assert list(rows(store, by("seconds"))["seconds_mean"]) == [1, 1, 1]


def test_a_lower_loss_helps_and_its_gain_is_told_as_it_was_measured(store):
    table = rows(store, by("loss", test="t"))
    assert list(table["gain"].iloc[1:]) == pytest.approx([-0.099, -0.202], abs=1e-9)
    assert list(table["verdict"].iloc[1:]) == ["helps", "helps"]
    turned = plan() | {"metric": "loss", "test": "t"}
    turned["rungs"][1] = turned["rungs"][1] | {"gain": [0, 1]}
    assert rows(store, turned).loc["one", "verdict"] == "hurts"
    assert rows(store, by("", test="t"))["score"].tolist() == ["top1"] * 3


def test_an_mde_is_in_the_metrics_unit(store):
    add(store, "one", 0, HALF_OF_ONE, loss=1.3)
    verdict = rows(store, by("loss", test="t")).loc["one", "verdict"]
    assert verdict.startswith("not resolved (MDE ")
    assert "above 100" not in verdict


def test_a_table_says_units_and_which_way_is_better(store):
    p = by("loss", test="t")
    every = frames.runs(p, store)
    table = frames.rungs(p, every)
    shown = tables.shown(table)
    assert list(shown["test loss (nats)"]) == ["1.000 ± 0.000", "0.901 ± 0.001", "0.699 ± 0.001"]
    assert shown["gain over the rung below"].iloc[1].startswith("-0.099 [-0.101, -0.097]")
    notes = " ".join(frames.footnotes(p, every, table))
    assert "Test loss: lower is better, and a gain that helps is below 0." in notes
    assert "Gains: nats of test loss over" in notes
    assert "points" not in notes


def test_a_report_by_a_metric_overwrites_no_other_and_is_made_again(store, tmp_path):
    first = plan() | {"command": ["s"]}
    report.remember(first)
    top1 = report.render(first, store).folder
    measured = report.measured(first, "ece")
    assert (measured["label"], measured["command"]) == ("s@ece", ["s", "--metric", "ece"])
    report.remember(measured)
    made = report.render(report.recall("s@ece"), store)
    assert (top1.name, made.folder.name) == ("s", "s@ece")
    told = json.loads((made.folder / "table.json").read_text())
    assert (told["score"], told["unit"], told["better"]) == ("ece", "%", "lower")
    assert set(told["rungs"][0]["runs"][0]["metrics"]) == {"test_loss", "top1", "ece", "balanced_accuracy"}
    assert "calibration error" in (made.folder / "index.html").read_text()
    again = report.measured(measured, "loss")
    assert (again["label"], again["command"]) == ("s@loss", ["s", "--metric", "loss"])
    assert report.measured(again, "top1")["label"] == "s"
    report.remember(again)
    named = report.renamed(again | {"command": ["s", "--metric", "loss"]}, "mine")
    assert (named["label"], named["command"]) == ("s@mine-loss", ["s", "--metric", "loss", "--name", "mine"])
    other = report.measured(named, "ece")
    assert (other["label"], other["command"]) == ("s@mine-ece", ["s", "--metric", "ece", "--name", "mine"])


def test_runs_without_logits_are_named_and_what_to_do(store):
    for seed in range(3):
        add(store, "two", seed, ALL_RIGHT, logits=False)
    add(store, "one", 2, HALF_OF_ONE, logits=False)
    with pytest.raises(Problem) as problem:
        rows(store, by("ece"))
    assert str(problem.value) == (
        "--metric ece: the records of one seed 2, two seed 0, two seed 1 and 1 more have no logits: train them anew "
        "with --fresh, or take another metric: top1, top5, loss, seconds"
    )
    assert len(rows(store, by("loss"))) == 3
    with pytest.raises(Problem, match="--metric top5: the records of .* have no top5: .*: top1, loss, seconds$"):
        rows(store, by("top5"))


def test_a_metric_that_gives_no_number_is_one_line(store, monkeypatch):
    monkeypatch.setitem(metrics.METRICS, "nothing", metrics.Metric(lambda labels, logits: math.nan))
    with pytest.raises(Problem, match="^--metric nothing gave no number for any run: nan$"):
        rows(store, by("nothing"))


def test_a_metric_that_is_none_is_one_line(store):
    with pytest.raises(Problem, match="--metric mAP: s has runs that are scored by top1"):
        rows(store, by("mAP"))


OWN = '''"""A study with a metric of its own."""
from harness.metrics import Metric
from tests.kit.tiny import BASELINE, TRICKS
SEEDS = (0, 1)

def cost(labels, logits):
    """Cost: five for each image of class 1 that is missed."""
    return 5.0 * ((labels == 1) & (logits.argmax(1) == 0)).sum()

def odd(labels, logits):
    raise ValueError("no")

METRICS = {"cost": Metric(cost, unit="EUR", better="lower"), "odd": Metric(odd)}
'''


def test_a_study_defines_its_own(store, tmp_path, monkeypatch):
    (tmp_path / "own_study.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    p = by("cost", command=["./own_study.py"])
    table = rows(store, p)
    assert list(table["cost_mean"]) == [10, 5, 0]
    every = frames.runs(p, store)
    shown = tables.shown(frames.rungs(p, every))
    assert shown["cost (EUR)"].iloc[0].startswith("10.00")
    notes = " ".join(frames.footnotes(p, every, frames.rungs(p, every)))
    assert "Cost: five for each image of class 1 that is missed." in notes
    with pytest.raises(Problem, match=r"--metric odd: ValueError: no \(own_study.py:11\)"):
        rows(store, by("odd", command=["./own_study.py"]))
    with pytest.raises(Problem, match="--metric rate: no such metric; there are: top1, .*, cost, odd"):
        report.measured(p, "rate")


def test_an_uneven_test_set_has_balanced_accuracy_in_its_table(store):
    every = frames.runs(plan(), store)
    table = frames.rungs(plan(), every)
    assert list(table["balanced_accuracy_mean"]) == pytest.approx([50, 75, 100])
    assert list(tables.shown(table)["balanced accuracy"]) == ["50.00 ± 0.00", "75.00 ± 0.00", "100.00 ± 0.00"]
    assert "The test set is uneven." in " ".join(frames.footnotes(plan(), every, table))


def test_an_even_one_has_not_and_one_that_no_run_tells_of(store, monkeypatch):
    monkeypatch.setattr("harness.metrics.UNEVEN", 3)
    assert "balanced_accuracy_mean" not in rows(store, plan())
    monkeypatch.undo()
    for name in ("baseline", "one", "two"):
        for seed in range(3):
            (store.folder(known(name), seed) / "result.json").unlink()
            add(store, name, seed, ALL_RIGHT, logits=False)
    assert "balanced_accuracy_mean" not in rows(store, plan())


def test_classes_are_resolved_after_holm_over_classes_and_rungs(store):
    """Each rung gains the one of eight images of class 1 that the one below misses, at each of three seeds."""
    found = frames.class_gains(plan(), frames.runs(plan(), store))
    assert list(found["class"]) == ["0", "1"] * 2
    assert list(found["gain"]) == pytest.approx([0, 12.5, 0, 12.5])
    p = 2 / 2**3  # flat: by signs
    assert list(found["p"]) == pytest.approx([1, p, 1, p])
    assert list(found["adjusted"]) == pytest.approx([1, 4 * p, 1, 4 * p])
    assert not found["resolved"].any()
    for seed in range(3, 8):
        for name, said in (("baseline", NONE_OF_ONE), ("one", HALF_OF_ONE), ("two", ALL_RIGHT)):
            add(store, name, seed, said)
    more = plan(seeds=range(8))
    found = frames.class_gains(more, frames.runs(more, store))
    assert list(found["adjusted"]) == pytest.approx([1, 4 * 2 / 2**8, 1, 4 * 2 / 2**8])
    assert list(found["resolved"]) == [False, True] * 2


def test_labels_are_known_where_one_run_kept_them(store):
    for name in ("baseline", "one", "two"):
        for seed in range(3):
            if (name, seed) != ("two", 2):
                add(store, name, seed, HALF_OF_ONE, logits=False)
    assert list(rows(store, plan())["balanced_accuracy_mean"]) == pytest.approx([75, 75, (75 + 75 + 100) / 3])


def test_seeds_and_values_that_were_chosen_by_one_metric_are_judged_by_it(store):
    decided = plan() | {"decide": {"points": 0.3, "looks": [2, 3], "test": "t"}}
    with pytest.raises(Problem, match="--metric ece: s added seeds by looks by its own metric, which it keeps"):
        report.measured(decided, "ece")
