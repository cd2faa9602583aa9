"""Reports of records made by hand, whose numbers can be done by hand."""

import csv
import gc
import itertools
import json
import math
import re

import numpy as np
import pytest
import scipy.stats

from harness import Problem, report, stats
from harness.report import frames, tables
from harness.stats.looks import _levels
from harness.store import Store
from tests.kit.tiny import finish, known

NAMES = ["baseline", "one", "two"]
EPOCHS = [2, 2, 3]


def record(
    top1,
    *,
    status="finished",
    epochs=2,
    emulated=False,
    macs=1_500_000,
    top5=None,
    device="a",
    commit="c",
    libraries=None,
    correct="ff",
    evidence=(),
    seen=None,
    tested=8,
    **more,
):
    return more | {
        "status": status,
        "metrics": {"test_loss": 1.0, "top1": top1, **({"top5": top5} if top5 else {})},
        "epochs": [{"epoch": i, "loss": 1.0, "top1": top1, "lr": 0.1} for i in range(epochs)],
        "params": 1000,
        "macs": macs,
        "seconds_per_epoch": 0.5,
        "seconds": 1.0,
        "precision": {"name": "FP32", "emulated": emulated},
        "environment": {"device_name": device, "commit": commit, **(libraries or {})},
        "images": {"train": 10, "test": tested},
        "correct": correct,
        "evidence": evidence,
        "seen": seen,
    }


def rung(name, gain=None, on=(), seeds=(0, 1, 2), may=(), epochs=2):
    own = {"name": name, "title": name, "id": known(name), "epochs": epochs, "seeds": list(seeds)}
    return own | {"gain": gain, "also": [], "may": list(may), "on": list(on), "changes": {"targets": [None, "x"]}}


def designed(design, rungs, tricks=(), **more):
    own = {"study": "s", "label": "s", "about": "", "settings": [], "design": design, "decide": None, "upstream": []}
    own |= {
        "command": ["s"],
        "tricks": [{"name": name, "title": name, "moves": ["mix"]} for name in tricks],
        "orders": [],
        "generators": [],
    }
    return own | {"rungs": rungs} | more


def plan(titles=("baseline", "+ one", "+ two"), seeds=(0, 1, 2), upstream=()):
    rungs = [
        {
            "name": n,
            "title": t,
            "id": known(n),
            "epochs": e,
            "seeds": list(seeds),
            "gain": gain,
            "also": [],
            "may": [],
            "on": [],
        }
        for n, t, e, gain in zip(NAMES, titles, EPOCHS, (None, [1, 0], [2, 1]), strict=True)
    ]
    return {
        "study": "s",
        "label": "s",
        "about": "",
        "settings": [],
        "command": ["s"],
        "tricks": [],
        "design": "ladder",
        "decide": None,
        "rungs": rungs,
        "upstream": [{"of": of} for of in upstream],
    }


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")

    def add(rung, seed, *args, **kwargs):
        finish(store, rung, seed, record(*args, **kwargs))

    store.add = add
    return store


@pytest.fixture
def full(store):
    for seed, (a, b, c) in enumerate([(90.0, 92.0, 91.0), (91.0, 92.0, 93.0), (92.0, 95.0, 92.5)]):
        store.add("baseline", seed, a)
        store.add("one", seed, b)
        store.add("two", seed, c, epochs=3, emulated=True)
    return store


def write(folder, p, every, study="s"):
    table = frames.rungs(p, every)
    proof, notes = frames.evidence(p, every), frames.footnotes(p, every, table)
    return tables.write(folder, study, p["design"], table, frames.effects(p, every), proof, notes)


def rows(store, p):
    return frames.rungs(p, frames.runs(p, store)).set_index("rung")


