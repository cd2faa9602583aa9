import itertools
import json
import math

import pytest

from harness import Problem, report, stats
from harness.report import frames, tables
from harness.store import Store
from tests.kit.records import NAMES, designed, plan, record, rung
from tests.kit.tiny import finish, known


@pytest.fixture
def rendered(full, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    report.remember(plan())
    return report.render(plan(), full)


def test_render_writes_every_file(rendered, full):
    drawn = "waterfall", "ladder", "curves", "cost"
    figures = {f"{name}.{kind}" for name in drawn for kind in ("png", "svg")}
    texts = {
        "index.html",
        "findings.md",
        "evidence.md",
        "evidence.csv",
        *(f"table.{kind}" for kind in ("md", "csv", "tex", "json")),
        *(f"runs.{kind}" for kind in ("csv", "parquet")),
    }
    assert {path.name for path in rendered.folder.iterdir()} == figures | texts
    assert (rendered.folder / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_records_give_the_same_bytes(rendered, full):
    first = {path.name: path.read_bytes() for path in rendered.folder.iterdir()}
    again = report.render(plan(), full)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == first


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("s", "s"),
        ("s@shapley", "s@shapley"),
        ("./s.py", "s"),
        ("~/there/s.py", "s"),
        ("my_package.inner.s", "s"),
        ("no/such.study", "no/such.study"),  # which names neither
    ],
)
def test_a_report_is_found_by_its_studys_address(address, label, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    assert report.label_of(address) == label
    if label == "s":
        report.remember(designed("ladder", [rung("baseline")]))
        assert report.recall(address)["label"] == "s"
        report.plan_path("s").unlink()
        with pytest.raises(Problem) as problem:
            report.recall(address)
        assert str(problem.value).startswith(f"no study {address!r} was run here")
        assert str(problem.value).endswith(f": python -m harness.ablate {address}")


def test_a_study_that_was_never_run_is_a_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    with pytest.raises(Problem, match="no study 'x' was run here.*python -m harness.ablate x"):
        report.recall("x")
    report.remember(plan())
    with pytest.raises(Problem, match="no finished run"):
        report.render(report.recall("s"), Store(tmp_path / "none"))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    return Store()


def train(store, ids, seeds):
    for key in itertools.product((name * 16 for name in ids), range(seeds)):
        finish(store, *key, record(50.0))


def looked(store, points, looks, label=None, ids="ab", **test):
    """What is said of looks at the gain of the second of `ids` over the first, which are then remembered."""
    rungs = [rung("x", seeds=range(looks[-1])), rung("y", [1, 0], seeds=range(looks[-1]))]
    rungs = [own | {"id": name * 16} for own, name in zip(rungs, ids, strict=True)]
    label = label or f"s@{points}-{'-'.join(map(str, looks))}"
    decide = {"points": points, "looks": list(looks)} | test
    made = report.looked(designed("ladder", rungs, label=label, command=[]) | {"decide": decide}, store)
    report.remember(made)
    return report.doubts(report.recall(label))


def test_the_first_plan_of_looks_stays_the_first_and_another_is_told(runs):
    """Two plans at .05 each are .10, three .15: Bonferroni by hand."""
    assert looked(runs, 1, (2, 4)) == ""
    train(runs, "ab", 2)
    second = looked(runs, 1, (3, 5))
    assert second.startswith("looks of another plan than the first: the error of all rows and looks together is at")
    assert "at most .10 with the plan before (± 1 at 2, 4 seeds), and more where what was seen chose this" in second
    third = looked(runs, 2, (2, 3))
    assert "at most .15 with plans before (± 1 at 2, 4 seeds; ± 1 at 3, 5 seeds)" in third
    assert looked(runs, 1, (2, 4)) == "", "also when it is asked for again"
    assert looked(runs, 1, (3, 5)) == second
    assert "looks of another" in looked(runs, 2, (2, 5), label="other"), "another study, the same gain"
    assert looked(runs, 2, stats.LOOKS["t"], label="apart", ids="cd") == "", "no gain that was looked at"


def test_a_plan_of_looks_that_showed_nothing_is_no_first_one(runs):
    assert looked(runs, 1, (2, 4)) == ""
    assert looked(runs, 1, (3, 5)) == ""
    train(runs, "ab", 2)
    assert "(± 1 at 2, 4 seeds; ± 1 at 3, 5 seeds)" in looked(runs, 1, (2, 3))


def test_other_points_at_the_same_looks_add_no_error_and_are_told(runs):
    looked(runs, 1, (2, 4))
    train(runs, "ab", 2)
    told = looked(runs, 3, (2, 4))
    assert told.startswith("looks planned beforehand: the error")
    assert "at most .05, with the plan before (± 1 at 2, 4 seeds) too, for only the points are others" in told


def test_looks_by_another_test_are_another_plan(runs):
    looked(runs, 1, (2, 4))
    train(runs, "ab", 2)
    told = looked(runs, 1, (2, 4), label="leaning", test="moderated")
    assert "at most .10 with the plan before (± 1 at 2, 4 seeds)" in told
    assert looked(runs, 1, (2, 4)) == ""
    train(runs, "cd", 2)
    assert looked(runs, 1, stats.LOOKS["moderated"], label="m", ids="cd", test="moderated") == ""
    train(runs, "ef", 2)
    assert "chose the looks" in looked(runs, 1, stats.LOOKS["moderated"], label="t", ids="ef"), "of the plain test"


def test_seeds_that_were_seen_before_the_first_plan_of_looks_are_told(runs):
    train(runs, "a", 2)
    assert looked(runs, 1, (2, 4), label="early") == "", "of a pair one run tells nothing"
    train(runs, "b", 3)
    assert "with the plan before" in looked(runs, 1, (2, 3))
    train(runs, "cd", 3)
    told = looked(runs, 1, (2, 5), ids="cd")
    assert told.startswith("looks planned when 3 pairs of runs were finished: the error")
    assert "at most .05, and more where what those showed chose the looks" in told
    assert looked(runs, 1, (2, 5), ids="cd") == told, "and no more of them later"
    assert looked(runs, 1, stats.LOOKS["t"], ids="ac") == "", "the program's own looks are chosen by nothing"


def test_a_damaged_plan_is_no_plan_and_one_of_another_version_was_the_first(runs):
    looked(runs, 1, (2, 4))
    train(runs, "ab", 2)
    path = report.plan_path("s@1-2-4")
    old = json.loads(path.read_text())
    path.write_text(json.dumps(old | {"decide": {"points": 1.0, "looks": [2, 4]}}))
    assert report.doubts(report.recall("s@1-2-4")) == report.doubts(report.looked(old, runs)) == ""
    assert "(± 1 at 2, 4 seeds)" in looked(runs, 1, (3, 5))
    path.write_text("{")
    assert "(± 1 at 3, 5 seeds)" in looked(runs, 1, (2, 3))


@pytest.mark.parametrize("case", ["one seed", "all diverged", "a rung has none", "one rung", "one image", "all alike"])
def test_few_runs_odd_runs_and_none_make_a_report(store, tmp_path, monkeypatch, case):
    seeds = [0] if case == "one seed" else [0, 1, 2]
    odd = {"status": "diverged", "epochs": 1} if case == "all diverged" else {}
    for place, name in enumerate(NAMES[:1] if case == "one rung" else NAMES):
        for seed in seeds if name != "one" or case != "a rung has none" else ():
            top1 = 100.0 * (place % 2) if case == "one image" else 90.0 + place + (case != "all alike") * seed / 10
            store.add(
                name, seed, top1, tested=1 if case == "one image" else 8, correct="80" if place % 2 else "00", **odd
            )
    p = plan(seeds=seeds)
    for decide in (None, {"points": 0.5, "looks": [2, 3]}):
        made = report.render(p | {"decide": decide}, store, tmp_path / "page")
        assert made.text
        assert "nan" not in made.text
        monkeypatch.setattr(report, "draw", lambda *_: ())  # once is enough
    report.after_epochs(p, store, [1], tmp_path / "page")


def test_a_neighbour_that_is_damaged_stops_no_training(full):
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0], may=["targets"])])
    (full.folder(known("baseline"), 0) / "result.json").write_text("{")
    report.compare(p, full, (known("one"), 0))


