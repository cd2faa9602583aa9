import json
import os
import socket
import time
from functools import partial

import pytest

from harness.paths import runs
from harness.report import asked, plan_path, remember
from harness.search.trial import named_by
from harness.spec import resolved, shape, stack, upstream
from harness.stats.designs import Options
from harness.store.garbage import inner, leftovers, remembered, unnamed
from harness.study import describe, plan
from harness.tricks.distillation import distillation
from tests.kit import backbones
from tests.kit.stores import KEY, add
from tests.kit.tiny import BASELINE, STUDY, TEACHER


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
    due = sorted(key for key in ((odd.id, 0), KEY) if key[0] not in planned(made))
    assert unnamed(store, remembered(runs()), set()) == due


def test_backbones_of_every_seed_are_named_by_what_stands_on_them(store):
    made, odd = plan(backbones.STUDY), BASELINE.but(epochs=77)
    for spec, seed in [*made.runs(), (odd, 2)]:
        if (spec.id, seed) not in store:
            add(store, spec, seed)
    remember(describe(made, store))
    assert set(asked(describe(made, store))) == {(spec.id, seed) for spec, seed in made.runs()}
    assert unnamed(store, remembered(runs()), set()) == [(odd.id, 2)]
    shapes = {shape(rung.spec) for rung in made.rungs}
    assert unnamed(store, set(), shapes) == [(odd.id, 2)], "named by the study alone"


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


def test_what_a_stopped_import_left_is_left_over(store):
    (store.root / ".incoming.999999999").mkdir()
    (store.root / f".incoming.{os.getpid()}").mkdir()  # of an import that runs
    (store.root / f".incoming.{socket.gethostname()}.{os.getpid()}").mkdir()
    (store.folder(*KEY) / "checkpoint-3.pt").touch()
    assert [path.name for path in leftovers(store)] == [".incoming.999999999", "checkpoint-3.pt"]


def test_what_another_machine_pulls_is_no_garbage_until_it_is_old(store):
    theirs = store.root / ".incoming.node7.lab.4194305"
    (theirs / "x").mkdir(parents=True)
    assert leftovers(store) == []
    for path in (theirs / "x", theirs):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    assert leftovers(store) == [theirs]
