import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import pydantic
import pytest

from harness import Problem
from harness.parts.augment import Flip, Shift
from harness.parts.data import ImageFolder, Places365
from harness.parts.data.holdout import Holdout
from harness.parts.decay import DecayAll
from harness.parts.optimizers import NAG, SGD, Adam, AdamW
from harness.parts.schedules import Piecewise, Step
from harness.spec import Part, assign, changes, flat, meant, parse, parts, plain, stack, upstream
from harness.study import setting
from harness.tricks.cosine import cosine
from harness.tricks.distillation import Distill, distillation
from harness.tricks.label_smoothing import Smoothing, label_smoothing
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.no_bias_decay import DecayWeights
from harness.tricks.warmup import LinearWarmup, warmup
from tests.kit.tiny import tiny_plan


@pytest.fixture
def taught(tiny):
    return distillation(tiny, model=tiny.model)


# --- values ---------------------------------------------------------------------------------------------------------


def test_a_part_is_a_frozen_value(tiny):
    assert Shift(pixels=2) == Shift(pixels=2) != Shift(pixels=1)
    assert len({Shift(pixels=2), Shift(pixels=2), Flip()}) == 2
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        tiny.epochs = 3
    with pytest.raises(pydantic.ValidationError, match="Extra inputs are not permitted"):
        Shift(pixel=2)


def test_a_change_is_validated_as_a_new_value_is(tiny):
    changed = tiny.but(epochs=9)
    assert (changed.epochs, tiny.epochs) == (9, 6)
    assert changed.id != tiny.id, "an id that was read before is not carried over"
    for wrong in ({"epochs": 0}, {"epochs": "many"}, {"epoch": 3}, {"model": Shift()}, {"augment": (DecayAll(),)}):
        with pytest.raises(pydantic.ValidationError):
            tiny.but(**wrong)


def test_a_slot_has_one_of_a_kind(tiny):
    spec = tiny.but(augment=(Shift(pixels=1), Flip()))
    assert spec.having("augment", Shift(pixels=3)).augment == (Shift(pixels=3), Flip())
    assert tiny.having("augment", Flip()).augment == (Shift(pixels=1), Flip())


def test_parts_that_do_not_agree_are_said_in_a_line(tiny, taught):
    tiny.agree()
    taught.agree()
    wrong = Piecewise(warmup=LinearWarmup(epochs=10))
    for spec in (tiny.but(schedule=wrong), tiny.but(teacher=(Distill(spec=tiny.but(schedule=wrong)),))):
        with pytest.raises(Problem, match="must be less than epochs=6"):
            spec.agree()


def test_parts_are_listed_in_order_without_those_inside_inner_specifications(tiny, taught):
    names = ["Digits", "ResNet", "Xavier", "DecayAll", "NAG", "Piecewise", "Step", "Shift", "FP32"]
    assert [type(part).__name__ for part in parts(tiny)] == names
    assert [type(part).__name__ for part in parts(taught)] == [*names, "Distill"]


def test_upstream_is_innermost_first_and_each_once(tiny):
    first = tiny.but(epochs=1)
    second = tiny.but(epochs=2, teacher=(Distill(spec=first),))
    both = tiny.but(teacher=(Distill(spec=second), Distill(spec=first, temperature=3)))
    assert upstream(tiny) == ()
    assert upstream(second) == (first,)
    assert upstream(both) == (first, second)


def test_stack_applies_in_order(tiny):
    assert stack(tiny, [lambda s: s.but(epochs=s.epochs + 1), lambda s: s.but(epochs=s.epochs * 2)]).epochs == 14


# --- the canonical form ---------------------------------------------------------------------------------------------


def through_json(spec):
    return parse(json.loads(json.dumps(plain(spec))))


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


def test_json_keeps_where_the_data_lies(tiny, tmp_path):
    spec = tiny.but(data=ImageFolder(root=tmp_path, size=32))
    assert through_json(spec) == spec


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


# --- what differs ---------------------------------------------------------------------------------------------------


def test_changes_by_hand(tiny):
    assert changes(tiny, tiny) == {}
    assert changes(tiny, tiny.but(epochs=7)) == {"epochs": (6, 7)}
    assert changes(tiny, warmup(tiny, epochs=2)) == {
        "schedule.warmup": (None, "LinearWarmup"),
        "schedule.warmup.epochs": (None, 2.0),
    }
    assert changes(cosine(tiny), tiny) == {
        "schedule.shape": ("Cosine", "Step"),
        "schedule.shape.at": (None, [0.25, 0.5, 0.75]),
        "schedule.shape.by": (None, 0.1),
    }
    assert changes(tiny, label_smoothing(tiny)) == {
        "targets": (None, "Smoothing"),
        "targets.Smoothing.smoothing": (None, 0.1),
    }


