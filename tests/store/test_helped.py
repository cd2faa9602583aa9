"""Runs that another process looks through: what it saw is what one sees, and where it saw nothing one looks."""

import os
from contextlib import nullcontext

import pytest

from harness.store import Store, care, helped
from tests.faults.shapes import NAMES, SEEDS, filled
from tests.kit.tiny import known

KEYS = [(known(name), seed) for name in NAMES for seed in SEEDS]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Four runs, one of them damaged, of which one process looks through all."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(helped, "MANY", len(KEYS))
    monkeypatch.setattr(helped, "SHARE", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    store = filled(Store())
    path = store.folder(*KEYS[1]) / "weights.pt"
    path.write_bytes(path.read_bytes()[:-1])
    return store


def looks(store):
    return {key: (care.as_it_is(str(store.folder(*key))), care.damage(store, key)[1]) for key in KEYS}


def test_another_process_sees_what_this_one_does(store):
    own = looks(store)
    assert [bool(wrong) for _, wrong in own.values()] == [False, True, False, False]
    other = helped.Other(store, [*KEYS, (known("none"), 0)], care.LIFE)
    other.listening.join(60)
    assert other.seen == own | {(known("none"), 0): helped.UNSEEN}
    assert {key: other.saw(key) for key in KEYS} == own
    assert other.saw(KEYS[0]) is None, "it is told once"
    other.end()
    assert other.process.returncode is not None


def test_a_run_that_is_hidden_is_hidden_there_too(store):
    assert looks(store)[KEYS[1]][1]
    other = helped.Other(Store(hidden=KEYS[1:2]), KEYS, care.LIFE)
    other.listening.join(60)
    other.end()
    assert [wrong for _, wrong in other.seen.values()] == [[]] * len(KEYS), "of a result that does not count"


def test_one_that_is_killed_leaves_its_runs_to_who_asks(store):
    with helped.helped(store, KEYS, care.LIFE) as looked:
        pass
    assert [looked(key) for key in KEYS] == [helped.UNSEEN] * len(KEYS)


@pytest.mark.parametrize("count", [len(KEYS) - 1, 0])
def test_few_runs_are_looked_through_alone(store, monkeypatch, count):
    monkeypatch.setattr(helped, "Other", None)
    with helped.helped(store, KEYS[:count], care.LIFE) as looked:
        assert looked(KEYS[0]) == helped.UNSEEN


def test_where_it_is_met_it_is_over(store):
    other = helped.Other(store, KEYS, "import time; time.sleep(600)")
    assert other.saw(KEYS[0]) is None
    assert other.process.poll() is None
    other.seen[KEYS[0]] = ("as it was", [])
    assert other.saw(KEYS[0]) == ("as it was", [])
    assert other.process.wait(60)
    other.end()


def records(store, looked, monkeypatch):
    """What a report reads, where `looked` tells of looks, and the runs that were looked through here."""
    here, damage = [], care.damage
    monkeypatch.setattr(care, "damage", lambda store, key: (here.append(key), damage(store, key))[1])
    monkeypatch.setattr(care, "helped", looked)
    found = list(care.records(store, KEYS))
    return found, here


def test_what_was_seen_elsewhere_is_not_looked_through_again_but_where_it_changed(store, monkeypatch):
    own, plain = looks(store), list(care.records(store, KEYS))
    known_whole = (store.root.parent / "checked.json").read_bytes()
    (store.root.parent / "checked.json").unlink()
    before = own | {KEYS[2]: ("another time", ["it was damaged then"])}
    found, here = records(store, lambda *_: nullcontext(lambda key: before[key]), monkeypatch)
    assert here == [KEYS[2]]
    assert found == plain
    assert [bool(wrong) for _, _, wrong in found] == [False, True, False, False]
    assert (store.root.parent / "checked.json").read_bytes() == known_whole


def test_a_report_of_many_has_all_of_them(store, monkeypatch):
    plain = list(care.records(store, KEYS))
    (store.root.parent / "checked.json").unlink()
    assert list(care.records(store, KEYS)) == plain