# --- gains over one rung ----------------------------------------------------------------------------------------------


def test_gains_over_a_rung_are_those_by_hand_and_judged_together(full):
    over = report.against(plan(), "one")
    table = frames.rungs(over, frames.runs(over, full)).set_index("rung")
    assert table["gain"].to_dict() == pytest.approx({"baseline": -2, "one": math.nan, "two": -2.5 / 3}, nan_ok=True)
    assert table["p"].count() == 2
    p = sorted(table["p"].dropna())
    assert sorted(table["adjusted"].dropna()) == pytest.approx([min(1, 2 * p[0]), max(2 * p[0], p[1])])
    assert table.loc["two", "over"] == "one"
    assert table.loc["two", "budget_changed"]
    text = tables.shown(table.reset_index(), "against")
    assert "gain over one" in text
    assert "gain over the baseline" not in text


def test_what_may_move_is_what_the_rungs_between_may():
    rungs = [rung("baseline"), rung("a", [1, 0], may=["rates"]), rung("b", [2, 1], may=["weights"])]
    rungs += [rung("c", [3, 1], may=["order"]) | {"also": ["epochs"]}]
    own = report.against(designed("ladder", rungs), "b")["rungs"]
    assert [each["gain"] for each in own] == [[0, 2], [1, 2], None, [3, 2]]
    assert [set(each["may"]) for each in own[:2]] == [{"rates", "weights"}, {"weights"}]
    assert set(own[2]["may"]) == {"rates", "weights"}, "it has no gain, and is held to the first, as any such rung"
    assert set(own[3]["may"]) == {"weights", "order"}
    assert [each["also"] for each in own] == [[], [], [], ["epochs"]]
    without = [rung("all"), *(rung(name, [0, i], may=[name]) for i, name in enumerate(("rates", "order"), 1))]
    own = report.against(designed("leave-one-out", without), "rates")["rungs"]
    assert [each["gain"] for each in own] == [[0, 1], None, [2, 1]]
    assert [set(each["may"]) for each in own] == [{"rates"}, {"rates"}, {"rates", "order"}]


