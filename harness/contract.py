"""What every trick keeps to: functions that yield what is amiss, a line each. The tests and `harness.check` ask them.

A trick leaves its input unchanged and makes another specification; done twice it is done once; two commute, or say that
they do not; what it makes survives JSON; and where it did nothing, the evidence of the run shows it.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness import Problem
from harness.evidence import prove
from harness.spec import Augment, Spec, Trick, changes, declared, moved, parse, plain
from harness.train import Trained

ORDERED = {"teacher"}  # a slot whose part is made from the specification that it meets
SEQUENCES = {"mix", "augment"}  # slots whose parts come one after the other: in the order of the tricks
Train = Callable[[Spec], Trained]


def slots(trick: Trick, spec: Spec) -> set[str]:
    """Those that it declares; of one that declares none, those that it changes in `spec`."""
    return {path.partition(".")[0] for path in declared(trick) or changes(spec, trick(spec))}


def unchanged(trick: Trick, spec: Spec) -> Iterator[str]:
    """Its input stays as it was, and what it makes is another run."""
    before = _canonical(spec)
    made = trick(spec)
    if _canonical(spec) != before:
        yield "changes the specification that it is given: let it return another one, by `spec.but(…)`"
    elif made == spec or made.id == spec.id:
        yield "changes nothing: the id is that of the run without it"


def idempotent(trick: Trick, spec: Spec) -> Iterator[str]:
    """Done twice it is what it is done once."""
    once = trick(spec)
    twice = trick(once)
    if twice != once or twice.id != once.id:
        yield f"done twice it is not what it is done once: {_listed(moved(once, twice))} moves again"


def round_trip(trick: Trick, spec: Spec) -> Iterator[str]:
    """What it makes comes back from JSON as it was."""
    made = trick(spec)
    try:
        back = parse(json.loads(json.dumps(plain(made))))
    except (Problem, TypeError, ValueError) as error:
        yield f"does not come back from JSON: {error}"
        return
    if back != made or back.id != made.id:
        yield f"comes back from JSON as another run: {_listed(moved(made, back)) or 'of another id'}"


EACH = (unchanged, idempotent, round_trip)


def commute(one: Trick, other: Trick, spec: Spec, said: bool = False) -> Iterator[str]:
    """The order of two tricks does not matter, but for slots that are `ORDERED`, and `SEQUENCES` that both add to.

    Two may have `said` so: with a slot that both declare, each order is what the study's tuple asks for. Mixup on
    cutmix is not cutmix on mixup, and of two optimizers the last is the one. Two that do not go together are passed.
    """
    try:
        there, back = one(other(spec)), other(one(spec))
    except Problem:
        return
    first, second = slots(one, spec), slots(other, spec)
    allowed = (
        (ORDERED & (first | second))
        | (SEQUENCES & first & second)
        | ((first | second) if said and first & second else set())
    )
    apart = {path.partition(".")[0] for path in moved(there, back)}
    if apart - allowed:
        yield f"do not commute: in another order {_listed(apart - allowed)} is another; say so: let both declare a slot"
    if not apart and there != back:
        yield "do not commute: in another order it is another specification"


def noticed(above: Spec, below: Spec, train: Train, told: Trained | None = None) -> Iterator[str]:
    """Where what `above` has over `below` did nothing, the evidence shows it.

    `told` is what training `below` left, where that was done. Of augmentation, which is told by the images alone, the
    new parts give back what they get.
    """
    silent = "did nothing, and no check of its run would show it: give its part a `reference`, or a `proof` that "
    silent += "reads the trace"
    if {path.partition(".")[0] for path in changes(below, above)} == {"augment"}:
        new = set(map(type, above.augment)) - set(map(type, below.augment))
        if new:
            with asleep(new):
                status = train(above).result["status"]
            if status != "refused":
                yield silent
            return
    idle = below.but(epochs=above.epochs)  # as long, so that the length gives nothing away
    idle = below if idle == above else idle
    if told is None or idle != below:
        told = train(idle)
    try:
        silenced = all(row["ok"] for row in prove(above, told.trace))
    except Exception:  # a proof that does not find what it reads: such a run fails, and is in no table
        return
    if silenced:
        yield silent


@contextmanager
def asleep(kinds: set[type[Augment]]) -> Iterator[None]:
    """Augmentations that give back what they get, for as long as this lasts; photos are decoded in this process."""
    methods = {
        (owner, name): vars(owner)[name]
        for kind in kinds
        for name in ("__call__", "on_pixels")
        if (owner := next((each for each in kind.__mro__ if name in vars(each)), None))
    }
    before = os.environ.get("HARNESS_DECODERS")
    os.environ["HARNESS_DECODERS"] = "0"  # in another process nothing sleeps
    try:
        for owner, name in methods:
            setattr(owner, name, lambda self, x, rng: x)
        yield
    finally:
        for (owner, name), method in methods.items():
            setattr(owner, name, method)
        os.environ.pop("HARNESS_DECODERS")
        if before is not None:
            os.environ["HARNESS_DECODERS"] = before


def _canonical(spec: Spec) -> str:
    return json.dumps(plain(spec), sort_keys=True)


def _listed(paths: Any) -> str:
    return ", ".join(sorted(paths))