def test_means_deviations_and_paired_gains_by_hand(full):
    table = rows(full, plan())
    assert table.loc["baseline", "top1_mean"] == pytest.approx(91)
    assert table.loc["baseline", "top1_sd"] == pytest.approx(1)
    # gains of `one`: 2, 1, 3: mean 2, s.d. 1, half = 4.302653 / sqrt(3)
    half = 4.302653 / math.sqrt(3)
    seen = table.loc["one", ["gain", "gain_low", "gain_high"]]
    assert list(seen) == pytest.approx([2, 2 - half, 2 + half], abs=1e-5)
    assert table.loc["two", "gain"] == pytest.approx((-1 + 1 - 2.5) / 3)
    assert table.loc["two", "total"] == pytest.approx((1 + 2 + 0.5) / 3)
    assert re.fullmatch(r"not resolved \(MDE [0-9.]+\)", table.loc["two", "verdict"])
    assert math.isnan(table.loc["baseline", "gain"])


def test_marks_say_what_changed_beside_the_trick(full):
    table = rows(full, plan(upstream=["two"]))
    assert frames.marks(table.loc["one"]) == ""
    assert frames.marks(table.loc["two"]) == "†§‡"
    notes = " ".join(frames.footnotes(plan(upstream=["two"]), frames.runs(plan(), full), table))
    assert "number of epochs" in notes
    assert "emulated" in notes


def test_a_diverged_run_is_counted_and_a_refused_one_is_not_and_both_are_named(full):
    full.add("one", 0, 10.0, status="diverged")
    (full.folder(known("two"), 1) / "result.json").unlink()
    full.add("two", 1, 99.0, status="refused")
    every = frames.runs(plan(), full)
    table = frames.rungs(plan(), every).set_index("rung")
    assert table.loc["one", "n"] == 3
    assert table.loc["one", "top1_mean"] == pytest.approx((10 + 92 + 95) / 3)
    assert table.loc["two", "n"] == 2
    assert table.loc["two", "top1_mean"] == pytest.approx((91 + 92.5) / 2)
    notes = " ".join(frames.footnotes(plan(), every, table))
    assert "1 run diverged, and counted in n: one seed 0." in notes
    assert "1 run refused by its evidence, left out: two seed 1." in notes


def test_one_seed_gives_a_gain_without_an_interval_and_no_verdict(store):
    store.add("baseline", 0, 90.0)
    store.add("one", 0, 92.0)
    p = plan(seeds=(0,))
    shown = tables.shown(rows(store, p).reset_index())
    assert list(shown["gain over the rung below"]) == ["–", "+2.00"]
    assert list(shown["top-1"]) == ["90.00", "92.00"]
    assert list(shown["verdict"]) == ["–", "–"]


def test_a_rung_without_runs_breaks_the_gain_above_it_and_is_named(store):
    for seed in range(3):
        store.add("baseline", seed, 90.0 + seed)
        store.add("two", seed, 91.0 + 2 * seed)
    every = frames.runs(plan(), store)
    table = frames.rungs(plan(), every).set_index("rung")
    assert list(table.index) == ["baseline", "two"]
    assert math.isnan(table.loc["two", "gain"])
    assert table.loc["two", "total"] == pytest.approx(2)
    assert "one (3 of 3)" in " ".join(frames.footnotes(plan(), every, table))


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_left_as_it_was(full, collects):
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        assert len(frames.runs(plan(), full)) == 9
        assert gc.isenabled() == collects
        (full.folder(known("two"), 1) / "result.json").write_text("{")
        assert len(frames.runs(plan(), full)) == 8
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


def test_hardware_and_commits_that_differ_are_said(full):
    full.add("one", 0, 92.0, device="b", commit="d")
    every = frames.runs(plan(), full)
    notes = " ".join(frames.footnotes(plan(), every, frames.rungs(plan(), every)))
    assert "different hardware" in notes
    assert "different commits" in notes


NASTY = ["<script>alert(1)</script>", r"\input{/etc/passwd}", "a | b & 50 % $x$ _y_ #1"]


