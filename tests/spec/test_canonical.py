import json

import pytest

from harness import Problem
from harness.parts.optimizers import NAG
from harness.parts.schedules import Piecewise, Step
from harness.spec import flat, parse, plain
from harness.tricks.distillation import Distill, distillation
from harness.tricks.mixup import mixup
from harness.tricks.warmup import LinearWarmup, warmup
from tests.kit.specs import through_json


def test_canonical_form_by_hand():
    schedule = Piecewise(warmup=LinearWarmup(epochs=5), shape=Step(at=(0.5,), by=0.1))
    assert plain(schedule) == {
        "kind": "Piecewise",
        "warmup": {"kind": "LinearWarmup", "epochs": 5.0},
        "shape": {"kind": "Step", "at": [0.5], "by": 0.1},
    }
    assert plain(Piecewise()) == {"kind": "Piecewise", "shape": {"kind": "Step", "at": [0.25, 0.5, 0.75], "by": 0.1}}


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec,
        lambda spec: spec.but(optimizer=NAG(lr=0.3, per=None)),
        lambda spec: spec.but(schedule=Piecewise(shape=Step(at=()))),
        lambda spec: spec.but(augment=()),
        lambda spec: distillation(mixup(warmup(spec, epochs=1)), model=spec.model),
        lambda spec: spec.but(teacher=(Distill(spec=spec),)),
    ],
    ids=["baseline", "rate as it is", "no step", "empty slots", "stack", "default temperature"],
)
def test_json_brings_back_the_same(change, tiny):
    spec = change(tiny)
    assert through_json(spec) == spec
    assert through_json(spec).id == spec.id


def test_equal_values_have_equal_forms(tiny):
    """A default that is written as 20 and one that is given as 20.0 are one value."""
    for one, other in [(Distill(spec=tiny), Distill(spec=tiny, temperature=20)), (NAG(), NAG(lr=0.1, per=256))]:
        assert one == other
        assert json.dumps(plain(one)) == json.dumps(plain(other))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "Nothing"}, "unknown kind 'Nothing'; known: .*Shift"),
        ({"pixels": 1}, "unknown kind None"),
        ({"kind": "Shift", "version": 7}, "Shift is version 7 here, and this program knows version 1"),
        ({"kind": "Shift", "pixels": 0}, "Shift: pixels: .*greater than or equal to 1, not 0"),
        ({"kind": "Shift", "speed": 1}, "Shift: speed: Extra inputs are not permitted"),
        ({"kind": "Piecewise", "warmup": {"kind": "LinearWarmup"}}, "LinearWarmup: epochs: Field required"),
    ],
)
def test_what_cannot_be_parsed_is_said_in_a_line(value, message):
    with pytest.raises(Problem, match=message) as caught:
        parse(value)
    assert "\n" not in str(caught.value)


def test_flat_paths():
    form = {"kind": "A", "n": 1, "b": {"kind": "B", "m": [1, 2]}, "c": [{"kind": "C", "x": 0}, {"kind": "D"}]}
    assert flat(form) == {"n": 1, "b": "B", "b.m": [1, 2], "c": "C, D", "c.C.x": 0}
