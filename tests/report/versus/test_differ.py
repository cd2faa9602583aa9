import pandas as pd

from harness.report.versus import differ
from harness.spec import ASPECTS
from harness.store import spec_hash

BASE = {"kind": "Spec", "mix": [], "schedule": {"kind": "Step", "by": 0.1}, "epochs": 2}


def test_an_inner_specification_is_its_id():
    teacher = {"kind": "Spec", "epochs": 9}
    taught = BASE | {"teacher": [{"kind": "Distill", "spec": teacher, "temperature": 20}]}
    assert differ.changes(BASE, taught) == {
        "teacher": [None, "Distill"],
        "teacher.Distill.spec": [None, spec_hash(teacher)],
        "teacher.Distill.temperature": [None, 20],
    }
    assert differ.changes(BASE, dict(BASE)) == {}


def test_what_may_differ_is_of_the_slots_and_all_of_an_unknown_one():
    assert differ.allowed({"schedule.by": [1, 2]}) == ["rates"]
    assert set(differ.allowed({"epochs": [1, 2], "targets": [1, 2]})) == {"rates", "steps", "targets", "mixing"}
    assert differ.allowed({"slot of a later harness": [1, 2]}) == list(ASPECTS)
    assert differ.allowed({}) == []


def run(**seen):
    return {"seen": seen}


def test_an_aspect_that_one_seed_alone_moves_differs_and_one_not_told_is_not_known():
    both = [(0, run(order="a", rates="r", weights="w"), run(order="a", rates="r", weights="w"))]
    both += [(1, run(order="b", rates="r", weights="w"), run(order="c", rates="r"))]
    assert differ.showed(both, ["rates"]) == {"differs": ["order"], "unexplained": ["order"], "same": ["rates"]}
    assert differ.showed(both, ["order"])["unexplained"] == []
    assert differ.showed([(0, {"seen": None}, run(order="a"))], []) == {"differs": [], "unexplained": [], "same": []}


def test_where_runs_were_made_differs_by_side_and_not_by_run():
    made = [{"torch": "1", "commit": "a"}, {"torch": "2", "commit": "a"}, {"torch": "2", "commit": "a", "extra": "x"}]
    every = pd.DataFrame({"place": [0, 1, 1], "environment": made})
    assert differ.environments(every) == {"torch": [["1"], ["2"]]}
    assert differ.environments(every.assign(place=[0, 0, 1])) == {"torch": [["1", "2"], ["2"]]}