def test_names_cannot_leave_their_cell(full, tmp_path):
    p = plan(titles=NASTY)
    every = frames.runs(p, full)
    write(tmp_path, p, every, "<b>s</b>")
    tex = (tmp_path / "table.tex").read_text()
    assert r"\input" not in tex
    assert r"50 \% \$x\$ \_y\_ \#1" in tex
    body = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert {len(line.replace("\\|", "").split("|")) for line in body} == {12}


def test_markdown_keeps_signs_and_trailing_zeros(full, tmp_path):
    p = plan()
    every = frames.runs(p, full)
    text = write(tmp_path, p, every)
    assert "+2.00 [" in text
    assert "91.00 ± 1.00" in text


def test_the_csv_is_unrounded_and_has_the_promised_columns(full, tmp_path):
    for seed in range(3):
        full.add("baseline", seed, 100 * (1 + seed) / 7, top5=99.0)
    p = plan()
    every = frames.runs(p, full)
    write(tmp_path, p, every)
    with (tmp_path / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    promised = [
        "rung",
        "n",
        "top1_mean",
        "top1_sd",
        "gain",
        "gain_low",
        "gain_high",
        "params",
        "gmacs",
        "seconds_per_epoch",
    ]
    assert set(promised) <= set(table[0])
    assert float(table[0]["top1_mean"]) == pytest.approx(100 * 2 / 7, abs=1e-12)
    assert float(table[0]["gmacs"]) == 0.0015


def test_latex_is_booktabs_and_compiles_in_its_letters(full, tmp_path):
    p = plan(titles=("baseline", "+ zero γ", "+ two"))
    every = frames.runs(p, full)
    write(tmp_path, p, every)
    tex = (tmp_path / "table.tex").read_text()
    assert all(rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"$\gamma$", r"$\pm$"))
    assert tex.isascii()


