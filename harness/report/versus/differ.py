"""What two sides differ in: specifications, what runs of one seed showed, checks, and where runs were made."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import harness.report.frames as frames
from harness import one_line
from harness.report.frames import Pair, Plan
from harness.spec import ASPECTS, MAY, flat, may
from harness.store import spec_hash

Changes = dict[str, list[Any]]  # by dotted path: what A has, what B has


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Changes:
    """What differs of two resolved specifications; None where a side has no such path, inner ones as their ids."""
    old, new = (flat({name: _short(value) for name, value in form.items()}) for form in (a, b))
    return {
        path: [old.get(path), new.get(path)] for path in dict.fromkeys((*old, *new)) if old.get(path) != new.get(path)
    }


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        inner = value.get("kind") == "Spec"
        return spec_hash(value) if inner else {name: _short(item) for name, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value


def allowed(paths: Mapping[str, Any]) -> list[str]:
    """The aspects that may differ where those paths do; all, where a slot is one of a newer harness."""
    return list(may(paths) if all(path.partition(".")[0] in MAY for path in paths) else ASPECTS)


def showed(both: Sequence[Pair], explained: Sequence[str]) -> dict[str, list[str]]:
    """What runs of the same seeds showed: aspects that differ, those of them that nothing explains, and the same."""
    pairs = [(a["seen"], b["seen"]) for _, a, b in both if a["seen"] and b["seen"]]
    known = [what for what in ASPECTS if pairs and all(what in a and what in b for a, b in pairs)]
    differs = [what for what in known if any(a[what] != b[what] for a, b in pairs)]
    unexplained = [what for what in differs if what not in explained]
    return {"differs": differs, "unexplained": unexplained, "same": [what for what in known if what not in differs]}


def checks(plan: Plan, every: pd.DataFrame, a: int, b: int) -> list[dict[str, Any]]:
    """The checks of parts of which the rungs at two places expect something else, or that one alone has."""
    found = frames.evidence(plan, every)
    found = found[~found["part"].isin(frames.COMMON)]
    sides = [
        {(row["part"], row["what"]): row for row in found[found["place"] == place].to_dict("records")}
        for place in (a, b)
    ]
    made = []
    for key in dict.fromkeys((*sides[0], *sides[1])):
        own = [side.get(key) for side in sides]
        if not (own[0] and own[1] and own[0]["expected"] == own[1]["expected"]):
            told = [{"expected": one["expected"], "seen": one["seen"]} if one else None for one in own]
            made.append({"part": key[0], "what": key[1], "a": told[0], "b": told[1]})
    return made


def environments(every: pd.DataFrame) -> dict[str, list[list[str]]]:
    """By name, what differs in where runs were made: the values of each side, A's runs being at even places."""
    sides = [every.loc[every["place"] % 2 == which, "environment"] for which in (0, 1)]
    found = {}
    for name in dict.fromkeys(key for side in sides for own in side for key in own):
        a, b = (sorted({one_line(str(own[name])) for own in side if name in own}) for side in sides)
        if a and b and a != b:
            found[name] = [a, b]
    return found
