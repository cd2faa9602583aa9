"""Published ladders against themselves, and beside records made by hand, whose numbers can be done by hand."""

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from harness import Problem, report
from harness.report import ladders
from harness.report.published import FOLDER
from harness.store import Store
from tests.kit.records import designed, record, rung
from tests.kit.tiny import finish

NAMES = sorted(ladders.ladders().index)
KNOWN = {"", "not said", "one run", "best of 3", "mean of 3", "mean of 50", "mean of 1000"}
METRICS = {"top1", "top5", "gmacs", "epochs", "seconds", "mce", "images_per_second"}


def lines(name):
    """The lines of a file, read without the code under test."""
    with (FOLDER / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


# --- what was published ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_number_reads_as_what_it_is(name):
    found = lines(name)
    made = [(cell["rung"], cell["metric"]) for cell in found if cell["rung"]]
    assert len(set(made)) == len(made), "a rung makes one number a metric"
    assert len({(cell["row"], cell["metric"]) for cell in found}) == len(found)
    for cell in found:
        assert cell["metric"] in METRICS
        assert cell["known"] in KNOWN
        assert float(cell["value"]) > 0
        assert not cell["sd"] or float(cell["n"]) > 1
        assert not cell["known"].startswith("mean of") or cell["known"] == f"mean of {cell['n']}"
        assert not cell["over"] or (cell["over"], cell["metric"]) in made
        assert cell["over"] != cell["rung"] or not cell["rung"]


@pytest.mark.parametrize(
    ("name", "rung", "metric", "value"),
    [
        ("torchvision_recipe", "baseline", "top1", "76.130"),
        ("torchvision_recipe", "long_training", "top1", "78.606"),
        ("torchvision_recipe", "repeated_augmentation", "top5", "95.434"),
        ("resnet_rs", "dropout_on_fc", "top1", "80.7"),
        ("convnext", "depthwise_conv", "top1", "78.28"),
        ("convnext", "kernel_11", "gmacs", "4.29"),
        ("assembled", "auto_augment", "mce", "48.89"),
        ("airbench", "bias_rate", "epochs", "13.5"),
        ("page", "flip_tta", "seconds", "26"),
    ],
)
def test_numbers_typed_by_hand(name, rung, metric, value):
    (cell,) = (cell for cell in lines(name) if (cell["rung"], cell["metric"]) == (rung, metric))
    assert cell["value"] == value


PRINTED = {  # gains as their sources print them, beside the accuracies
    "torchvision_recipe": "0.364 0.312 1.800 0.190 0.318 0.118 0.278 0.526 0.160 0.254 0.224 0.184",
    "resnet_rs": "0.3 -0.5 0.3 1.3 0.2 0.4 -0.3 1.5 0.7 0.5",
}


@pytest.mark.parametrize("name", PRINTED)
def test_gains_are_those_that_are_printed(name):
    top1 = [float(cell["value"]) for cell in lines(name) if cell["metric"] == "top1"]
    assert np.diff(top1) == pytest.approx(list(map(float, PRINTED[name].split())))


def test_interactions_are_of_four_rungs_that_are_there():
    theirs = {}
    for line in lines("interactions"):
        values = {c["rung"]: float(c["value"]) for c in lines(line["ladder"]) if c["metric"] == line["metric"]}
        neither, first, second, both = (values[line[name]] for name in ("neither", "first", "second", "both"))
        theirs[line["title"]] = round(both - first - second + neither, 6)
    assert theirs == {
        "less weight decay × RandAugment and smoothing": 0.9,  # -0.1 for -1.0
        "less weight decay × dropout": 0.6,  # +0.5 for -0.1
        "alternating flip × reshuffling": 0.01,  # +0.09 for +0.08
    }


# --- beside our runs -------------------------------------------------------------------------------------------------

RUNGS = [rung("baseline"), rung("enhanced_recipe", [1, 0]), rung("stage_ratio", [2, 1]), rung("patchify_stem", [3, 2])]
TOP1 = {
    "baseline": (70.0, 71.0, 72.0),
    "enhanced_recipe": (73.0, 74.1, 74.9),
    "stage_ratio": (72.0, 73.1, 74.3),
    "patchify_stem": (72.4, 73.3, 74.6),
}


def study(name, rungs=RUNGS, **more):
    return designed("ladder", rungs, study=name, label=name, command=[name], **more)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    return Store(tmp_path / "store")


def fill(store, scores, **more):
    for name, values in scores.items():
        for seed, top1 in enumerate(values):
            finish(store, name, seed, record(top1) | more)


def beside(plan, store):
    made = report.beside_published(plan, store)
    rows = csv.DictReader(io.StringIO((made.folder / "published.csv").read_text()))
    return made.text, {(row["row"], row["metric"]): row for row in rows}


def test_gains_and_whether_they_differ_by_hand(store):
    fill(store, TOP1)
    text, found = beside(study("cifar10_convnext"), store)
    row = found["stage ratio", "top1"]
    gains = np.subtract(TOP1["stage_ratio"], TOP1["enhanced_recipe"])
    assert float(row["paper_gain"]) == pytest.approx(79.36 - 78.82)
    assert float(row["gain"]) == pytest.approx(gains.mean())
    terms = [gains.var(ddof=1) / 3, 0.07**2 / 3, 0.07**2 / 3]
    se, df = math.sqrt(sum(terms)), sum(terms) ** 2 / sum(t * t / 2 for t in terms)
    apart = gains.mean() - 0.54
    assert float(row["apart"]) == pytest.approx(apart)
    assert float(row["apart_low"]) == pytest.approx(apart - scipy.stats.t.isf(0.025, df) * se)
    other = found["patchify stem", "top1"]
    raw = [2 * scipy.stats.t.sf(abs(apart) / se, df)]
    second = np.subtract(TOP1["patchify_stem"], TOP1["stage_ratio"])
    terms = [second.var(ddof=1) / 3, 0.18**2 / 3, 0.07**2 / 3]
    se, df = math.sqrt(sum(terms)), sum(terms) ** 2 / sum(t * t / 2 for t in terms)
    raw.append(2 * scipy.stats.t.sf(abs(second.mean() - 0.15) / se, df))
    low, high = sorted(raw)
    holm = {low: min(1, 2 * low), high: min(1, max(2 * low, high))}
    assert [float(each["p"]) for each in (row, other)] == pytest.approx([holm[p] for p in raw])
    assert found["ResNet-50 (enhanced recipe)", "top1"]["apart"] == "", "the baseline is told without a spread"
    assert "gmacs" in {metric for _, metric in found}
    assert "of 2 differ at .05" in text
    assert "only signs and order" in text


def test_signs_and_order(store):
    fill(store, TOP1)
    text, found = beside(study("convnext"), store)
    assert found["ResNet-50 (enhanced recipe)", "top1"]["agree"] == "same sign"
    assert found["stage ratio", "top1"]["agree"] in ("opposite", "not resolved")
    assert "Top-1: 2 of 3 gains have the paper's sign" in text
    assert "Spearman" in text
    assert "no rung here" in text, "Swin-T"
    assert text.count("no run") >= 10


def test_what_is_saved_is_told_of_once():
    """Seconds are a metric, and a cost to a target too."""
    row = {"metric": "seconds", "paper_gain": 1.0, "gain": 2.0, "verdict": "helps", "agree": "", "apart": math.nan}
    table = pd.DataFrame([row | {"p": math.nan, "known": "", "note": ""}])
    plan = study("airbench") | {"decide": None}
    told = ladders.notes(plan, table, table, table[:0], {"title": "a", "source": "b", "note": ""}, True)
    assert [line.partition(" gains")[0] for line in told if line.startswith("Seconds")] == ["Seconds: 1 of 1"]


def test_without_spreads_there_is_no_such_test(store):
    fill(store, {"baseline": (70.0, 71.0, 72.0), "lr_optimizations": (70.5, 71.6, 72.4)})
    rungs = [rung("baseline"), rung("lr_optimizations", [1, 0])]
    text, found = beside(study("cifar10_torchvision_recipe", rungs), store)
    assert found["'+ LR optimizations", "top1"]["apart"] == ""
    assert "No test of whether gains differ" in text
    assert "best of 3" in text


def test_what_stood_on_a_rung_that_is_none_here_is_compared_and_told(store):
    fill(store, {"baseline": (70.0, 71.0, 72.0), "mixup": (70.5, 71.6, 72.4)})
    text, found = beside(study("cifar10_torchvision_recipe", [rung("baseline"), rung("mixup", [1, 0])]), store)
    assert float(found["'+ Mixup", "top1"]["gain"]) == pytest.approx(0.5)
    assert float(found["'+ Mixup", "top1"]["paper_gain"]) == pytest.approx(0.118)
    assert "+ Mixup: Here it stands on 'baseline', for want of what it stood on." in text


def test_interactions_by_hand(store):
    fill(store, {"baseline": (70, 71), "alternating_flip": (70.5, 71.6), "reshuffling": (72, 73.2)})
    fill(store, {"alternating_flip+reshuffling": (72.9, 74.5)})
    names = ("baseline", "alternating_flip", "reshuffling", "alternating_flip+reshuffling")
    plan = study("airbench_flips_small", [rung(name, seeds=[0, 1]) for name in names])
    text, found = beside(
        plan | {"design": "factorial", "tricks": [{"name": n, "title": n, "moves": []} for n in names[1:3]]}, store
    )
    row = found["alternating flip × reshuffling", "top1"]
    assert float(row["gain"]) == pytest.approx(np.mean([72.9 - 70.5 - 72 + 70, 74.5 - 71.6 - 73.2 + 71]))
    assert float(row["paper_gain"]) == pytest.approx(0.01)
    assert "interaction" in text


def test_before_any_run_it_shows_what_was_published(store):
    text, found = beside(report.unrun("convnext") or study("convnext"), store)
    assert "No run is here yet" in text
    assert found["separate d.s. conv (ConvNeXt-T)", "top1"]["paper"] == "81.97"


def test_a_study_without_a_ladder_is_told_which_there_are(store):
    with pytest.raises(Problem, match="no published ladder is of it; there are torchvision_recipe, .*cifar10_"):
        report.beside_published(study("digits"), store)


@pytest.mark.parametrize(
    ("name", "ladder"),
    [
        ("resnet_rs", "resnet_rs"),
        ("cifar10_resnet_rs_decay", "resnet_rs_decay"),
        ("airbench_small", "airbench"),
        ("airbench_flips", "airbench_flips"),
    ],
)
def test_twins_are_known_by_their_names(name, ladder):
    assert ladders.of(name, ladders.ladders()) == ladder