@pytest.fixture
def rendered(full, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    report.remember(plan())
    return report.render(plan(), full)


def test_render_writes_every_file(rendered, full):
    figures = {f"{name}.{kind}" for name in ("ladder", "curves", "cost") for kind in ("png", "svg")}
    texts = {
        "index.html",
        "findings.md",
        "evidence.md",
        "evidence.csv",
        *(f"table.{kind}" for kind in ("md", "csv", "tex")),
    }
    assert {path.name for path in rendered.folder.iterdir()} == figures | texts
    assert (rendered.folder / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_records_give_the_same_bytes(rendered, full):
    first = {path.name: path.read_bytes() for path in rendered.folder.iterdir()}
    again = report.render(plan(), full)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == first


def test_a_study_that_was_never_run_is_a_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    with pytest.raises(Problem, match="no study 'x' was run here.*python -m harness.ablate x"):
        report.recall("x")
    report.remember(plan())
    with pytest.raises(Problem, match="no finished run"):
        report.render(report.recall("s"), Store(tmp_path / "none"))


# --- when looks were planned -----------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    return Store()


def train(store, ids, seeds):
    for key in itertools.product((name * 16 for name in ids), range(seeds)):
        finish(store, *key, record(50.0))


def looked(store, points, looks, label=None, ids="ab"):
    """What is said of looks at the gain of the second of `ids` over the first, which are then remembered."""
    rungs = [rung("x", seeds=range(looks[-1])), rung("y", [1, 0], seeds=range(looks[-1]))]
    rungs = [own | {"id": name * 16} for own, name in zip(rungs, ids, strict=True)]
    label = label or f"s@{points}-{'-'.join(map(str, looks))}"
    decide = {"points": points, "looks": list(looks)}
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
    assert looked(runs, 2, stats.LOOKS, label="apart", ids="cd") == "", "no gain that was looked at"


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
    assert looked(runs, 1, stats.LOOKS, ids="ac") == "", "the program's own looks are chosen by nothing"


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


def test_notes_say_when_looks_were_planned(full):
    decide = {"points": 1.0, "looks": [2, 3], "earlier": [{"points": 2.0, "looks": [3]}], "pairs": 3}
    p = plan() | {"decide": decide}
    every = frames.runs(p, full)
    notes = " ".join(frames.footnotes(p, every, frames.rungs(p, every)))
    assert "at looks of another plan than the first (2, 3 seeds), for gains" in notes
    assert "looks together at most .10 with the plan before (± 2 at 3 seeds), and more where" in notes
    assert "beforehand" not in notes


def test_points_never_find_what_every_look_at_every_row_would_not():
    """So other points at the same looks add no error. The bound: Holm over the rows, each found by any of its looks."""
    rng, looks = np.random.default_rng(0), (3, 5, 8)
    found, ended = 0, 0
    for _ in range(60):
        rows = [rng.normal(rng.choice([0, 0.5, 1.5]), 1, 8) for _ in range(4)]
        p = [[scipy.stats.ttest_1samp(row[:n], 0).pvalue for n in looks] for row in rows]
        most = set()
        while len(most) < 4:
            levels = _levels(looks, 0.05 / (4 - len(most)))
            new = {i for i in range(4) if i not in most and any(a <= b for a, b in zip(p[i], levels, strict=True))}
            if not new:
                break
            most |= new
        for points in (0.1, 0.7, 1.2, 3):
            made = stats.decide(rows, points, looks)
            own = {i for i, row in enumerate(made) if row.verdict in ("helps", "hurts")}
            assert own <= most
            found, ended = found + len(own), ended + sum("known" in row.verdict for row in made)
    assert min(found, ended) > 20


# --- verdicts, designs, evidence --------------------------------------------------------------------------------------


def test_verdicts_are_holms_over_the_rows_and_say_what_could_be_seen(store):
    """Three gains whose raw p are near .02, .03 and .5: each below .05 or not alone, none of them after Holm."""
    for seed, gains in enumerate(np.array([[1.0, 1.0, 0.1], [2, 3, -1.1], [3, 2, 1.2], [1.5, 2.4, -0.4]])):
        values = 50 + np.cumsum([0, *gains])
        for name, value in zip("abcd", values, strict=True):
            store.add(name, seed, float(value))
    rungs = [rung(name, [i, i - 1] if i else None, seeds=range(4)) for i, name in enumerate("abcd")]
    table = frames.rungs(designed("ladder", rungs), frames.runs(designed("ladder", rungs), store)).set_index("rung")
    for name, gains in (("b", [1, 2, 3, 1.5]), ("c", [1, 3, 2, 2.4]), ("d", [0.1, -1.1, 1.2, -0.4])):
        assert table.loc[name, "p"] == pytest.approx(scipy.stats.ttest_1samp(gains, 0).pvalue)
    p = table["p"]
    assert p["b"] < 0.05 and p["c"] < 0.05  # noqa: PT018
    first, second = sorted((p["b"], p["c"]))
    assert table.loc[p.idxmin(), "adjusted"] == pytest.approx(3 * first)
    assert max(table.loc[["b", "c"], "adjusted"]) == pytest.approx(max(3 * first, 2 * second))
    for name in "bcd":
        resolved = table.loc[name, "adjusted"] <= 0.05
        assert table.loc[name, "verdict"].startswith("helps" if resolved else "not resolved (MDE ")


def test_leave_one_out_gains_are_of_having_the_trick(store):
    for seed in range(3):
        store.add("all", seed, 95.0 + seed)
        store.add("less", seed, 92.0 + 1.5 * seed)
    p = designed("leave-one-out", [rung("all"), rung("less", [0, 1])])
    every = frames.runs(p, store)
    table = rows(store, p)
    assert table.loc["less", "gain"] == pytest.approx(3 - 0.5)
    assert math.isnan(table.loc["less", "total"])
    assert frames.seeds_as_dots(p, every)[1] == [(0, 3.0), (1, 2.5), (2, 2.0)]
    text = tables.shown(table.reset_index(), "leave-one-out")
    assert "gain over the baseline" not in text
    assert any("on top of the others" in note for note in frames.footnotes(p, every, table))


def test_shapley_values_of_the_glove_game(store):
    """FACTS: two left gloves and a right one; a pair is worth 1: (1/6, 1/6, 2/3). 60 more for everybody, each seed."""
    subsets = [s for r in range(4) for s in itertools.combinations(range(3), r)]
    for seed in range(3):
        for on in subsets:
            store.add(f"r{on}".replace(" ", ""), seed, 60.0 + seed + (2 in on and len(on) > 1))
    rungs = [rung(f"r{on}".replace(" ", ""), on=on) for on in subsets]
    p = designed("shapley", rungs, "ABC")
    made = frames.effects(p, frames.runs(p, store))
    assert list(made["value"]) == pytest.approx([1 / 6, 1 / 6, 2 / 3])
    assert list(made["name"]) == ["A", "B", "C"]
    orders = [list(order) for order in itertools.permutations(range(3))]
    both = [o for order in orders[:3] for o in (order, order[::-1])]  # all six: as good as exact
    sampled = frames.effects(designed("shapley", rungs, "ABC", orders=both), frames.runs(p, store))
    assert list(sampled["value"]) == pytest.approx([1 / 6, 1 / 6, 2 / 3])
    assert (sampled["order_se"] > 0).any()
    odd = designed("shapley", [own | {"may": ["targets"]} for own in rungs], "ABC")
    for on, order in ((subsets[0], "a"), (subsets[-1], "b")):
        store.add(f"r{on}".replace(" ", ""), 0, 60.0, seen={"order": order})
    with pytest.raises(Problem, match="differ in order at seed 0"):
        report.compare(odd, store, (rungs[-1]["id"], 0))
    verdicts = frames.effects(odd, frames.runs(odd, store))["verdict"]
    assert set(verdicts) == {"not comparable: differs in order"}
    (store.folder(rungs[-1]["id"], 1) / "result.json").unlink()
    assert set(frames.effects(p, frames.runs(p, store))["n"]) == {2}, "a seed that lacks a rung is left out"


def test_factorial_effects_by_hand(store):
    """2^(3-1), C = AB: y = 10 + 3 A + 2 B - 1 C in ±1, so effects 6, 4, -2."""
    runs = [(-1, -1, 1), (1, -1, -1), (-1, 1, -1), (1, 1, 1)]
    rungs = []
    for a, b, c in runs:
        name = f"{a}{b}{c}".replace("-1", "o").replace("1", "x")
        rungs.append(rung(name, on=[j for j, level in enumerate((a, b, c)) if level > 0]))
        for seed in range(3):
            store.add(name, seed, 10 + 3 * a + 2 * b - c + 0.1 * seed)
    p = designed("factorial", rungs, ("one", "two", "three"), generators=["AB"])
    made = frames.effects(p, frames.runs(p, store)).set_index("name")
    assert list(made["value"][["one", "two", "three"]]) == pytest.approx([6, 4, -2])
    assert made.loc["three", "aliases"] == "one × two"


def test_evidence_counts_what_held_and_shows_what_failed_and_tells_the_tricks_own(store):
    def check(what, seen, ok=True, expected="5"):
        return {"part": "P", "what": what, "expected": expected, "seen": seen, "ok": ok}

    for seed in range(3):
        store.add("a", seed, 90.0, evidence=[check("steps", "5")])
        own = [check("steps", "5"), check("λ", "5" if seed != 1 else "4", seed != 1)]
        store.add("b", seed, 91.0, evidence=own, status="refused" if seed == 1 else "finished")
    p = designed("ladder", [rung("a"), rung("b", [1, 0])])
    every = frames.runs(p, store)
    made = frames.evidence(p, every).set_index(["rung", "what"])
    assert list(made.loc[("b", "λ"), ["seen", "ok", "n", "own"]]) == ["4", 2, 3, True]
    assert list(made.loc[("b", "steps"), ["seen", "ok", "n", "own"]]) == ["5", 3, 3, False]
    assert not made.loc[("a", "steps"), "own"]
    assert list(tables.shown_evidence(made.reset_index())["held in"]) == ["2 of 3"]


def test_rungs_whose_every_run_is_bit_for_bit_anothers_are_refused(store):
    """Of one seed alone it may be: a run that was kept at an early epoch, say."""
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0], may=["rates"])])
    for seed in range(3):
        for name in ("baseline", "one"):
            store.add(name, seed, 90.0, network=f"n{seed}", seen={"order": f"{seed}"})
    assert rows(store, p).loc["one", "verdict"] == "refused: bit for bit the runs of baseline"
    assert math.isnan(rows(store, p).loc["one", "gain"])
    store.add("one", 1, 90.0, network="n1", seen={"order": "1", "rates": "r"})
    assert not rows(store, p).loc["one", "verdict"].startswith("refused")
    store.add("one", 1, 90.0, network="another", seen={"order": "1"})
    assert not rows(store, p).loc["one", "verdict"].startswith("refused")


