import json
import random

import pytest

from harness import Problem
from harness.parts.augment import Flip, Shift
from harness.parts.data import ImageFolder, Places365
from harness.parts.data.holdout import Holdout
from harness.parts.decay import DecayAll
from harness.parts.optimizers import NAG, SGD, Adam, AdamW
from harness.parts.schedules import Step
from harness.spec import Part, assign, changes, meant
from harness.study import setting
from harness.tricks.label_smoothing import Smoothing
from harness.tricks.mixup import Mixup
from harness.tricks.no_bias_decay import DecayWeights
from harness.tricks.warmup import LinearWarmup, warmup


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
        ("model", 3, "--set model: model: must be one of .*Dense, .*ResNet, .*not 3"),
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
