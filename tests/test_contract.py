"""What every trick that is shipped keeps to; a user's own is judged alike by `harness.check`. A new file in the folder
of tricks is tested with no change here, once README's tree names it.

python -m pytest tests/test_contract.py -k mixup
"""

import ast
import contextlib
import importlib
import inspect
import json
import math
import pkgutil
import textwrap
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

import harness.parts
from harness import Problem, contract
from harness.parts.augment import Shift
from harness.parts.data import Digits, Images, Photos
from harness.parts.data.scenes import Scenes
from harness.parts.erasing import Erase
from harness.parts.models import Airbench
from harness.parts.models.dense import Dense
from harness.parts.operations import Operations
from harness.parts.optimizers import NAG, Adam
from harness.parts.schedules import Shape, Warmup
from harness.spec import (
    Ascent,
    Augment,
    Decay,
    Init,
    Mix,
    Model,
    Optimizer,
    Part,
    Schedule,
    Targets,
    Teacher,
    changes,
    declared,
    declares,
)
from harness.tricks.label_smoothing import smooth
from tests.kit import shipped
from tests.kit.coloured import Coloured
from tests.mutants.breaking import traced

TRICKS = {name: getattr(importlib.import_module(f"harness.tricks.{name}"), name) for name in sorted(shipped.TRICKS)}
every_trick = pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)


@pytest.fixture(scope="session")
def tiny(tiny):
    """Without any trick: not even the linear scaling that the study's baseline has. With Adam, which `adamp` needs.

    Its steps are of 99 images: nearly all of this file's time is theirs.
    """
    return tiny.but(data=Digits(limit=198, limit_test=100), batch_size=99, optimizer=Adam())


def fitting(trick, tiny):
    """With digits in colour for a trick whose part refuses grey ones; with a wider network where it would be narrow.

    With airbench's for one that needs its first layer, and with the stem of large images for one that is about it. With
    two linear layers for one that compiles: the other takes a minute.

    torch 2.14 corrupts its heap on CPUs in the backward of a 1 x 1 that strides on 2 to 7 channels, channels_last.
    """
    if getattr(trick(tiny).model, "inverted", None) or getattr(trick(tiny).model, "big_little", None):
        return tiny.but(model=tiny.model.but(width=8))
    if trick(tiny).compiler:
        return tiny.but(model=Dense(hidden=(8,), size=8))
    models = tiny.model.but(small=False), Airbench(widths=(8, 8))
    for spec in (tiny, tiny.but(data=Coloured(), batch_size=24), *(tiny.but(model=model) for model in models)):
        with contextlib.suppress(Problem):
            trick(spec).agree()
            return spec
    raise AssertionError(f"nothing here fits {trick.__name__}")


def quick(spec):
    """With teachers no deeper than the student: one of 152 layers takes minutes to audit.

    And in small batches where gradients are clipped: they are longer there, and some are.
    """
    spec = spec.but(batch_size=24) if spec.clip else spec
    return spec.but(teacher=tuple(part.but(spec=part.spec.but(model=spec.model)) for part in spec.teacher))


def test_what_is_shipped_is_there():
    assert len(shipped.TRICKS) > 10
    assert all(map(callable, TRICKS.values()))


@every_trick
def test_has_a_title(trick):
    title, colon, rest = (inspect.getdoc(trick) or "").partition(":")
    assert colon, "the docstring reads `title: what it does`"
    assert rest.strip()
    assert 0 < len(title) <= 40
    assert "\n" not in title


@every_trick
def test_changes_what_it_declares_and_nothing_else(trick, tiny):
    assert declared(trick)
    for path in changes(tiny, trick(tiny)):
        assert any(path == allowed or path.startswith(f"{allowed}.") for allowed in declared(trick)), path


@every_trick
@pytest.mark.parametrize("rule", contract.EACH, ids=lambda rule: rule.__name__)
def test_keeps_to(rule, trick, tiny):
    assert not list(rule(trick, tiny))


