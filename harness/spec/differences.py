"""What differs between two specifications."""

from __future__ import annotations

import json
from typing import Any

from harness.spec.spec import Spec, bare

_ABSENT = object()


def shape(spec: Any) -> str:
    """The canonical form of a specification, or of a resolved one, without what its data holds: none is loaded."""
    return spec.shape if isinstance(spec, Spec) else json.dumps(bare(spec), sort_keys=True)


def moved(old: Spec, new: Spec) -> list[str]:
    """The dotted paths that differ, an inner specification being one of them. No data is loaded."""
    a, b = old.outline, new.outline
    return [path for path in dict.fromkeys((*a, *b)) if a.get(path, _ABSENT) != b.get(path, _ABSENT)]


def changes(old: Spec, new: Spec) -> dict[str, tuple[Any, Any]]:
    """What differs, as `{dotted path: (old, new)}`; None where a side has no such path, inner specifications as ids."""
    a, b = old.brief, new.brief
    paths = dict.fromkeys((*a, *b))
    return {path: (a.get(path), b.get(path)) for path in paths if a.get(path, _ABSENT) != b.get(path, _ABSENT)}
