"""What every trick keeps to. Tricks are found in their folder: a new file there is tested with no change here.

python -m pytest tests/test_contract.py -k mixup
"""

import ast
import importlib
import inspect
import json
import math
import pkgutil
import textwrap
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pytest

import harness.parts
import harness.tricks
from harness import Problem
from harness import train as loop
from harness.evidence import prove
from harness.parts.data import Images, Photos
from harness.parts.data.scenes import Scenes
from harness.parts.optimizers import Adam
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
    moved,
    parse,
    plain,
)
from harness.tricks.label_smoothing import smooth
from tests.kit import shipped
from tests.kit.coloured import Coloured
from tests.mutants.breaking import CPU, stand_in


def files():
    return [module.name for module in pkgutil.iter_modules(harness.tricks.__path__) if module.name[0] != "_"]


def found():
    """Each module of `harness.tricks` by name, and in it the function that is named as the module."""
    made = {}
    for name in files():
        with suppress(Exception):  # `test_every_file_is_a_trick` says which, and the others are tested all the same
            made[name] = getattr(importlib.import_module(f"harness.tricks.{name}"), name)
    return made


TRICKS = found()
ORDERED = {"teacher"}  # a slot whose part is made from the specification that it meets
every_trick = pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)


@pytest.fixture(scope="session")
def tiny(tiny):
    """Without any trick: not even the linear scaling that the study's baseline has. With Adam, which `adamp` needs."""
    return tiny.but(optimizer=Adam())


def fitting(trick, tiny):
    """With digits in colour for a trick whose part refuses grey ones."""
    try:
        trick(tiny).agree()
    except Problem:
        return tiny.but(data=Coloured(), batch_size=24)
    return tiny


def quick(spec):
    """With teachers no deeper than the student: one of 152 layers takes minutes to audit.

    And in small batches where gradients are clipped: they are longer there, and some are.
    """
    spec = spec.but(batch_size=24) if spec.clip else spec
    return spec.but(teacher=tuple(part.but(spec=part.spec.but(model=spec.model)) for part in spec.teacher))


def canonical(spec):
    return json.dumps(plain(spec), sort_keys=True)


@pytest.mark.parametrize("name", files())
def test_every_file_is_a_trick(name):
    assert callable(getattr(importlib.import_module(f"harness.tricks.{name}"), name))


def test_what_is_shipped_is_there():
    assert set(TRICKS) >= shipped.TRICKS
    assert len(shipped.TRICKS) > 10


def test_new_file_is_found(tmp_path, monkeypatch):
    (tmp_path / "half_as_long.py").write_text("def half_as_long(spec): return spec.but(epochs=spec.epochs // 2)\n")
    monkeypatch.setattr(harness.tricks, "__path__", [*harness.tricks.__path__, str(tmp_path)])
    assert set(found()) == {*TRICKS, "half_as_long"}


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
def test_leaves_its_input_unchanged_and_changes_the_id(trick, tiny):
    before = canonical(tiny)
    tricked = trick(tiny)
    assert canonical(tiny) == before
    assert tricked != tiny
    assert tricked.id != tiny.id


@every_trick
def test_twice_is_once(trick, tiny):
    once = trick(tiny)
    assert trick(once) == once
    assert trick(once).id == once.id


def slots(trick):
    return {path.partition(".")[0] for path in declared(trick)}


@pytest.mark.parametrize(("one", "other"), list(combinations(TRICKS, 2)))
def test_commutes(one, other, tiny):
    """But for slots whose parts are ordered; and a user's trick with another in a slot that both declare.

    There each order is what the study's tuple asks for: mixup on cutmix is not cutmix on mixup, and of two optimizers
    the last is the one.
    """
    first, second = TRICKS[one], TRICKS[other]
    both = slots(first) & slots(second) if {one, other} - shipped.TRICKS else set()
    try:
        there, back = first(second(tiny)), second(first(tiny))
    except Problem as problem:
        pytest.skip(f"they do not go together: {problem}")
    apart = {path.partition(".")[0] for path in moved(there, back)}
    assert apart <= both | (ORDERED & (slots(first) | slots(second)))
    assert (there.id == back.id) == (not apart)


@pytest.mark.parametrize("slot", sorted(ORDERED))
def test_named_as_ordered_is_ordered(slot, tiny):
    ordered = [TRICKS[name] for name in shipped.TRICKS if slot in slots(TRICKS[name])]
    others = [TRICKS[name] for name in shipped.TRICKS if slot not in slots(TRICKS[name])]
    assert any(one(trick(tiny)).id != trick(one(tiny)).id for one in ordered for trick in others)


@every_trick
def test_survives_json(trick, tiny):
    tricked = trick(tiny)
    back = parse(json.loads(json.dumps(plain(tricked))))
    assert back == tricked
    assert back.id == tricked.id


@every_trick
def test_trains_and_proves_itself_active(trick, tiny, live):
    trained, trace = live(quick(trick(fitting(trick, tiny))))
    assert len(trace.lr) >= 2
    assert all(math.isfinite(epoch["loss"]) for epoch in trained.result["epochs"])
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert trained.result["status"] == "finished"


@every_trick
def test_doing_nothing_is_caught(trick, tiny, live, monkeypatch):
    tiny = fitting(trick, tiny)
    tricked = quick(trick(tiny))
    if slots(trick) == {"augment"}:  # which is told by the images alone
        for part in set(map(type, tricked.augment)) - set(map(type, tiny.augment)):
            for name in ("__call__", "on_pixels"):
                monkeypatch.setattr(part, name, lambda self, x, rng: x, raising=False)
        result = loop.train(tricked, 0, CPU, stand_in).result
        assert result["status"] == "refused"
        return
    idle = tiny.but(epochs=tricked.epochs)  # as long as with the trick, so that the length gives nothing away
    _, trace = live(idle if idle != tricked else tiny)
    assert not all(row["ok"] for row in prove(tricked, trace))


# --- second opinions ------------------------------------------------------------------------------------------------

TREE = Path(__file__).parent.parent
SLOTS = (Init, Decay, Optimizer, Schedule, Warmup, Shape, Augment, Targets, Mix, Teacher, Ascent)
SHARED = {  # what a reference has in common with the code that it checks, and why
    ("ZeroGamma", "residual_blocks"): "which modules of a network are its blocks; their norms it finds by names",
    ("Piecewise", "factor"): "of a user's warmup or shape that has no reference",
    ("Photos", "box"): "of a user's crop that has no window",
    ("ImgAug", "build"): "the policy itself, which its prints hold",
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
    checked = asked(kind) if not issubclass(kind, (Optimizer, Photos, Scenes)) else set()
    assert all(owner(kind, "reference") <= owner(kind, name) for name in checked - {"identity"})


@every_described
def test_a_reference_shares_no_code_with_what_it_checks(kind):
    ours, attributes = reached(kind, {"reference"})
    theirs, _ = reached(kind, asked(kind))
    shared = {function.__name__ for function in ours & theirs} | (attributes & (asked(kind) | {"box", "on_pixels"}))
    assert {(kind.__name__, name) for name in shared} <= SHARED.keys()


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
