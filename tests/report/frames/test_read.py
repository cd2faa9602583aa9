import gc

import pytest

from harness.report import frames
from tests.kit.records import plan
from tests.kit.tiny import known


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


def test_what_records_have_alike_is_held_once(store):
    def check(seen):
        return {"part": "loop", "what": "loss", "expected": "1", "seen": seen, "ok": True}

    for seed, seen in enumerate("112"):
        store.add("baseline", seed, 90.0, evidence=[check("0"), check(seen)], libraries={"torch": f"2.{seen}"})
    runs = frames.runs(plan(), store)
    first, second, third = runs["evidence"]
    assert [[one["seen"] for one in own] for own in runs["evidence"]] == [["0", "1"], ["0", "1"], ["0", "2"]]
    assert first[0] is second[0] is third[0]
    assert first[1] is second[1]
    environments = list(runs["environment"])
    assert environments[0] is environments[1]
    assert [own["torch"] for own in environments] == ["2.1", "2.1", "2.2"]
