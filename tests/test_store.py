import json
import multiprocessing
import time

import pytest
import torch

from harness import Problem
from harness.store import FORMAT, Store


def finish(store, seed=0):
    store.write("abc", seed, {"kind": "Spec"}, {"status": "finished"}, {"w": torch.arange(3.0)})


def test_a_written_run_is_there_whole(tmp_path):
    store = Store(tmp_path)
    assert ("abc", 0) not in store
    finish(store)
    assert ("abc", 0) in store
    assert ("abc", 1) not in store
    record = store.read("abc", 0)
    assert (record["spec_id"], record["seed"], record["status"]) == ("abc", 0, "finished")
    assert store.weights("abc", 0)["w"].tolist() == [0, 1, 2]
    assert json.loads((tmp_path / "abc/0/spec.json").read_text()) == {"kind": "Spec"}


def test_a_run_is_not_finished_before_its_result_is_there(tmp_path, monkeypatch):
    store = Store(tmp_path)
    from harness import store as module

    written = []

    def stop_at_result(path, data):
        written.append(path.name)
        if path.name == "result.json":
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr(module, "write_atomic", stop_at_result)
    with pytest.raises(KeyboardInterrupt):
        finish(store)
    assert written[-1] == "result.json"
    assert {"weights.pt", "spec.json"} <= set(written)
    assert ("abc", 0) not in store


def test_a_write_leaves_no_temporary_file_behind(tmp_path):
    store = Store(tmp_path)
    finish(store)
    assert sorted(p.name for p in (tmp_path / "abc/0").iterdir()) == ["result.json", "spec.json", "weights.pt"]


def test_a_newer_format_is_refused_and_a_torn_record_named(tmp_path):
    store = Store(tmp_path)
    finish(store)
    path = tmp_path / "abc/0/result.json"
    path.write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(Problem, match=f"format {FORMAT + 1}, newer"):
        store.read("abc", 0)
    path.write_text('{"format":')
    with pytest.raises(Problem, match="cannot be read"):
        store.read("abc", 0)


def test_weights_that_hold_code_are_not_loaded(tmp_path):
    store = Store(tmp_path)
    finish(store)
    torch.save({"w": print}, tmp_path / "abc/0/weights.pt")
    with pytest.raises(Exception, match="weights_only|Unsupported"):
        store.weights("abc", 0)


def hold(root, held, seconds):
    with Store(root).claim("abc", 0):
        held.set()
        time.sleep(seconds)


def test_a_claim_keeps_others_out_and_dies_with_its_owner(tmp_path):
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    owner = context.Process(target=hold, args=(tmp_path, held, 600))
    owner.start()
    assert held.wait(60)
    waiter = context.Process(target=hold, args=(tmp_path, second := context.Event(), 0))
    waiter.start()
    assert not second.wait(1.0), "a second process took a claim that is held"
    owner.kill()
    assert second.wait(60), "the claim outlived its owner"
    owner.join()
    waiter.join()


def test_the_journal_holds_a_line_an_event_and_begins_anew(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "abc/0").mkdir(parents=True)
    for events in ([1, 2, 3], [4]):
        with store.journal("abc", 0) as note:
            for event in events:
                note({"epoch": event})
                assert json.loads((tmp_path / "abc/0/journal.jsonl").read_text().splitlines()[-1]) == {"epoch": event}
    assert (tmp_path / "abc/0/journal.jsonl").read_text() == '{"epoch": 4}\n'