@pytest.fixture(scope="module")
def told_of(tiny):
    """What is amiss with a pair of tricks, asked once."""
    return cache(lambda pair: list(contract.commute(*(TRICKS[name] for name in sorted(pair)), tiny)))  # type: ignore[call-arg]


@pytest.mark.parametrize("one", TRICKS)
def test_commutes(one, told_of):
    """With each other trick."""
    assert not {other: amiss for other in TRICKS if other != one and (amiss := told_of(frozenset((one, other))))}


@pytest.mark.parametrize("slot", sorted(contract.ORDERED))
def test_named_as_ordered_is_ordered(slot, tiny):
    ordered = [trick for trick in TRICKS.values() if slot in contract.slots(trick, tiny)]
    others = [trick for trick in TRICKS.values() if slot not in contract.slots(trick, tiny)]
    assert any(one(trick(tiny)).id != trick(one(tiny)).id for one in ordered for trick in others)


@pytest.mark.parametrize("slot", sorted(contract.SEQUENCES))
def test_two_in_a_sequence_come_in_the_order_of_their_tricks(slot, tiny):
    pairs = [pair for pair in combinations(TRICKS.values(), 2) if all(slot in contract.slots(t, tiny) for t in pair)]
    assert pairs
    for one, other in pairs:
        there, back = (getattr(spec, slot) for spec in (one(other(tiny)), other(one(tiny))))
        assert there != back, "else it need not be said"


@every_trick
def test_trains_and_proves_itself_active(trick, tiny, live):
    trained, trace = live(quick(trick(fitting(trick, tiny))))
    assert len(trace.lr) >= 2
    assert all(math.isfinite(epoch["loss"]) for epoch in trained.result["epochs"])
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert trained.result["status"] == "finished"
    assert json.loads(json.dumps(trained.result))["evidence"] == trained.result["evidence"]


@every_trick
def test_doing_nothing_is_caught(trick, tiny, live):
    tiny = fitting(trick, tiny)
    asleep = contract.slots(trick, tiny) == {"augment"}  # what is not itself is not to be remembered
    train = traced if asleep else live
    assert not list(contract.noticed(quick(trick(tiny)), tiny, lambda spec: train(spec)[0]))


# --- what breaks the contract ---------------------------------------------------------------------------------------


class Own(Shift):
    """A part that says what it likes of itself."""

    def proof(self, spec, trace):
        return ()


def in_place(spec):
    spec.__dict__["epochs"] = spec.epochs + 1
    return spec.but(batch_size=100)


def twice_as_long(spec):
    return spec.but(epochs=2 * spec.epochs)


def scaled(spec):
    """Reads the batch, which another changes."""
    return spec.but(optimizer=spec.optimizer.but(lr=0.001 * spec.batch_size))


@declares("optimizer", "batch_size")
def scaled_and_said(spec):
    return scaled(spec)


@declares("batch_size")
def smaller(spec):
    return spec.but(batch_size=100)


class Forgetful(Shift):
    """Says less in JSON than it is."""

    def __iter__(self):
        return iter(())


def forgetful(spec):
    return spec.having("augment", Forgetful(pixels=3))


@pytest.mark.parametrize(
    ("rule", "trick", "said"),
    [
        (contract.unchanged, in_place, "changes the specification that it is given"),
        (contract.unchanged, lambda spec: spec, "changes nothing: the id is that of the run without it"),
        (contract.unchanged, smaller, None),
        (contract.idempotent, twice_as_long, "done twice it is not what it is done once: epochs moves again"),
        (contract.idempotent, smaller, None),
        (contract.round_trip, forgetful, "from JSON"),
        (contract.round_trip, smaller, None),
    ],
)
def test_what_a_trick_does_not_keep_to_is_said(rule, trick, said, tiny):
    told = list(rule(trick, tiny.but()))
    assert len(told) == (said is not None)
    assert not said or said in told[0]


