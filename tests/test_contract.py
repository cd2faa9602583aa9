"""What every trick keeps to. Tricks are found in their folder: a new file there is tested with no change here.

python -m pytest tests/test_contract.py -k mixup
"""

import importlib
import inspect
import json
import math
import pkgutil
from contextlib import suppress
from itertools import combinations

import pytest

import harness.tricks
from harness import Problem
from harness.evidence import prove
from harness.parts.optimizers import Adam
from harness.spec import changes, declared, moved, parse, plain
from tests import shipped
from tests.coloured import Coloured


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
    trained, trace = live(trick(fitting(trick, tiny)))
    assert len(trace.lr) >= 2
    assert all(math.isfinite(epoch["loss"]) for epoch in trained.result["epochs"])
    assert [row for row in trained.result["evidence"] if not row["ok"]] == []
    assert trained.result["status"] == "finished"


@every_trick
def test_doing_nothing_is_caught(trick, tiny, live):
    tiny = fitting(trick, tiny)
    tricked = trick(tiny)
    idle = tiny.but(epochs=tricked.epochs)  # as long as with the trick, so that the length gives nothing away
    _, trace = live(idle if idle != tricked else tiny)
    assert not all(row["ok"] for row in prove(tricked, trace))
