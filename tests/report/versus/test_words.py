import json

import pytest

from harness.report import recall, remember
from harness.report.tables import literal
from harness.report.versus import compare, side, text, told, write
from harness.store import Store
from tests.kit.records import NASTY, designed, keep, record, rung
from tests.kit.tiny import finish, known
from tests.report.versus.conftest import BASE


def test_two_rungs_in_words(here):
    said = text(compare(side("t:baseline"), side("t:cosine")))
    assert said.startswith("# t:cosine over t:baseline\n")
    assert "**B over A: +2.00 [-0.48, +4.48] points of top-1: not resolved (MDE " in said
    assert "(paired t-test, p = 0.074; 3 pairs of runs; ρ̂ = 0.87)" in said
    assert "| schedule    | Step | Cosine |" in said
    assert "| schedule.by | 0.1  | –      |" in said
    assert "- Runs of one seed differ in learning rates, as the specification says.\n" in said
    assert "- Runs of one seed have the same initial weights and order of images.\n" in said
    assert "| schedule: rate | as due (due: Step) | as due (due: Cosine) |" in said
    assert "One comparison: its p knows nothing of others that you looked at." in said
    assert "Unpaired" not in said


def test_what_to_doubt_is_said(there, here):
    unpaired = text(compare(side("s:one"), side(f"{there}:s:two")))
    assert "- Unpaired: the sides share no two seeds, so means are compared.\n" in unpaired
    assert "(Welch's t-test, p = " in unpaired
    assert "- commit: c → d\n" in unpaired
    remember(recall("s") | {"decide": {"points": 1.0, "looks": [2, 3]}})
    assert "s:one: seeds were added by looks at its gains" in text(compare(side("s:baseline"), side("s:one")))
    again = text(compare(side("s:one"), side(f"{there}:s:one")))
    assert "Their specification is the same." in again
    assert "¶ compares runs of different hardware, commits" in again


def test_why_there_is_no_verdict_is_said(here):
    store = Store()
    finish(store, "once", 0, record(60.0, tested=100))
    assert "-28.00 points of top-1: too few runs for a verdict**" in text(compare(side("s:one"), side(known("once"))))
    for name, seeds, score in (("flat", (0, 1), 60.0), ("other", (2, 3), 62.0)):
        for seed in seeds:
            finish(store, name, seed, record(score, tested=100))
    found = compare(side(known("flat")), side(known("other")))
    assert "+2.00 points of top-1: seeds vary too little for a verdict**" in text(found)


def test_studies_in_words_and_what_each_differs_in(here):
    rungs = []
    for form, score in ((BASE, 80.0), (BASE | {"schedule": {"kind": "Cosine"}, "mix": [{"kind": "Mixup"}]}, 85.0)):
        for seed in range(3):
            spec_id = keep(Store(), form | {"epochs": 9}, seed, score + seed, tested=100)
        rungs.append(rung(("baseline", "cosine")[len(rungs)], [1, 0] if rungs else None) | {"id": spec_id})
    remember(designed("ladder", [*rungs, rung("one", [2, 1])], study="u", label="u"))
    found = compare(side("t"), side("u"))
    said = text(found)
    assert "## What every B differs from its A in\n\n- epochs: 2 → 9\n" in said
    lines = [line for line in said.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines] == [
        "rung",
        ":" + lines[1].split("|")[1][1:].strip(":"),
        "baseline",
        "cosine decay → cosine",
    ]
    assert lines[3].rstrip("| ").endswith("mix")
    assert "## Rungs of u alone\n\n- one\n" in said
    assert told(found)["only_b"] == ["one"]
    assert "after Holm over 2 differences" in said


def test_names_from_users_are_escaped(here):
    for nasty in NASTY[:3]:
        plan = recall("s")
        plan["rungs"][1] |= {"name": nasty, "title": nasty}
        remember(plan | {"study": "n", "label": "n"})
        said = text(compare(side("n:baseline"), side(f"n:{nasty}")))
        assert literal(nasty) in said
        assert nasty not in said.replace(literal(nasty), "")


def test_all_is_written_and_the_json_is_what_is_told(here, tmp_path):
    folder, said, whole = write(compare(side("t:baseline"), side("t:cosine")))
    assert folder == here / "compared" / "t-cosine-over-t-baseline"
    assert {path.name for path in folder.iterdir()} == {"compared.md", "compared.json", "compared.png", "compared.svg"}
    assert json.loads((folder / "compared.json").read_text()) == whole
    assert (folder / "compared.md").read_text() == said
    assert whole["rows"][0]["gain"]["value"] == pytest.approx(2)
    assert (whole["a"], whole["b"], whole["paired"], whole["only_a"]) == ("t:baseline", "t:cosine", True, [])
    assert write(compare(side("t:baseline"), side("t:cosine")), tmp_path / "own")[0] == tmp_path / "own"
