"""What differs between two specifications."""

from __future__ import annotations

import json
from typing import Any

from harness.spec.canonical import flat, plain
from harness.spec.part import Part
from harness.spec.slots import Data
from harness.spec.spec import Spec

_ABSENT = object()


def shape(spec: Any) -> str:
    """The canonical form of a specification, or of a resolved one, without what its data holds: none is loaded."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(item) for name, item in value.items() if name != "digest"}
        return [bare(item) for item in value] if isinstance(value, list) else value

    if isinstance(spec, Spec):
        spec = plain(spec, lambda part: part.settings() if isinstance(part, Data) else part.identity())
    return json.dumps(bare(spec), sort_keys=True)


def moved(old: Spec, new: Spec) -> list[str]:
    """The dotted paths that differ, an inner specification being one of them. No data is loaded."""

    def short(part: Part) -> dict[str, Any]:
        fields = part.settings() if isinstance(part, Data) else part.identity()
        return {name: shape(item) if isinstance(item, Spec) else item for name, item in fields.items()}

    a, b = flat(plain(old, short)), flat(plain(new, short))
    return [path for path in dict.fromkeys((*a, *b)) if a.get(path, _ABSENT) != b.get(path, _ABSENT)]


def changes(old: Spec, new: Spec) -> dict[str, tuple[Any, Any]]:
    """What differs, as `{dotted path: (old, new)}`; None where a side has no such path, inner specifications as ids."""
    a, b = old.brief, new.brief
    paths = dict.fromkeys((*a, *b))
    return {path: (a.get(path), b.get(path)) for path in paths if a.get(path, _ABSENT) != b.get(path, _ABSENT)}