def test_an_inner_specification_differs_by_its_id(tiny, taught):
    other = distillation(tiny.but(epochs=7), model=tiny.model).but(epochs=6)
    assert changes(taught, other) == {
        "teacher.Distill.spec": (taught.teacher[0].spec.id, other.teacher[0].spec.id),
    }


def test_whatever_moves_the_id_is_a_change(tiny):
    two = tiny.but(augment=(Shift(pixels=1), Flip(), Shift(pixels=2)))
    for other in (
        two.but(augment=(Flip(), Shift(pixels=1), Shift(pixels=2))),
        two.but(augment=(Shift(pixels=3), Flip(), Shift(pixels=2))),
        two.but(augment=(Flip(), Shift(pixels=2))),
    ):
        assert other.id != two.id
        assert changes(two, other) != {}


# --- settings -------------------------------------------------------------------------------------------------------


def test_assign_sets_one_path_and_nothing_else(tiny, taught):
    assert assign(tiny, "epochs", 9) == tiny.but(epochs=9)
    assert assign(tiny, "optimizer.lr", 0.5).optimizer == tiny.optimizer.but(lr=0.5)
    assert assign(tiny, "schedule.shape.by", 0.5).schedule.shape == Step(by=0.5)
    assert assign(tiny, "schedule.shape.at", (0.5,)).schedule.shape == Step(at=(0.5,))
    assert assign(tiny, "targets", (Smoothing(),)).targets == (Smoothing(),)
    deep = assign(taught, "teacher.spec.epochs", 3)
    assert deep.but(teacher=()) == taught.but(teacher=())
    assert deep.teacher[0].spec == taught.teacher[0].spec.but(epochs=3)


def test_assign_finds_the_one_part_of_a_slot(tiny):
    spec = tiny.but(augment=(Flip(), Shift(pixels=1)))
    assert assign(spec, "augment.pixels", 2).augment == (Flip(), Shift(pixels=2))


@pytest.mark.parametrize(
    "path", ["schedule.warmup.epochs", "mix.alpha", "teacher.spec.epochs", "model.wdith", "epochs.x", "augment.x.y"]
)
def test_assign_gives_none_where_no_part_has_the_path(path, tiny):
    assert assign(tiny, path, 1) is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("scheduel.warmup", 1, "--set scheduel.warmup: no slot 'scheduel'; slots: data, model"),
        ("epochs", "many", "--set epochs: epochs: .*valid integer.*, not 'many'"),
        ("epochs", 0, "--set epochs: epochs: .*greater than or equal to 1, not 0"),
        ("optimizer.lr", -1, "--set optimizer.lr: lr: .*greater than 0, not -1"),
        ("model", 3, "--set model: model: must be one of Dense, ResNet, .*not 3"),
        ("optimizer", LinearWarmup(epochs=1), "must be one of Adam, .*NAG, SGD.*, not LinearWarmup"),
        ("schedule", "SGD", "--set schedule: 'SGD' is none of .*Piecewise"),
        ("mix", "none", "'none' is none of .*Mixup.*; null for none"),
        ("augment", ("Flip", "Mixup"), "'Mixup' is none of .*Flip"),
        ("schedule.warmup", "LinearWarmup", 'LinearWarmup needs epochs: write {"kind": "LinearWarmup", "epochs": …}'),
        ("init", None, "init: Tuple should have at least 1 item"),
        ("lr", 0.2, r"no slot 'lr'; slots: data, .*; did you mean optimizer\.lr\?"),
        ("augment.pixels", 5, "--set augment.pixels: .*Shift"),
    ],
)
def test_assign_says_what_is_wrong_in_a_line(path, value, message, tiny):
    with pytest.raises(Problem, match=message) as caught:
        assign(tiny.but(augment=(Shift(pixels=1), Shift(pixels=2))), path, value)
    assert "\n" not in str(caught.value)


