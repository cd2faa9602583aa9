"""Runs that another process looks through: what it saw is what one sees, and where it saw nothing one looks."""

import os
import sys
from contextlib import nullcontext

import pytest

from harness.store import Store, care, helped
from tests.faults.shapes import FULL, NAMES, SEEDS, filled
from tests.kit.tiny import finish, known

KEYS = [(known(name), seed) for name in NAMES for seed in SEEDS]
NOBODY = known("none"), 0
ASLEEP = "import time; time.sleep(600)"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Four runs, one of them damaged, of which one process looks through all."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(helped, "MANY", len(KEYS))
    monkeypatch.setattr(helped, "SHARE", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    store = filled(Store())
    damage(store, KEYS[1])
    return store


def damage(store, key):
    path = store.folder(*key) / "weights.pt"
    path.write_bytes(path.read_bytes()[:-1])


def looks(store):
    return {key: (care.as_it_is(str(store.folder(*key))), care.damage(store, key)[1]) for key in KEYS}


@pytest.fixture
def here(monkeypatch):
    """The runs that this process looks through."""
    seen, right = [], care.damage
    monkeypatch.setattr(care, "damage", lambda store, key: (seen.append(key), right(store, key))[1])
    return seen


def found(store, keys=KEYS):
    """What a report reads, as if for the first time."""
    (store.root.parent / "checked.json").unlink(missing_ok=True)
    return list(care.records(store, keys))


def test_another_process_sees_what_this_one_does(store):
    own = looks(store)
    assert [bool(wrong) for _, wrong in own.values()] == [False, True, False, False]
    other = helped.Other(store, [*KEYS, NOBODY], care.LIFE)
    other.listening.join(60)
    assert other.seen == own | {NOBODY: helped.UNSEEN}
    assert list(other.seen) == [NOBODY, *KEYS[::-1]], "the last first"
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


def test_it_finds_the_modules_of_this_process_and_none_that_lie_about(store, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    other = helped.Other(store, KEYS, care.LIFE)
    other.listening.join(60)
    other.end()
    assert other.seen == looks(store)


@pytest.mark.parametrize("cores", [2, 3, 99])
def test_each_core_but_one_has_some_of_the_runs(store, monkeypatch, cores):
    had = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    monkeypatch.setattr(helped, "Other", lambda store, keys, life: (had.append(list(keys)), Absent())[1])
    with helped.helped(store, KEYS, care.LIFE):
        pass
    assert len(had) == min(cores - 1, helped.MOST)
    assert sorted(key for keys in had for key in keys) == sorted(KEYS)


class Absent:
    def end(self):
        return None


@pytest.mark.parametrize("count", [len(KEYS) - 1, 0])
def test_few_runs_are_looked_through_alone(store, monkeypatch, count):
    monkeypatch.setattr(helped, "Other", None)
    with helped.helped(store, KEYS[:count], care.LIFE) as looked:
        assert looked(KEYS[0]) == helped.UNSEEN


def test_where_it_is_met_it_is_over(store):
    other = helped.Other(store, KEYS, ASLEEP)
    assert other.saw(KEYS[0]) is None
    assert other.process.poll() is None
    other.seen[KEYS[0]] = ("as it was", [])
    assert other.saw(KEYS[0]) == ("as it was", [])
    assert other.process.wait(60)
    other.end()


def test_what_it_does_not_come_to_is_looked_through_here(store, here, monkeypatch):
    plain = found(store)
    here.clear()
    monkeypatch.setattr(care, "LIFE", ASLEEP)
    assert found(store) == plain
    assert here == KEYS


def test_one_that_cannot_be_begun_is_done_without(store, here, monkeypatch):
    plain = found(store)
    monkeypatch.setattr(sys, "executable", "/nowhere")
    here.clear()
    assert found(store) == plain
    assert here == KEYS


def test_what_it_saw_is_not_looked_through_here(store, here, monkeypatch):
    plain, right = found(store), helped.Other.saw
    whole = (store.root.parent / "checked.json").read_bytes()
    here.clear()
    monkeypatch.setattr(helped.Other, "saw", lambda other, key: (other.listening.join(60), right(other, key))[1])
    assert found(store) == plain
    assert here == []
    assert (store.root.parent / "checked.json").read_bytes() == whole
    assert [bool(wrong) for _, _, wrong in plain] == [False, True, False, False]


def test_what_changed_since_it_was_seen_is(store, here, monkeypatch):
    own, plain = looks(store), found(store)
    here.clear()
    before = own | {KEYS[2]: ("another time", ["it was damaged then"])}
    monkeypatch.setattr(care, "helped", lambda *_: nullcontext(lambda key: before[key]))
    assert found(store) == plain
    assert here == [KEYS[2]]


@pytest.mark.parametrize("seen", [False, True])
def test_a_run_that_changes_before_its_turn_is_looked_through(store, monkeypatch, seen):
    """Whether it was found whole by a report of before, or by another process just now."""
    own = looks(store)
    found(store)
    if seen:
        (store.root.parent / "checked.json").unlink()
        monkeypatch.setattr(care, "helped", lambda *_: nullcontext(lambda key: own.get(key, helped.UNSEEN)))
    told = care.records(store, [*KEYS, NOBODY])
    next(told)
    damage(store, KEYS[3])
    finish(store, "none", 0, FULL)
    *_, (_, _, wrong), (_, record, whole) = told
    assert "weights.pt: is damaged" in wrong
    assert record["status"] == FULL["status"]
    assert not whole
