"""A trick: a pure function `Spec -> Spec` that changes its own slot and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TypeVar

from harness import Problem
from harness.spec.spec import Spec

Trick = Callable[[Spec], Spec]
_T = TypeVar("_T", bound=Callable[..., Spec])


def declares(*paths: str) -> Callable[[_T], _T]:
    """Say which slots, or fields of slots, a trick may change: where it changes another, the plan is refused."""

    if not all(isinstance(path, str) for path in paths):
        raise Problem('declares needs the slots: @declares("mix", "epochs")')

    def mark(trick: _T) -> _T:
        trick.declared = paths  # type: ignore[attr-defined]
        return trick

    return mark


def declared(trick: Trick) -> tuple[str, ...]:
    """What a trick, or the function of a partial one, declares to change; empty where it says nothing."""
    paths: tuple[str, ...] = getattr(getattr(trick, "func", trick), "declared", ())
    return paths


def on_backbone(trick: Trick) -> Trick:
    """`trick`, made in the specification of the run whose network the model stands on; its name and words stay."""

    @wraps(getattr(trick, "func", trick))
    def made(spec: Spec) -> Spec:
        inner = getattr(spec.model, "backbone", None)
        if not isinstance(inner, Spec):
            raise Problem(f"{spec.model!r} stands on no run: {made.__name__} is made in the specification of one")
        return spec.but(model=spec.model.but(backbone=trick(inner)))

    made.declared = ("model.backbone",)  # type: ignore[attr-defined]
    return made


class Branches:
    """The end of a tuple of tricks, where it goes several ways: each such a tuple, on all that came before.

    Where a trick is due there may be a tuple of tricks: they come together, in one rung.
    """

    def __init__(self, *ways: Iterable[Trick | tuple[Trick, ...] | Branches]) -> None:
        if not all(isinstance(way, Iterable) for way in ways):
            raise Problem("Branches takes ways, each a tuple of tricks: Branches((mixup,), (cosine,))")
        self.ways = tuple(map(tuple, ways))


Step = Trick | tuple[Trick, ...] | Branches


def stack(spec: Spec, tricks: Iterable[Trick]) -> Spec:
    """All of `tricks`, one on the other."""
    for trick in tricks:
        spec = trick(spec)
    return spec