@pytest.mark.parametrize(
    ("one", "other", "said", "amiss"),
    [
        (scaled, smaller, True, "do not commute: in another order optimizer is another"),
        (scaled_and_said, smaller, True, None),
        (scaled_and_said, smaller, False, "do not commute: in another order optimizer is another"),
        (scaled, TRICKS["cosine"], True, None),
        (lambda spec: spec.but(epochs=3), lambda spec: spec.but(epochs=4), True, None),
        (
            lambda spec: spec.but(epochs=3),
            lambda spec: spec.but(epochs=4),
            False,
            "do not commute: in another order epo",
        ),
    ],
)
def test_tricks_that_do_not_commute_are_said(one, other, said, amiss, tiny):
    for pair in ((one, other), (other, one)):
        told = list(contract.commute(*pair, tiny, said))
        assert len(told) == (amiss is not None)
        assert not amiss or told[0].startswith(amiss)


def test_what_does_nothing_and_hides_it_is_said(tiny, live):
    """Of an augmentation whose reference does nothing either, and of an optimizer that is not told from another."""

    class Idle(Augment):
        def __call__(self, x, rng):
            return x

        def reference(self, x, rng):
            return x

    class Same(NAG):
        """Called otherwise, and no more."""

    for above in (tiny.having("augment", Idle()), tiny.but(optimizer=Same(lr=tiny.optimizer.lr))):
        base = tiny if above.optimizer == tiny.optimizer else tiny.but(optimizer=NAG(lr=tiny.optimizer.lr))
        told = list(contract.noticed(above, base, lambda spec: traced(spec)[0]))
        assert len(told) == 1
        assert told[0].startswith("did nothing, and no check of its run would show it")
    assert Idle.__call__(None, 3, None) == 3, "the part is as it was"
    assert Idle.__call__.__qualname__.endswith("Idle.__call__")


# --- second opinions ------------------------------------------------------------------------------------------------

TREE = Path(__file__).parent.parent
SLOTS = (Init, Decay, Optimizer, Schedule, Warmup, Shape, Augment, Targets, Mix, Teacher, Ascent)
TWICE = (Erase, Operations)
SHARED = {  # what a reference has in common with the code that it checks, and why
    ("ZeroGamma", "residual_blocks"): "which modules of a network are its blocks; their norms it finds by names",
    ("Piecewise", "factor"): "of a user's warmup or shape that has no reference",
    ("Photos", "box"): "of a user's crop that has no window",
    ("ImgAug", "build"): "the policy itself, which its prints hold",
    ("ImgAug", "installed"): "what is said where imgaug is not there",
    ("ImgAug", "undisturbed"): "imgaug's shared random numbers, put away",
    **{("ImgAug", name): "imgaug itself, as it runs here" for name in ("_imgaug", "_blas")},
    **{("ImgAug", name): "an operation of imgaug's, mended" for name in ("_superpixels", "_piecewise_affine")},
    ("Photos", "opened"): "what it says of a file that is no image",
    ("Photos", "rgb"): "which mode Pillow converts from",
    ("Photos", "_undecoded"): "what rgb says of a file that it cannot read",
    ("Photos", "brief"): "how rgb says it",
    **{
        (kind, name): why
        for kind in ("Boxes", "Masks")
        for name, why in {
            "opened": "what it says of a file that is no image",
            "rgb": "which mode Pillow converts from",
            "_undecoded": "what rgb says of a file that it cannot read",
            "brief": "how rgb says it",
            "shared": "which part is the crop",
        }.items()
    },
    ("Masks", "_bits"): "which of its modes Pillow scales",
}


def described():
    """The parts that are shipped, of slots whose parts have a reference; networks that have one; and images."""
    for module in pkgutil.walk_packages(harness.parts.__path__, "harness.parts."):
        importlib.import_module(module.name)
    ours = ("harness.parts.", *(f"harness.tricks.{name}" for name in shipped.TRICKS))
    found, pending = [], [*SLOTS, Model, Images]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.__module__.startswith(ours) and not inspect.isabstract(kind):
            found.append(kind)
    return sorted({kind for kind in found if hasattr(kind, "reference") or issubclass(kind, SLOTS)}, key=str)


