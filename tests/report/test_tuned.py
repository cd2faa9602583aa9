"""A tuned ladder beside the untuned, of numbers made by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from harness import Problem, report, stats
from harness.report import tuned
from tests.kit.records import record, rung
from tests.kit.tiny import finish, known
from tests.kit.trials import lines_of

SEEDS = (0, 1, 2)
BEFORE = {"baseline": [50.0, 52.0, 54.0], "one": [60.0, 61.0, 65.0]}
AFTER = {"baseline": [58.0, 59.0, 63.0], "one": [61.0, 63.0, 69.0]}


def described(label, ids, **more):
    rungs = [rung("baseline"), rung("one", gain=[1, 0], on=(0,))]
    for each, own in zip(rungs, ids, strict=True):
        each["id"] = own
    plan = {"study": "s", "label": label, "about": "", "settings": [], "design": "ladder", "decide": None}
    tricks = [{"name": "one", "title": "one", "moves": ["targets"]}]
    return (
        plan
        | {"upstream": [], "rungs": rungs, "tricks": tricks, "orders": [], "generators": [], "command": ["s"]}
        | more
    )


@pytest.fixture
def both(tmp_path, monkeypatch):
    """The tuned plan, described, and the store with the runs of it and of the untuned one."""
    from harness.store import Store

    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    store = Store()
    for prefix, values in (("a", BEFORE), ("b", AFTER)):
        for name, scores in values.items():
            for seed, top1 in zip(SEEDS, scores, strict=True):
                finish(store, f"{prefix} {name}", seed, record(top1))
    own = [
        {"search": "x", "values": {"optimizer.lr": 0.12345, "batch_size": 32}, "score": 71.25, "pool": [60.0, 71.25]}
    ]
    own += [{"search": "y", "values": {"optimizer.lr": 0.5}, "score": 72.0, "pool": [72.0, 40.0]}]
    untuned = described("s", [known("a baseline"), known("a one")])
    how = {"trials": 2, "sampler": "random", "share": 0.2, "untuned": untuned, "rungs": own}
    plan = described("s@tuned-2-random", [known("b baseline"), known("b one")], tuned=how)
    report.remember(plan)
    return plan, store


def test_numbers_are_those_done_by_hand(both):
    plan, store = both
    table = report.compare_tuned(plan, store, report.finished(plan, store))
    assert table["untuned_top1_mean"].tolist() == pytest.approx([52.0, 62.0])
    assert table["tuned_top1_mean"].tolist() == pytest.approx([60.0, np.mean(AFTER["one"])])
    gained = np.subtract(AFTER["one"], BEFORE["one"])
    change = np.subtract(AFTER["one"], AFTER["baseline"]) - np.subtract(BEFORE["one"], BEFORE["baseline"])
    for name, values in (("gained", gained), ("change", change)):
        low, high = scipy.stats.t.interval(0.95, 2, values.mean(), values.std(ddof=1) / math.sqrt(3))
        assert table.iloc[1][[name, f"{name}_low", f"{name}_high"]].tolist() == pytest.approx(
            [values.mean(), low, high]
        )
    assert math.isnan(table["change"].iloc[0])
    assert table["values"].tolist() == ["optimizer.lr 0.123, batch_size 32", "optimizer.lr 0.5"]


def test_only_seeds_that_all_four_runs_have_are_compared(both):
    plan, store = both
    store.set_aside(known("a baseline"), 2)
    table = report.compare_tuned(plan, store, report.finished(plan, store))
    change = (np.subtract(AFTER["one"], AFTER["baseline"]) - np.subtract(BEFORE["one"], BEFORE["baseline"]))[:2]
    assert table["change"].iloc[1] == pytest.approx(change.mean())
    assert table["gained"].iloc[0] == pytest.approx(np.mean([8.0, 7.0]))


def test_the_report_has_both_sides_the_values_and_the_curves(both):
    plan, store = both
    made = report.render(plan, store)
    assert "top-1, untuned" in made.text
    assert "top-1, tuned" in made.text
    assert "optimizer.lr 0.123, batch_size 32" in made.text
    files = {path.name for path in made.folder.iterdir()}
    assert {"tuned.md", "tuned.csv", "tuned.png", "trials.png", "table.md", "index.html"} <= files
    page = (made.folder / "index.html").read_text()
    assert "Untuned and tuned" in page
    assert "Was it tuned enough?" in page
    assert "2 trials of values of its own, drawn at random, the same for every rung" in page
    assert pd.read_csv(made.folder / "tuned.csv")["score"].tolist() == [71.25, 72.0]


def test_a_ladder_of_which_no_untuned_run_is_here_is_said(both):
    plan, store = both
    for name in BEFORE:
        for seed in SEEDS:
            store.set_aside(known(f"a {name}"), seed)
    with pytest.raises(Problem, match="s: no finished run to report"):
        report.render(plan, store)


def test_another_ladder_run_meanwhile_under_the_name_changes_nothing(both):
    plan, store = both
    before = report.compare_tuned(plan, store, report.finished(plan, store))
    report.remember(described("s", [known("b baseline"), known("b one")]))
    pd.testing.assert_frame_equal(before, report.compare_tuned(plan, store, report.finished(plan, store)))


def test_figure_has_a_pair_of_each_gain(both):
    plan, store = both
    figure = tuned.gains("s", report.compare_tuned(plan, store, report.finished(plan, store)))
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one"]
    assert [text.get_text() for text in axis.texts] == ["untuned", "tuned"]


def test_a_baseline_alone_has_no_figure_of_gains(both):
    plan, store = both
    plan["rungs"], plan["tuned"]["untuned"]["rungs"] = plan["rungs"][:1], plan["tuned"]["untuned"]["rungs"][:1]
    plan["tuned"]["rungs"] = plan["tuned"]["rungs"][:1]
    files = {path.name for path in report.render(plan, store).folder.iterdir()}
    assert {"tuned.md", "trials.png", "index.html"} <= files
    assert "tuned.png" not in files


def test_curves_of_many_rungs_are_named_at_their_ends():
    rng = np.random.default_rng(0)
    pools = {f"+ trick {i}": rng.normal(90 + i, 1, 5 + i).tolist() for i in range(12)}
    axis = tuned.curves(pools, "s").axes[0]
    drawn = lines_of(axis, "expected best")
    assert [list(line.get_ydata()) for line in drawn] == [
        list(stats.best_of_n(own, range(1, len(own) + 1))) for own in pools.values()
    ]
    told = [text.get_text() for text in axis.texts]
    assert told == [f"{name}: {max(own):.2f}, n = {len(own)}" for name, own in pools.items()]
    assert len({line.get_color() for line in drawn}) == 12
    assert len(lines_of(tuned.curves({"one": [90.0]}, "s").axes[0], "expected best")[0].get_xdata()) == 1
    with pytest.raises(ValueError, match="finite values"):
        tuned.curves({"none": []}, "s")