def test_a_rung_with_an_unproven_part_has_no_verdict(store):
    known = {"NAG": "second opinion", "own.Blur": "unproven"}
    p = designed("ladder", [rung("baseline"), rung("blur", [1, 0]), rung("more", [2, 1])])
    for seed in range(3):
        store.add("baseline", seed, 80.0 + seed)
        store.add("blur", seed, 90.0 + seed, opinions=known)
        store.add("more", seed, 95.0 + seed)
    table = rows(store, p)
    assert list(table["verdict"])[1:] == ["unproven: own.Blur"] * 2, "either side"
    assert table["gain"].isna().all()


def test_how_far_evidence_goes_is_told_once(store):
    def check(what, seen):
        return {"part": "audit", "what": what, "expected": "all", "seen": seen, "ok": True}

    for name, steps in (("a", "100"), ("b", "200")):
        told = [
            check(f"steps audited at random, of {steps}", "10"),
            check("parts known by a second opinion", "all"),
        ]
        store.add(name, 0, 90.0, evidence=told)
    every = frames.runs(p := designed("ladder", [rung("a", seeds=(0,)), rung("b", [1, 0], seeds=(0,))]), store)
    table = frames.evidence(p, every)
    assert not table["own"].any(), "what is checked of every run is of no trick"
    assert tables.how_far(table)[:3] == [
        *(f"{name}: 10 steps audited at random, of {steps}." for name, steps in (("a", "100"), ("b", "200"))),
        "every rung: parts known by a second opinion: all.",
    ]
    assert tables.how_far(table[table["what"] == "none"]) == []


