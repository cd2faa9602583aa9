"""What is named, and what nothing names: by plans, designs, settings, searches, and by runs that build on others."""

import json
import os
from functools import partial

import pytest
import torch

from harness.paths import runs
from harness.report import plan_path, remember
from harness.search.trial import named_by
from harness.spec import plain, resolved, shape, stack, upstream
from harness.stats.designs import Options
from harness.store import Store
from harness.store import __main__ as commands
from harness.store.aside import bring_back, everything, free, today
from harness.store.garbage import inner, leftovers, remembered, unnamed
from harness.study import describe, plan
from harness.tricks.distillation import distillation
from tests.kit.tiny import BASELINE, RESULT, STUDY, TEACHER

KEY = BASELINE.id, 0


@pytest.fixture
def store(tmp_path, monkeypatch):
    """One finished run, made by hand."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    store = Store()
    add(store, BASELINE, 0)
    return store


def add(store, spec, seed):
    with store.claim(spec.id, seed) as claim:
        claim.begin({"spec": plain(spec), "resolved": resolved(spec)})
        claim.finish(RESULT, {"w": torch.zeros(3)})


def test_what_no_study_names_whatever_its_data_holds(store):
    other = BASELINE.but(epochs=3)
    assert unnamed(store, set(), {shape(BASELINE)}) == []
    assert unnamed(store, set(), {shape(other)}) == [KEY]
    digest = resolved(BASELINE)["data"]["digest"]
    assert digest not in shape(BASELINE)
    assert shape(BASELINE) == shape(resolved(BASELINE))
    with store.claim(*KEY):
        assert unnamed(store, set(), {shape(other)}) == [], "someone is working on it"
    (store.folder(*KEY) / "spec.json").write_text("{")
    assert unnamed(store, set(), {shape(other)}) == [], "damaged is not unwanted"


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"seeds": 5},
        {"settings": [("optimizer.lr", 0.3)]},
        {"settings": [("epochs", 3), ("mix.alpha", 0.4)]},
        {"design": "leave-one-out"},
        {"design": "add-one"},
        {"design": "shapley", "options": Options(pairs=2)},
        {"design": "factorial"},
        {"same_epochs": True},
    ],
    ids=str,
)
def test_every_run_of_a_plan_that_was_run_is_named(store, how):
    made = plan(STUDY, **how)
    for spec, seed in made.runs():
        if (spec.id, seed) not in store:
            add(store, spec, seed)
    odd = BASELINE.but(epochs=77)
    add(store, odd, 0)
    remember(describe(made, store))
    assert unnamed(store, remembered(runs()), set()) == [k for k in ((odd.id, 0), KEY) if k[0] not in planned(made)]


def planned(made):
    return {spec.id for spec, _ in made.runs()}


@pytest.mark.parametrize("harm", [lambda text: text[: len(text) // 2], lambda text: text.replace('"label"', '"lbl"')])
def test_a_plan_that_is_damaged_or_of_another_version_names_what_it_named(store, harm):
    remember(describe(plan(STUDY), store))
    path = plan_path("tiny")
    path.write_text(harm(path.read_text()))
    assert BASELINE.id in remembered(runs())


def test_untuned_runs_are_named_by_the_tuned_plan(store):
    made = describe(plan(STUDY), store)
    remember({**made, "label": "tiny@tuned-2-random", "rungs": [], "upstream": [], "tuned": {"untuned": made}})
    assert BASELINE.id in remembered(runs())


def test_trials_are_named_by_their_search_and_teachers_by_their_students(store):
    student = stack(BASELINE, (partial(distillation, model=TEACHER),))
    (teacher,) = upstream(student)
    for spec in (student, teacher):
        add(store, spec, 0)
    assert list(inner(resolved(student))) == [teacher.id]
    assert len(unnamed(store, set(), set())) == 3
    named_by("tiny@search-baseline", student)
    assert unnamed(store, remembered(runs()), set()) == [KEY]
    (runs() / "searches" / "tiny@search-baseline.specs").unlink()
    assert len(unnamed(store, remembered(runs()), set())) == 3
    (runs() / "searches" / "old.log").write_text(json.dumps({"user_attr": {"spec": student.id}}))  # Optuna's journal
    assert unnamed(store, remembered(runs()), set()) == [KEY]


def test_set_aside_and_brought_back_is_the_same_to_the_byte(store):
    before = {path.name: path.read_bytes() for path in store.folder(*KEY).iterdir()}
    store.set_aside(*KEY)
    assert list(store) == []
    assert list(store.root.iterdir()) == []
    (one,) = everything(store)
    assert one.key == KEY
    assert bring_back(store, one)
    assert {path.name: path.read_bytes() for path in store.folder(*KEY).iterdir()} == before
    assert list(everything(store)) == []
    assert not (store.root.parent / "aside").exists()


def test_nothing_is_brought_back_over_what_is_there(store):
    store.set_aside(*KEY)
    add(store, BASELINE, 0)
    there = store.read(*KEY)
    (one,) = everything(store)
    assert not bring_back(store, one)
    assert store.read(*KEY) == there
    store.set_aside(*KEY)
    one, two = everything(store)
    assert (one.path.name, two.path.name) == ("0", "0.2")
    free(one, store)
    assert [each.path for each in everything(store)] == [two.path]


def test_what_was_set_aside_before_there_were_days_has_the_day_it_was_moved(store):
    old = store.root.parent / "aside" / BASELINE.id / "0.1"
    old.parent.mkdir(parents=True)
    store.folder(*KEY).rename(old)
    (store.root.parent / "aside" / "mlflow.db").touch()
    run, file = sorted(everything(store), key=lambda one: one.key is None)
    assert (run.key, file.key) == (KEY, None)
    assert bring_back(store, run)
    assert not bring_back(store, file)
    free(file, store)
    assert KEY in store


def test_what_a_stopped_import_left_is_left_over(store):
    (store.root / ".incoming.999999999").mkdir()
    (store.root / f".incoming.{os.getpid()}").mkdir()  # of an import that runs
    (store.folder(*KEY) / "checkpoint-3.pt").touch()
    assert [path.name for path in leftovers(store)] == [".incoming.999999999", "checkpoint-3.pt"]


def test_of_many_records_of_one_run_the_newest_comes_back(store):
    for number in range(11):
        if number:
            add(store, BASELINE, 0)
        last = store.read(*KEY)["record"]
        store.set_aside(*KEY)
    names = [one.path.name for one in everything(store)]
    assert names == ["0", *(f"0.{n}" for n in range(2, 12))]
    assert bring_back(store, [*everything(store)][-1])
    assert store.read(*KEY)["record"] == last


def test_a_day_on_which_no_run_was_set_aside_has_no_way_back(store, capsys):
    day = store.root.parent / "aside" / today()
    day.mkdir(parents=True)
    (day / "mlflow.db").write_bytes(b"x" * 1_000_000)
    commands._show_aside(list(everything(store)))
    told = capsys.readouterr().out
    assert f"aside since {today()}: 0 runs, mlflow.db, 1.0 MB\n" in told
    assert "restore" not in told
    store.set_aside(*KEY)
    commands._show_aside(list(everything(store)))
    assert f"1 runs, mlflow.db, 1.0 MB; python -m harness.store restore {today()}" in capsys.readouterr().out
