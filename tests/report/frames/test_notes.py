import pytest

from harness import report
from harness.report import frames, tables
from tests.kit import transfers
from tests.kit.records import designed, plan, rows, rung


def test_marks_say_what_changed_beside_the_trick(full):
    table = rows(full, plan(upstream=["two"]))
    assert frames.marks(table.loc["one"]) == ""
    assert frames.marks(table.loc["two"]) == "†§‡"
    notes = " ".join(frames.footnotes(plan(upstream=["two"]), frames.runs(plan(), full), table))
    assert "number of epochs" in notes
    assert "emulated" in notes


def test_hardware_and_commits_that_differ_are_said(full):
    full.add("one", 0, 92.0, device="b", commit="d")
    every = frames.runs(plan(), full)
    notes = " ".join(frames.footnotes(plan(), every, frames.rungs(plan(), every)))
    assert "different hardware" in notes
    assert "different commits" in notes


def test_notes_say_when_looks_were_planned(full):
    decide = {"points": 1.0, "looks": [2, 3], "earlier": [{"points": 2.0, "looks": [3]}], "pairs": 3}
    p = plan() | {"decide": decide}
    every = frames.runs(p, full)
    notes = " ".join(frames.footnotes(p, every, frames.rungs(p, every)))
    assert "at looks of another plan than the first (2, 3 seeds), for gains" in notes
    assert "looks together at most .10 with the plan before (± 2 at 3 seeds), and more where" in notes
    assert "beforehand" not in notes


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


def test_runs_that_were_seldom_tested_are_told(full):
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0])])
    every = report.finished(p, full)
    assert "Curves of" not in " ".join(frames.footnotes(p, every, rows(full, p).reset_index()))
    every.at[0, "epochs"] = [{"epoch": 0, "loss": 1.0}, *every.at[0, "epochs"][1:]]
    every.at[1, "curve_images"] = 1200
    told = "Curves of 1 of 6 runs are of 1,200 of the test images, but for the last point: --curve-images."
    assert told in frames.footnotes(p, every, rows(full, p).reset_index())
    told = "Curves of 1 of 6 runs have 1 point: --curve-every."
    assert told in frames.footnotes(p, every, rows(full, p).reset_index())


def test_what_early_stopping_ended_is_told(full):
    full.add("one", 0, 91.0, epochs=1)
    p = designed("ladder", [rung("baseline") | {"stops": True}, rung("one", [1, 0]) | {"stops": True}])
    told = [
        note for note in frames.footnotes(p, report.finished(p, full), rows(full, p).reset_index()) if "early" in note
    ]
    assert told == ["Stopped early, and length may be in the gain: one after 1 to 2 of 2 epochs."]
    p = designed("ladder", [rung("baseline"), rung("one", [1, 0])])
    assert "early" not in " ".join(frames.footnotes(p, report.finished(p, full), rows(full, p).reset_index()))


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_where_bits_are_not_promised_is_said(kind, store):
    transfers.fill(store)
    p = transfers.plan()
    every = frames.runs(p, store)
    every["environment"] = [{**own, "device": kind} for own in every["environment"]]
    notes = " ".join(frames.footnotes(p, every, frames.rungs(p, every)))
    assert ("RoIAlign are summed in no fixed order" in notes) == (kind == "cuda")