def test_rungs_that_differ_in_what_nothing_explains_are_not_compared(full, store):
    full.add("one", 1, 92.0, seen={"order": "b", "targets": "y"})
    full.add("baseline", 1, 91.0, seen={"order": "a", "targets": "x"})
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0], may=["targets"])])
    table = rows(full, p)
    assert table.loc["one", "verdict"] == "not comparable: differs in order"
    assert math.isnan(table.loc["one", "gain"])
    with pytest.raises(Problem, match="one and baseline differ in order at seed 1, though only targets was changed"):
        report.compare(p, full, (known("one"), 1))
    report.compare(p, full, (known("one"), 0))
    full.add("one", 1, 92.0, seen={"order": "b", "targets": "y"}, device="another")
    assert "not comparable" not in rows(full, p).loc["one", "verdict"], "on other hardware bits differ anyway"
    assert frames.marks(rows(full, p).loc["one"]) == "¶"


@pytest.mark.parametrize(
    ("above", "below", "marked"),
    [
        ({"Pillow": "12"}, {"Pillow": "13"}, True),
        ({"libjpeg_turbo": "2"}, {"libjpeg_turbo": "3"}, True),
        ({"timm": "1", "imgaug": "0.4.0"}, {"timm": "1", "imgaug": "0.3.0"}, True),
        ({"timm": "1"}, {}, True),  # a record of before, which does not tell
        ({}, {}, False),
        ({"timm": "1"}, {"timm": "1"}, False),
        ({"pandas": "2", "python": "3.11"}, {"pandas": "3", "python": "3.12"}, False),
    ],
)
def test_pixels_of_another_librarys_version_are_marked_and_not_called_a_difference(full, above, below, marked):
    full.add("one", 1, 92.0, seen={"images": "b"}, libraries=above)
    full.add("baseline", 1, 91.0, seen={"images": "a"}, libraries=below)
    row = rows(full, designed("ladder", [rung("baseline"), rung("one", [1, 0])])).loc["one"]
    assert frames.marks(row) == ("¶" if marked else "")
    assert row["verdict"].startswith("not comparable: differs in images") == (not marked)


