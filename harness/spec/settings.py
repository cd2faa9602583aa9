"""One value of a specification set, by its path: `schedule.warmup.epochs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Any, get_args, get_origin

import pydantic

from harness import Problem
from harness.spec.canonical import first_error, given, kinds, listed
from harness.spec.part import Part
from harness.spec.spec import Spec


def assign(spec: Spec, path: str, value: Any) -> Spec | None:
    """`spec` with `path` (for example `schedule.warmup.epochs`) set; None where no part of it has that path.

    In a tuple slot the part that has the next name is meant. A part may be given by its kind alone, a text: it keeps
    the fields that the part before it has by the same default, or has without one, as NAG's rate is no Adam's and
    Adam's is AdamW's. Raises Problem on a value of the wrong type, a slot that there is not, and a name that two parts
    of one slot have.
    """
    slot = path.partition(".")[0]
    if slot not in Spec.model_fields:
        slots = ", ".join(Spec.model_fields)
        raise Problem(f"--set {path}: no slot {slot!r}; slots: {slots}{meant([spec], path)}")
    try:
        changed: Spec | None = _assign(spec, path, value)
    except pydantic.ValidationError as error:
        raise Problem(f"--set {path}: {first_error(error)}") from None
    except Problem as problem:
        raise Problem(f"--set {path}: {problem}") from None
    return changed


def _assign(part: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    if not isinstance(part, Part) or name not in type(part).model_fields:
        return None
    if not rest:
        return part.but(**{name: _fit(type(part).model_fields[name].annotation, value, getattr(part, name))})
    inner = getattr(part, name)
    items = inner if isinstance(inner, tuple) else (inner,)
    changed = [_assign(item, rest, value) for item in items]
    if sum(new is not None for new in changed) > 1:
        raise Problem(f"{', '.join(type(item).__name__ for item in items)} all have it; name one alone")
    if not any(changed):
        return None
    new = tuple(new or old for new, old in zip(changed, items, strict=True))
    return part.but(**{name: new if isinstance(inner, tuple) else new[0]})


def _fit(annotation: Any, value: Any, held: Any) -> Any:
    """`value` for a field in the place of `held`: kinds become parts; where a tuple is due one alone does, and None."""
    if get_origin(annotation) is not tuple or not _wanted(annotation):
        return _of_kind(annotation, value, (held,))
    items = value if isinstance(value, tuple) else () if value is None else (value,)
    return tuple(_of_kind(annotation, item, held) for item in items)


def _of_kind(annotation: Any, value: Any, held: tuple[Any, ...]) -> Any:
    """A part of the kind `value`, where that is a text and a part is due, with what it keeps of those `held`."""
    wanted = _wanted(annotation)
    if not wanted or not isinstance(value, str):
        return value
    if value not in kinds(wanted):
        none = "; null for none" if {Ellipsis, NoneType} & {*get_args(annotation)} else ""
        raise Problem(f"{given(value)} is none of {listed(wanted)}{none}")
    cls = kinds(wanted)[value]
    kept = {
        name: getattr(part, name)
        for part in held
        for name, field in cls.model_fields.items()
        if isinstance(part, Part) and name in type(part).model_fields
        if type(part).model_fields[name].default == field.default
    }
    lacking = [name for name, field in cls.model_fields.items() if field.is_required() and name not in kept]
    if lacking:
        form = ", ".join([f'"kind": "{value}"', *(f'"{name}": …' for name in lacking)])
        raise Problem(f"{value} needs {', '.join(lacking)}: write {{{form}}}")
    return cls(**kept)


def _wanted(annotation: Any) -> type[Part] | None:
    """The class of the part that a field holds, or may hold; None where it holds none."""
    each = (annotation, *get_args(annotation))
    return next((cls for cls in each if isinstance(cls, type) and issubclass(cls, Part)), None)


def meant(specs: Iterable[Spec], path: str) -> str:
    """Where else in `specs` the last field of a path is, as a question to its writer; empty where it is nowhere."""
    slot, last = path.partition(".")[0], path.rpartition(".")[2]
    found = dict.fromkeys(place for spec in specs for place in _places(spec) if place.rpartition(".")[2] == last)
    near = [place for place in found if place.partition(".")[0] == slot] or [*found]
    highest = min((place.count(".") for place in near), default=0)  # a teacher has all of them too
    return f"; did you mean {' or '.join(p for p in near if p.count('.') == highest)}?" if near else ""


def _places(part: Part, prefix: str = "") -> Iterator[str]:
    """The paths of all fields."""
    for name, value in part:
        yield f"{prefix}{name}"
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Part):
                yield from _places(item, f"{prefix}{name}.")
