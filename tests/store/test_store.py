import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import Problem
from harness.store import FORMAT, TRACEBACK, Held, Store, spec_hash
from tests.faults.commands import FORKS
from tests.kit.stores import ANSWERED
from tests.kit.tiny import BASELINE, RESULT, finish

FORMS = {"spec": {"kind": "Spec"}, "resolved": {"kind": "Spec", "epochs": 3}}
ID = spec_hash(FORMS["resolved"])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def state(epoch, batch=0, **more):
    return {"epoch": epoch, "batch": batch, "x": torch.full((3,), float(epoch)), **more}


def names(store):
    return sorted(path.name for path in store.folder(ID, 0).iterdir())


def test_a_finished_run_is_there_whole(store):
    assert (ID, 0) not in store
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        claim.finish(RESULT, {"w": torch.arange(3.0)})
    assert (ID, 0) in store
    assert (ID, 1) not in store
    record = store.read(ID, 0)
    assert (record["spec_id"], record["seed"], record["status"]) == (ID, 0, "finished")
    assert store.weights(ID, 0)["w"].tolist() == [0, 1, 2]
    assert store.forms(ID, 0) == FORMS
    assert list(store) == [(ID, 0)]
    assert names(store) == ["claim", "journal.jsonl", "result.json", "spec.json", "weights.pt"]
    events = store.events(ID, 0)
    assert [event["event"] for event in events] == ["started", "finished"]
    assert events[-1]["digest"] == record["digest"]


def test_what_a_run_answered_to_each_test_image_is_kept_beside_it(store):
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        record = claim.finish(RESULT, {}, ANSWERED)
    path = store.folder(ID, 0) / "logits.npz"
    assert record["logits"] == hashlib.sha256(path.read_bytes()).hexdigest()
    labels, logits = store.logits(ID, 0)
    assert (labels.dtype, logits.dtype) == (np.int64, np.float16)
    assert labels.tolist() == ANSWERED["labels"].tolist()
    assert logits.tolist() == ANSWERED["logits"].tolist()
    code = f"import sys, pathlib; from harness.store import Store; Store(pathlib.Path({str(store.root)!r})).logits"
    code += f"({ID!r}, 0); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Problem, match="logits.npz is damaged, its digest is another"):
        store.logits(ID, 0)
    path.unlink()
    with pytest.raises(Problem, match="logits.npz is missing"):
        store.logits(ID, 0)