def test_new_data_widens_the_interval_by_what_examples_add(store):
    rng = np.random.default_rng(0)
    bits = rng.random((2, 4, 12)) < [[[0.5] * 12], [[1.0] * 4 + [0.1] * 8]]  # the gain is of some examples only
    for arm, name in enumerate("ab"):
        for seed in range(4):
            packed = np.packbits(bits[arm, seed]).tobytes().hex()
            store.add(name, seed, 100 * float(bits[arm, seed].mean()), correct=packed, tested=12)
    p = designed("ladder", [rung("a", seeds=range(4)), rung("b", [1, 0], seeds=range(4))])
    row = rows(store, p).loc["b"]
    gain, _, df, se, _ = stats.gain_errors(bits[1], bits[0])
    assert row["gain"] == pytest.approx(100 * gain)
    half = scipy.stats.t.ppf(0.975, df) * se * 100
    assert (row["new_low"], row["new_high"]) == pytest.approx((100 * gain - half, 100 * gain + half))
    assert row["new_high"] - row["new_low"] > row["gain_high"] - row["gain_low"]


@pytest.mark.parametrize("status", ["diverged", "finished"])
def test_a_run_that_diverged_or_stopped_early_is_compared_all_the_same(full, status):
    full.add("baseline", 0, 90.0, seen={"steps": "a", "rates": "x", "order": "o"})
    full.add("one", 0, 10.0, status=status, epochs=1, seen={"steps": "b", "rates": "y", "order": "o"})
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0], may=["targets"])])
    report.compare(p, full, (known("one"), 0))
    assert "not comparable" not in rows(full, p).loc["one", "verdict"]
    full.add("one", 0, 10.0, status=status, epochs=1, seen={"steps": "b", "rates": "y", "order": "p"})
    with pytest.raises(Problem, match="differ in order at seed 0"):
        report.compare(p, full, (known("one"), 0))
    full.add("one", 0, 10.0, status=status, seen={"steps": "b", "rates": "y", "order": "o"})
    with pytest.raises(Problem, match="differ in rates, steps at seed 0"):
        report.compare(p, full, (known("one"), 0))


def test_what_early_stopping_ended_is_told(full):
    full.add("one", 0, 91.0, epochs=1)
    p = designed("ladder", [rung("baseline") | {"stops": True}, rung("one", [1, 0]) | {"stops": True}])
    told = [
        note for note in frames.footnotes(p, report.finished(p, full), rows(full, p).reset_index()) if "early" in note
    ]
    assert told == ["Stopped early, and length may be in the gain: one after 1 to 2 of 2 epochs."]
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0])])
    assert "early" not in " ".join(frames.footnotes(p, report.finished(p, full), rows(full, p).reset_index()))


# --- looks, few runs, and none ----------------------------------------------------------------------------------------