def test_a_kind_is_a_part_that_keeps_what_both_have_by_the_same_default(tiny):
    """By hand: NAG and SGD share their rate and its batch, Adam's is another; Adam and AdamW share theirs."""
    spec = tiny.but(optimizer=NAG(lr=0.4, momentum=0.8, per=None))
    assert assign(spec, "optimizer", "SGD").optimizer == SGD(lr=0.4, momentum=0.8, per=None)
    assert assign(spec, "optimizer", "AdamW").optimizer == AdamW()
    assert AdamW().lr == 1e-3
    adam = spec.but(optimizer=Adam(lr=0.02))
    assert assign(adam, "optimizer", "AdamW").optimizer == AdamW(lr=0.02)
    decayed = spec.but(decay=DecayAll(weight=3e-3))
    assert assign(decayed, "decay", "DecayWeights").decay == DecayWeights(weight=3e-3)
    assert assign(tiny, "model", "ResNet").model == tiny.model, "what has no default too"
    held = Holdout(of=ImageFolder(root="here"))
    assert assign(tiny.but(data=held), "data.of", "Places365").data.of == Places365(root="here")


def test_a_kind_in_a_tuple_slot_is_a_tuple_of_one_and_null_empties_it(tiny):
    spec = tiny.but(augment=(Shift(pixels=2),))
    assert assign(spec, "mix", "Mixup").mix == assign(spec, "mix", Mixup()).mix == (Mixup(),)
    assert assign(spec, "augment", ("Flip", "Shift")).augment == (Flip(), Shift(pixels=2))
    assert assign(spec, "augment", None).augment == assign(spec, "augment", ()).augment == ()
    assert assign(warmup(spec, epochs=1), "schedule.warmup", None) == spec
    other = assign(tiny, "optimizer", "Adam")
    assert other.id != tiny.id
    assert changes(tiny, other)["optimizer"] == ("NAG", "Adam"), "a change like any other"


def test_a_path_that_is_elsewhere_is_named(tiny, taught):
    held = tiny.but(data=Holdout(of=ImageFolder(root="here")))
    assert assign(held, "data.root", "there") is None
    assert meant([tiny, held], "data.root") == "; did you mean data.of.root?"
    assert meant([taught], "optimizer.width") == "; did you mean model.width?", "not the teacher's alone"
    assert meant([taught], "teacher.epochs") == "; did you mean teacher.spec.epochs?"
    assert meant([tiny], "optimizer.pixel") == ""


ODD = (
    "",
    "null",
    "NaN",
    "1e999",
    "9" * 5000,
    "\0",
    "\udcff",
    "{",
    "[]",
    "{}",
    '"x"',
    "true",
    "[null]",
    "Part",
    '["A"]',
)
NEST = ("[" * 400 + "]" * 400, "[" * 100_000, '{"kind":' * 300, '{"kind": "Shift", "pixels": ' * 300 + "1" + "}" * 300)
FIELDS = ("lr", "per", "version", "self", "", "blocks", "of", "root", "spec", "data", "options", "model_config")
PATHS = (
    *("data", "data.root", "model", "model.blocks", "init", "optimizer", "optimizer.lr", "schedule", "schedule.warmup"),
    *(
        "epochs",
        "augment",
        "augment.pixels",
        "mix",
        "teacher",
        "teacher.spec",
        "stop",
        "__class__",
        "é",
        "a..b",
        "x\ny",
    ),
)


def odd_texts():
    """Some seven hundred, the same each time."""
    draw = random.Random(0)
    kinds = [cls.__name__ for cls in subclasses(Part)]
    for path in PATHS:
        yield from (f"{path}={value}" for value in (*ODD, *draw.sample(kinds, 5)))
        yield from (f"{path}={value}" for value in draw.sample(NEST, 1))
        for _ in range(15):
            values = [1, -1, None, "x", [], [1], True, 1e308, 10**30, "\ud800", {"kind": draw.choice(kinds)}]
            fields = {draw.choice(FIELDS): draw.choice(values) for _ in range(3)}
            yield f"{path}={json.dumps({'kind': draw.choice([*kinds, None, 3, []]), **fields})}"


def subclasses(cls):
    return [deep for sub in cls.__subclasses__() for deep in (sub, *subclasses(sub))]


def test_no_text_is_a_traceback(tiny, taught):
    made = refused = 0
    for text in odd_texts():
        for spec in (tiny, taught):
            try:
                made += assign(spec, *setting(text)) is not None
            except Problem:
                refused += 1
    assert min(made, refused) > 20


def test_tricks_take_their_strength_by_partial(tiny):
    assert partial(mixup, alpha=0.4)(tiny).mix[0].alpha == 0.4


def test_ids_do_not_depend_on_the_hash_seed():
    code = "from tests.kit.tiny import tiny_plan; print(*(spec.id for spec, _ in tiny_plan().runs()))"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [spec.id for spec, _ in tiny_plan().runs()]