def test_a_run_of_before_has_no_logits(store):
    finish(store, ID, 0, {})
    assert "logits" not in store.read(ID, 0)
    assert store.logits(ID, 0) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.arange(9) % 2}, r"labels int64 \(9,\)"),
        ({"labels": np.arange(10)}, "labels 0 to 9 of 2 classes"),
        ({"labels": np.arange(10) - 1}, "labels -1 to 8 of 2 classes"),
        ({"logits": np.zeros((10, 2))}, "logits float64"),
        ({"logits": np.zeros((10,), np.float16)}, r"logits float16 \(10,\)"),
        ({"logits": np.array([{}] * 10, dtype=object)}, "Object arrays cannot be loaded"),
        ({"more": np.zeros(10**8 // 8 + 1)}, "more than 100 MB"),
    ],
)
def test_logits_that_are_none_are_not_read(store, change, said):
    """The file may come from elsewhere, and its digest with it."""
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        claim.finish(RESULT, {}, ANSWERED | change)
    with pytest.raises(Problem, match=f"logits.npz holds no logits .*{said}"):
        store.logits(ID, 0)


def test_the_same_answers_are_the_same_bytes(store):
    def made(seed):
        with store.claim(ID, seed) as claim:
            claim.begin(FORMS)
            return claim.finish(RESULT, {}, ANSWERED)["logits"]

    assert made(0) == made(1)


def test_a_refused_run_leaves_no_logits_once_it_is_begun_anew(store):
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        claim.finish(RESULT | {"status": "refused"}, {}, ANSWERED)
    assert "logits-1.npz" in names(store)
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        assert not {"logits-1.npz", "weights-1.pt", "refused.json"} & {*names(store)}


def test_the_id_of_a_specification_is_the_hash_of_what_is_kept_of_it():
    from harness.spec import resolved

    assert spec_hash(json.loads(json.dumps(resolved(BASELINE)))) == BASELINE.id


def test_a_run_is_not_finished_before_its_result_is_there(store, monkeypatch):
    from harness import store as module

    written = []

    def stop_at_result(path, data):
        written.append(path.name)
        if path.name == "result.json":
            raise KeyboardInterrupt
        path.write_bytes(data)

    monkeypatch.setattr(module, "write_atomic", stop_at_result)
    monkeypatch.setattr(module, "write_first", stop_at_result)
    with pytest.raises(KeyboardInterrupt):
        finish(store, ID, 0, {"status": "finished"})
    assert written == ["spec.json", "weights-1.pt", "result.json"]
    assert (ID, 0) not in store


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    from harness.paths import write_atomic

    (tmp_path / "x").write_text("old")
    for name in ("write", "fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                write_atomic(tmp_path / "x", b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["x"]
        assert (tmp_path / "x").read_text() == "old"
    write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_text() == "new"


@pytest.mark.parametrize("bit", range(0, 8 * 60, 37))
def test_a_flipped_bit_in_a_result_is_seen(store, bit):
    finish(store, ID, 0, {"status": "finished", "correct": "00ff"})
    path = store.folder(ID, 0) / "result.json"
    data = bytearray(path.read_bytes())
    data[-1 - bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with pytest.raises(Problem, match="cannot be read|damaged|of format|is the record of"):
        store.read(ID, 0)


def test_another_runs_record_is_not_this_ones(store):
    finish(store, ID, 0, {"status": "finished"})
    store.folder(ID, 0).rename(store.folder(ID, 1))
    with pytest.raises(Problem, match="is the record of .*, seed 0"):
        store.read(ID, 1)


def test_a_newer_format_is_refused_and_not_rewritten(store):
    finish(store, ID, 0, {"status": "finished"})
    path = store.folder(ID, 0) / "result.json"
    path.write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(Problem, match=f"format {FORMAT + 1}, newer"):
        store.read(ID, 0)
    path.unlink()
    journal = store.folder(ID, 0) / "journal.jsonl"
    text = journal.read_text().splitlines()[0].partition(', "crc"')[0].replace(f'"format": {FORMAT}', '"format": 99')
    from zlib import crc32

    newer = f'{text}, "crc": "{crc32(text.encode()):08x}"}}\n'
    journal.write_text(newer)
    with store.claim(ID, 0) as claim, pytest.raises(Problem, match="format 99, newer"):
        claim.begin(FORMS)
    assert journal.read_text() == newer


def test_weights_that_hold_code_or_were_changed_are_not_loaded(store):
    record = finish(store, ID, 0, {"status": "finished"}, {"w": torch.zeros(1)})
    path = store.folder(ID, 0) / "weights.pt"
    torch.save({"w": print}, path)
    with pytest.raises(Problem, match="weights.pt is damaged"):
        store.weights(ID, 0)
    from harness.store import digest

    record["weights"] = hashlib.sha256(path.read_bytes()).hexdigest()
    record["digest"] = digest(record)
    (store.folder(ID, 0) / "result.json").write_text(json.dumps(record))
    with pytest.raises(Exception, match="weights_only|Unsupported"):
        store.weights(ID, 0)


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_gone_on_from(store):
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        assert claim.saved("me") is None
        for epoch in range(4):
            claim.keep(state(epoch), "me")
        assert len(list(store.folder(ID, 0).glob("checkpoint-*"))) == 2
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        assert claim.saved("me")["x"].tolist() == [3, 3, 3]
        assert claim.since_start()[-1]["event"] == "resumed"
        claim.keep(state(4), "me")
        claim.finish({"status": "finished"}, {})
    assert not list(store.folder(ID, 0).glob("checkpoint-*"))
    assert [event["seq"] for event in store.events(ID, 0)] == list(range(9))


def test_a_damaged_checkpoint_is_passed_over_and_said(store):
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        claim.keep(state(0), "me")
        claim.keep(state(1), "me")
    newest = max(store.folder(ID, 0).glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        assert claim.saved("me")["epoch"] == 0
        said = claim.since_start()
    assert [(event["event"], event["file"]) for event in said] == [
        ("passed over", newest.name),
        ("resumed", "checkpoint-1-1.pt"),
    ]


def test_a_checkpoint_of_another_torch_or_device_is_passed_over(store):
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        claim.keep(state(0), "torch 2 on cpu")
        assert claim.saved("torch 3 on cpu") is None
        assert claim.since_start()[-1]["why"] == "made by torch 2 on cpu, and this is torch 3 on cpu"


def test_a_checkpoint_that_no_journal_line_names_is_not_loaded(store):
    with store.claim(ID, 0) as claim:
        claim.begin(FORMS)
        torch.save({"x": print}, store.folder(ID, 0) / "checkpoint-1-9.pt")
        assert claim.saved("me") is None


def test_when_a_checkpoint_is_due(store, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with store.claim(ID, 0, every=60) as claim:
        claim.begin(FORMS)
        claim.cost = 0.02
        asked = {}
        for after in (0, 1, 3, 59, 61):
            now = 1000.0 + after
            asked[after] = claim.due(epoch_done=False), claim.due(epoch_done=True)
        assert asked == {0: (False, False), 1: (False, False), 3: (False, True), 59: (False, True), 61: (True, True)}
        claim.cost = 2.0
        assert not claim.due(epoch_done=True), "2 s of every 61 would be 3 %"
        claim.every = 0
        assert claim.due(epoch_done=False)


def hold(root, held, seconds):
    with Store(root).claim(ID, 0):
        held.set()
        time.sleep(seconds)


def test_a_claim_keeps_others_out_says_whose_it_is_and_dies_with_its_owner(tmp_path):
    held = FORKS.Event()
    owner = FORKS.Process(target=hold, args=(tmp_path, held, 600))
    owner.start()
    assert held.wait(60)
    store = Store(tmp_path)
    with pytest.raises(Held, match=f"process {owner.pid} on {socket.gethostname()} holds this run"), store.claim(ID, 0):
        pytest.fail("a claim that is held was given")
    with pytest.raises(Held, match=str(owner.pid)):
        store.set_aside(ID, 0)
    owner.kill()
    owner.join()
    with store.claim(ID, 0):
        pass


def test_a_claim_sweeps_what_a_killed_writer_left(store):
    store.folder(ID, 0).mkdir(parents=True)
    (store.folder(ID, 0) / ".weights.pt.123").write_bytes(b"half")
    with store.claim(ID, 0):
        assert names(store) == ["beat-1", "claim", "claim-1"]


def test_a_claim_may_meet_a_look_at_the_clock_that_is_over(store, monkeypatch):
    store.folder(ID, 0).mkdir(parents=True)
    (store.folder(ID, 0) / ".beat.0123abcd.123").touch()
    monkeypatch.setattr(Path, "is_file", lambda path: path.unlink() or True)
    with store.claim(ID, 0):
        assert names(store) == ["beat-1", "claim", "claim-1"]


def test_set_aside_keeps_the_old_record(store):
    assert store.set_aside(ID, 0) is None
    for name in ("0", "0.2"):
        finish(store, ID, 0, {"status": "finished"})
        assert store.set_aside(ID, 0) == store.root.parent / "aside" / time.strftime("%Y-%m-%d") / ID / name
        assert (ID, 0) not in store
    assert len(list((store.root.parent / "aside").glob("*/*/0*/result.json"))) == 2
    assert list(store.root.iterdir()) == []


def test_a_traceback_stays_until_the_run_is_begun_again(store):
    with store.claim(ID, 0) as claim:
        claim.begin({"spec": {}, "resolved": {}})
        claim.leave_traceback(ValueError("odd"))
    assert "ValueError: odd" in (store.folder(ID, 0) / TRACEBACK).read_text()
    with store.claim(ID, 0) as claim:
        claim.begin({"spec": {}, "resolved": {}})
    assert TRACEBACK not in names(store)