def test_under_looks_all_that_is_beside_a_gain_is_of_its_pairs_and_means_are_of_all_runs(store, tmp_path):
    """The first gain is decided at four seeds, and its rung has eight, for the second asks for more."""
    for seed in range(8):
        late = 40.0 * (seed > 3)  # of seeds that the first gain may not have in it
        store.add("a", seed, 50.0 + seed % 3 / 10)
        store.add("b", seed, 60.0 + seed % 4 / 10 - late, device="z" if seed > 3 else "a")
        store.add("c", seed, 60.0 + (seed % 2) * 9 - late)
    rungs = [rung(name, [i, i - 1] if i else None, seeds=range(8)) for i, name in enumerate("abc")]
    p = designed("ladder", rungs, decide={"points": 0.5, "looks": [4, 8]})
    every = frames.runs(p, store)
    table = frames.rungs(p, every).set_index("rung", drop=False)
    first = [10.0 + seed % 4 / 10 - seed % 3 / 10 for seed in range(4)]
    row = table.loc["b"]
    assert (row["n"], row["gain_pairs"], row["verdict"]) == (8, 4, "helps")
    assert (row["gain"], row["p"]) == pytest.approx((np.mean(first), scipy.stats.ttest_1samp(first, 0).pvalue))
    assert row["rho"] == pytest.approx(np.corrcoef([0, 0.1, 0.2, 0.3], [0, 0.1, 0.2, 0])[0, 1])
    assert row["top1_mean"] == pytest.approx(np.mean([60 + seed % 4 / 10 - 40 * (seed > 3) for seed in range(8)]))
    assert not row["elsewhere"], "no pair of its gain is of other hardware"
    assert table.loc["c", "gain_pairs"] == 8
    dots = frames.seeds_as_dots(p, every)
    assert [seed for seed, _ in dots[1]] == [0, 1, 2, 3]
    assert len(dots[2]) == 8
    shown = tables.shown(table.reset_index(drop=True))
    assert list(shown["pairs"]) == ["–", "4", "8"]
    assert list(shown["n"]) == ["8"] * 3
    text = write(tmp_path, p, every)
    assert "Pairs: what a gain, its interval, verdict and ρ̂ are of, those of the look at which it stands." in text
    assert "& pairs &" in (tmp_path / "table.tex").read_text()
    with (tmp_path / "table.csv").open() as file:
        told = list(csv.DictReader(file))
    assert [(line["n"], line["gain_pairs"]) for line in told] == [("8", "0"), ("8", "4"), ("8", "8")]
    made = report.render(p, store, tmp_path / "page")
    assert "over the 4 to 8 seeds of its look" in (made.folder / "findings.md").read_text()


def test_without_looks_and_with_all_runs_there_is_no_column_of_pairs(full):
    assert "pairs" not in tables.shown(rows(full, plan()).reset_index())


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


BENT = {
    "nested": lambda p: p.update(about=json.loads("[" * 900 + "]" * 900)),
    "no rungs": lambda p: p.update(rungs=[]),
    "seeds": lambda p: p["rungs"][0].update(seeds=["0"]),
    "up": lambda p: p["rungs"][0].update(id="../../x"),
    "gain": lambda p: p["rungs"][1].update(gain=[7, 0]),
    "name": lambda p: p["rungs"][1].update(name=["one"]),
    "on": lambda p: p["rungs"][1].update(on=[3]),
    "design": lambda p: p.update(design="stack"),
    "looks": lambda p: p.update(decide={"points": 1, "looks": [4, 4]}),
    "points": lambda p: p.update(decide={"points": "1", "looks": [4, 8]}),
    "orders": lambda p: p.update(orders=[[0, 0]]),
    "label": lambda p: p.update(label="t"),
    "tuned": lambda p: p.update(tuned={"trials": 1, "sampler": "x", "share": 0.2, "rungs": [], "untuned": dict(p)}),
}


@pytest.mark.parametrize("what", BENT)
def test_a_plan_of_the_wrong_shape_is_one_line(what, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    p = plan()
    report.remember(p)
    assert report.recall("s") == p
    BENT[what](p)
    report.plan_path("s").write_text(json.dumps(p))
    with pytest.raises(
        Problem, match=r"s.json is damaged, or of another version \(.*\): python -m harness.ablate"
    ) as told:
        report.recall("s")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("text", ["[" * 100_000, "", "[]", "null", "7"])
def test_a_plan_that_is_none_is_one_line(text, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    report.remember(plan())
    report.plan_path("s").write_text(text)
    with pytest.raises(Problem, match="s.json is damaged"):
        report.recall("s")
