"""A study: a baseline, a tuple of tricks, which may end in `Branches`, and some seeds."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness import one_line
from harness.metrics import Metric
from harness.spec import (
    Branches,
    Spec,
    Step,
    Trick,
)
from harness.stats.designs import Node

Run = tuple[Spec, int]


@dataclass(frozen=True)
class Study:
    """A baseline, a tuple of tricks, which may end in `Branches`, and some seeds."""

    name: str
    about: str
    baseline: Spec
    tricks: tuple[Step, ...]
    seeds: tuple[int, ...]
    space: Mapping[str, Any] = field(default_factory=dict)  # slot paths, and optuna's distributions of their values
    address: str = ""  # what a command calls it by, where that is not its name
    metrics: Mapping[str, Metric] = field(default_factory=dict)  # of its own, by name
    epochs: Sequence[int] | Mapping[str, int] = ()  # lengths that `--target` tries, or one for each rung by its name

    @property
    def every(self) -> tuple[Trick, ...]:
        """All tricks, each once: those of the longest way from baseline to end, then what else the others have."""
        paths = sorted(ways(self.tricks), key=len, reverse=True)
        return tuple({call_of(trick): trick for path in paths for trick in path}.values())

    def tree(self) -> list[Node]:
        """The rungs of its ladder, by the places of tricks in `every`."""
        place = {call_of(trick): i for i, trick in enumerate(self.every)}
        nodes: list[Node] = []

        def grow(steps: Sequence[Step], parent: int, way: tuple[int, ...], first: bool) -> None:
            for step in steps:
                if isinstance(step, Branches):
                    for i, branch in enumerate(step.ways):
                        grow(branch, parent, way, first=i == 0)
                    continue
                added = tuple(place[call_of(trick)] for trick in _together(step))
                nodes.append(Node(parent, added, way))
                parent = len(nodes)
                if not first:
                    way, first = (*way, *added), True

        grow(self.tricks, 0, (), first=True)
        return nodes


def _together(step: Step) -> tuple[Trick, ...]:
    assert not isinstance(step, Branches)
    return step if isinstance(step, tuple) else (step,)


def ways(steps: Sequence[Step]) -> list[tuple[Trick, ...]]:
    """The tricks of each way from the baseline to an end."""
    paths: list[tuple[Trick, ...]] = [()]
    for step in steps:
        ends = [end for way in step.ways for end in ways(way)] if isinstance(step, Branches) else [_together(step)]
        paths = [(*path, *end) for path in paths for end in ends]
    return paths


def trick_name(trick: Trick) -> str:
    function: Any = trick.func if isinstance(trick, partial) else trick
    return one_line(getattr(function, "__name__", type(function).__name__))


def trick_title(trick: Trick) -> str:
    """What tables call it: its docstring's first line up to the first colon, else its name."""
    function = trick.func if isinstance(trick, partial) else trick
    first = (inspect.getdoc(function) or "").partition("\n")[0]
    return one_line(first.partition(":")[0]) or trick_name(trick)


def call_of(trick: Trick) -> object:
    """What tells a trick from others: of a partial one the function and what it is given, so that two alike are one."""
    if isinstance(trick, partial):
        return trick.func, repr(trick.args), repr(sorted(trick.keywords.items()))
    return trick
