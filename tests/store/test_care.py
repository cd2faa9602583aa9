"""Looking after a store."""

import os

import pytest
import torch

from harness.spec import plain, resolved
from harness.store import Store, kept, sha256, spec_hash
from harness.store.care import holder, standing, troubles
from tests.kit import transfers
from tests.kit.stores import ANSWERED
from tests.kit.tiny import BASELINE, RESULT

FORMS = {"spec": plain(BASELINE), "resolved": resolved(BASELINE)}


KEY = BASELINE.id, 0


@pytest.fixture
def store(tmp_path):
    """One finished run, made by hand."""
    store = Store(tmp_path / "runs" / "store")
    add(store, 0)
    return store


def add(store, seed, **changes):
    with store.claim(BASELINE.id, seed) as claim:
        claim.begin(FORMS)
        for epoch in range(2):
            claim.note("epoch", epoch=epoch, loss=1.0)
        claim.finish(RESULT | changes, {"w": torch.zeros(3)}, ANSWERED)


def test_the_score_of_a_run_is_its_headline_metric(store):
    form = transfers.resolved("a")
    transfers.add(store, form, 3, transfers.result(61.5))
    row = standing(store, (spec_hash(form), 3))
    assert (row["score"], row["by"]) == (61.5, "mAP")
    assert standing(store, KEY)["by"] == "top1"
    assert troubles(store, (spec_hash(form), 3)) == []


def test_a_whole_record_has_no_troubles(store):
    assert troubles(store, KEY) == []
    assert holder(store, KEY) is None
    row = standing(store, KEY)
    assert (row["state"], row["score"], row["epochs"]) == ("finished", 90.0, 2)
    assert row["bytes"] > 1000


@pytest.mark.parametrize("name", ["spec.json", "journal.jsonl", "weights.pt", "logits.npz", "result.json"])
def test_every_flipped_bit_of_every_file_is_found(store, name):
    path = store.folder(*KEY) / name
    data = path.read_bytes()
    for at in {*range(0, len(data), max(1, len(data) // 97)), len(data) - 1}:
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        found = troubles(store, KEY)
        assert found, (name, at)
        assert any(str(path) in line for line in found)
    path.write_bytes(data)
    assert troubles(store, KEY) == []


@pytest.mark.parametrize("name", ["spec.json", "weights.pt", "logits.npz"])
def test_a_file_that_is_gone_is_found(store, name):
    (store.folder(*KEY) / name).unlink()
    assert any(name in line for line in troubles(store, KEY))


def test_a_line_that_was_taken_out_and_a_file_too_many_are_found(store):
    path = store.folder(*KEY) / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    (store.folder(*KEY) / "notes.txt").touch()
    found = " ".join(troubles(store, KEY))
    assert "lines are missing" in found
    assert "notes.txt: is no part of a record" in found


@pytest.mark.parametrize("change", [{"status": "won"}, {"metrics": 3}, {"epochs": "x"}, {"correct": None}])
def test_a_result_that_is_none_is_found_and_stops_nothing(store, change):
    add(store, 1, **change)
    assert any("is no record of a run" in line for line in troubles(store, (BASELINE.id, 1)))
    assert standing(store, (BASELINE.id, 1))["state"] == "damaged"


def test_how_runs_stand(store):
    with store.claim(BASELINE.id, 1) as claim:
        claim.begin(FORMS)
        assert standing(store, (BASELINE.id, 1))["state"] == f"held by {os.getpid()}"
        claim.note("epoch", epoch=0)
    assert standing(store, (BASELINE.id, 1))["state"] == "killed"
    with store.claim(BASELINE.id, 1) as claim:
        claim.begin(FORMS)
        claim.note("interrupted")
    row = standing(store, (BASELINE.id, 1))
    assert (row["state"], row["epochs"], row["score"]) == ("interrupted", 1, None)
    (store.folder(*KEY) / "result.json").write_text("{")
    assert standing(store, KEY)["state"] == "damaged"


def test_of_a_damaged_run_it_is_told_how_far_it_came(store):
    whole = standing(store, KEY)
    (store.folder(*KEY) / "result.json").write_text("{")
    row = standing(store, KEY)
    assert (row["state"], row["score"], row["epochs"], row["time"]) == ("damaged", None, 2, whole["time"])


def test_weights_that_get_their_name_while_they_are_looked_for_are_found(store, monkeypatch):
    path = store.folder(*KEY) / "weights.pt"
    data, early = path.read_bytes(), path.with_name("weights-1.pt")
    path.rename(early)
    assert kept(sha256(data), path) == data
    assert kept("0" * 64, path) is None

    def renamed(file):
        early.rename(file)
        yield early

    monkeypatch.setattr("harness.store.attempts", renamed)
    assert kept(sha256(data), path) == data