def test_the_rung_that_others_are_held_against_is_no_comparison_itself(full):
    for name, rates in (("baseline", "a"), ("one", "b"), ("two", "b")):
        full.add(name, 0, 90.0, seen={"rates": rates, "order": "o"})
    rungs = [rung("baseline"), rung("one", [1, 0], may=["rates"]), rung("two", [2, 1])]
    over = report.against(designed("ladder", rungs), "one")
    verdicts = frames.rungs(over, frames.runs(over, full)).set_index("rung")["verdict"]
    assert verdicts["one"] == ""
    assert verdicts["baseline"].startswith("not resolved")


def test_a_report_over_a_rung_is_beside_the_studys_own(rendered, full, tmp_path):
    rung_of = {"name": "without_x+y", "title": "− x"}
    named = plan()
    named["rungs"][1] |= rung_of
    made = report.render(report.against(named, "without_x+y"), full)
    assert made.folder == tmp_path / "reports" / "s-over-without_x-y"
    assert (tmp_path / "reports" / "s" / "table.md").read_text() == rendered.text
    assert [(row["name"], row["gain"] and row["gain"]["over"]) for row in made.told["rungs"]] == [
        ("baseline", "without_x+y"),
        ("without_x+y", None),
        ("two", "without_x+y"),
    ]
    assert made.told["rungs"][1]["title"] == "without x", "the rung, and not what it lacks"
    findings = (made.folder / "findings.md").read_text()
    assert "python -m harness.report s --against without_x+y" in findings
    assert r"over without\_x+y" in findings or "over without_x+y" in findings
    assert not list(made.folder.glob("waterfall*"))
    over = report.against(named, "without_x+y")
    every = frames.runs(over, full)
    drawn = dict(report.draw(over, every, frames.rungs(over, every), None))
    assert drawn["ladder"].get_suptitle().startswith("s, over without_x+y: each seed")


def test_gains_over_no_rung_and_of_looks_are_refused(full):
    with pytest.raises(Problem, match="'three' is no rung of s: baseline, one, two"):
        report.against(plan(), "three")
    with pytest.raises(Problem, match="--against one: s added seeds by looks at its own gains"):
        report.against(plan() | {"decide": {"points": 1, "looks": [2, 3]}}, "one")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s", "t"], "one study at a time, and here are 2: --beside sets them side by side"),
        (["s", "--beside"], "--beside takes two studies or more"),
        (["s", "t", "--beside", "--against", "one"], "--beside takes two studies or more, and neither"),
        (["s", "--against", "one", "--table", "6"], "--against is about the gains of the table"),
    ],
)
def test_words_that_do_not_go_together_are_said(words, said, rendered):
    from harness.report.__main__ import parser, run

    with pytest.raises(Problem, match=said):
        run(parser().parse_args(words))