every_described = pytest.mark.parametrize("kind", described(), ids=lambda kind: kind.__name__)


def owner(kind, name):
    """The place, among the classes that `kind` is one of, of the one that says `name`."""
    return next((place for place, base in enumerate(kind.__mro__) if name in vars(base)), len(kind.__mro__))


def asked(kind):
    """The methods of a part that the loop calls: those that are abstract above it, and no second writing."""
    second = {"reference", "again"}
    return {name for base in kind.__mro__ for name in getattr(base, "__abstractmethods__", ())} - second


def is_ours(thing):
    """Whether it is a function that is written in this program: no library's, and none that a decorator made."""
    return inspect.isfunction(thing) and Path(thing.__code__.co_filename).is_relative_to(TREE)


def named(function, kind):
    """The functions of the harness that one names, as its own methods or globals; and attributes by their names."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    own = {*function.__code__.co_varnames, *function.__code__.co_cellvars}
    made = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    functions, attributes = set(), set()
    for node in ast.walk(tree):
        thing = None
        if isinstance(node, ast.Name) and node.id not in own:
            thing = function.__globals__.get(node.id)
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node.value) == "self":
                thing = getattr(kind, node.attr, None)
            else:
                attributes.add(node.attr)
        if inspect.isclass(thing) and id(node) in made and not issubclass(thing, Part):
            functions |= {(method, thing) for method in vars(thing).values() if is_ours(method)}
        thing = inspect.unwrap(thing) if callable(thing) else None
        if is_ours(thing):
            functions.add((thing, kind))
    return functions, attributes


def reached(kind, names):
    """The functions of the harness that these methods of `kind` come to; and the attributes named on the way."""
    met, attributes = set(), set()
    pending = [(inspect.unwrap(getattr(kind, name)), kind) for name in names if callable(getattr(kind, name))]
    begun = {function for function, _ in pending}
    while pending:
        function, of = pending.pop()
        if function in met:
            continue
        met.add(function)
        more, said = named(function, of)
        pending += more
        attributes |= said
    return met - begun if names == {"reference"} else met, attributes


@every_described
def test_has_a_second_opinion(kind):
    """And where it does a thing otherwise than its parent, it has another opinion too."""
    assert "reference" not in kind.__abstractmethods__
    if issubclass(kind, TWICE):  # whose reference goes by a second writing of each draw
        assert owner(kind, "again") <= min(owner(kind, "hole"), owner(kind, "drawn"))
        return
    checked = asked(kind) if not issubclass(kind, (Optimizer, Photos, Scenes)) else set()
    assert all(owner(kind, "reference") <= owner(kind, name) for name in checked - {"identity"})


@every_described
def test_a_reference_shares_no_code_with_what_it_checks(kind):
    ours, attributes = reached(kind, {"reference"})
    theirs, _ = reached(kind, asked(kind))
    shared = {function.__name__ for function in ours & theirs} | (attributes & (asked(kind) | {"box", "on_pixels"}))
    allowed = {name for base in kind.__mro__ for of, name in SHARED if of == base.__name__}
    assert shared <= allowed


def test_code_that_is_shared_is_found():
    class Lazy(Targets):
        def __call__(self, y):
            return smooth(y, 0.1)

        def reference(self, y):
            return self.again(y)

        def again(self, y):
            return smooth(y, 0.1)

    ours, _ = reached(Lazy, {"reference"})
    theirs, _ = reached(Lazy, asked(Lazy))
    assert {function.__name__ for function in ours & theirs} == {"smooth"}


def test_what_is_described_is_there():
    names = {kind.__name__ for kind in described()}
    assert names >= {"Xavier", "NAG", "AdamP", "Piecewise", "Step", "Cosine", "LinearWarmup", "Shift", "Smoothing"}
    assert names >= {"Mixup", "Distill", "SharpnessAware", "DecayWeights", "ZeroGamma", "ResNet", "Dense", "Photos"}
    assert {name for name, _ in SHARED} <= names
