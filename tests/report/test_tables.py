import csv
import math
import re

import pandas as pd
import pytest

from harness.report import frames, tables
from tests.kit.records import NASTY, designed, plan, rows, rung, write


def test_one_seed_gives_a_gain_without_an_interval_and_no_verdict(store):
    store.add("baseline", 0, 90.0)
    store.add("one", 0, 92.0)
    p = plan(seeds=(0,))
    shown = tables.shown(rows(store, p).reset_index())
    assert list(shown["gain over the rung below"]) == ["–", "+2.00"]
    assert list(shown["top-1"]) == ["90.00", "92.00"]
    assert list(shown["verdict"]) == ["–", "–"]


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


def test_without_looks_and_with_all_runs_there_is_no_column_of_pairs(full):
    assert "pairs" not in tables.shown(rows(full, plan()).reset_index())


def classes(score="AP"):
    """Of two rungs, two classes; names and titles are a user's."""
    rows = [
        (place, rung, title, name, score, 2, mean + place, sd, n)
        for place, (rung, title) in enumerate((("baseline", "baseline"), ("x", "+ x|*y*")))
        for name, mean, sd, n in (("a|b", 50.0, 1.25, 1234), ("none", math.nan, math.nan, 0), ("one", 7.0, math.nan, 1))
    ]
    return pd.DataFrame(rows, columns=["place", "rung", "title", "class", "score", "runs", "mean", "sd", "n"])


def test_a_table_of_classes_has_a_column_a_rung():
    shown = tables.shown_classes(classes())
    assert list(shown.columns) == ["class", "boxes", "baseline", "+ x|*y*"]
    assert shown.to_numpy().tolist() == [
        ["a|b", "1,234", "50.00 ± 1.25", "51.00 ± 1.25"],
        ["none", "0", "–", "–"],
        ["one", "1", "7.00", "8.00"],
    ]
    assert list(tables.shown_classes(classes("IoU")).columns)[1] == "pixels"
    twice = classes().assign(title="class")
    assert list(tables.shown_classes(twice).columns) == ["class", "boxes", "class", "class"]


def test_classes_are_written_with_names_that_stay_in_their_cells(tmp_path):
    for titled in (classes("IoU"), classes("IoU").assign(title="class")):
        tables.write_classes(tmp_path, "s", titled)
        lines = (tmp_path / "classes.md").read_text().splitlines()
        assert lines[0] == "# s: IoU by class"
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:7]} == {5}
    tables.write_classes(tmp_path, "s", classes("IoU"))
    text = (tmp_path / "classes.md").read_text()
    assert r"+ x\|\*y\*" in text
    assert re.search(r"\| a\\\|b +\| 1,234 +\| 50.00 ± 1.25 +\| 51.00 ± 1.25 +\|", text)
    read = pd.read_csv(tmp_path / "classes.csv")
    assert list(read.columns) == ["rung", "class", "score", "runs", "mean", "sd", "n"]
    assert read["mean"].tolist()[3] == 51.0


def test_text_that_a_spreadsheet_would_run_has_an_apostrophe_and_a_number_has_none():
    made = pd.DataFrame({"text": ["=1+1", "x"], "mixed": [None, "-2"], 3: [-1.5, 2.0], "n": [-1, 2]})
    assert tables.comma_separated(made) == "text,mixed,3,n\n'=1+1,,-1.5,-1\nx,'-2,2.0,2\n"
    assert list(made["text"]) == ["=1+1", "x"], "the table is as it was"
