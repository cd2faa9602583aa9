from harness.report import beside, frames
from tests.kit.findings import fill, made, stack
from tests.kit.records import rung

SCORES = [("baseline", (90.0, 91.0, 92.0)), ("warmup", (91.0, 92.1, 92.9)), ("zero_gamma", (90.0, 91.0, 92.0))]
SCORES += [("mixup", (91.0, 90.0, 92.3)), ("alone", (92.0, 93.1, 93.9))]


def told(store, others, plan=None):
    plan = plan or stack()
    every = frames.runs(plan, store)
    return beside.designs(plan, others, store, frames.rungs(plan, every), None)


def alone(**more):
    rungs = [rung("baseline"), rung("alone", [1, 0], (2,)) | {"title": "+ mixup"}]
    return made("add-one", rungs, ("warmup", "zero_gamma", "mixup")) | more


def test_each_design_tells_its_own_gains(store):
    fill(store, SCORES)
    found = told(store, [alone()])
    assert list(found) == ["ladder", "each trick alone"]
    assert {gain.name: round(gain.value, 6) for gain in found["each trick alone"]} == {"mixup": 2.0}
    assert {gain.name: round(gain.value, 6) for gain in found["ladder"]} == {"LR warmup": 1, "zero γ": -1, "mixup": 0.1}


def test_another_study_other_settings_or_other_runs_are_not_beside_it(store):
    fill(store, SCORES)
    strange = alone()
    strange["rungs"][0] = rung("another baseline")
    for other in (alone(study="t"), alone(settings=["epochs=3"]), alone(tuned={"trials": 8}), strange, stack()):
        assert told(store, [other]) == {}
    assert told(store, [alone(settings=["2 seeds"])]), "how many seeds makes no other run"
