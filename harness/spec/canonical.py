"""The canonical form of parts, as JSON-ready values, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import isabstract
from pathlib import PurePath
from typing import Any

import pydantic

from harness import Problem, one_line
from harness.spec.part import Part


def plain(value: Any, fields: Callable[[Part], Mapping[str, Any]] = dict) -> Any:
    """JSON-ready form: every part an object with its `kind`; fields empty by default left out."""
    if isinstance(value, Part):
        named = {"kind": _kind(type(value))} | ({"version": value.version} if value.version > 1 else {})
        return named | {k: plain(v, fields) for k, v in fields(value).items() if not _neutral(value, k, v)}
    if isinstance(value, PurePath):
        return value.as_posix()
    return [plain(item, fields) for item in value] if isinstance(value, tuple) else value


def _kind(cls: type[Part]) -> str:
    """The class's name; with its module where it is not ours, so that two studies' CutMix are two kinds."""
    return cls.__name__ if cls.__module__.startswith("harness.") else f"{cls.__module__}.{cls.__name__}"


def _neutral(part: Part, name: str, value: Any) -> bool:
    """Empty, and so by default: what a specification of a time before this field would mean."""
    field = type(part).model_fields.get(name)
    return (value is None or value == ()) and field is not None and field.default == value


def resolved(spec: Part) -> dict[str, Any]:
    """What `id` hashes: the parts' identities, the data's digest included."""
    form: dict[str, Any] = plain(spec, lambda part: part.identity())
    return form


def parse(value: Any) -> Any:
    """The inverse of `plain`. Raises Problem where a kind is unknown, newer, or its fields do not fit."""
    if isinstance(value, list):
        return tuple(parse(item) for item in value)
    if not isinstance(value, dict):
        return value
    known = kinds(Part)
    kind, version = value.get("kind"), value.get("version", 1)
    if not isinstance(kind, str) or kind not in known:
        raise Problem(f"unknown kind {given(kind)}; known: {listed(Part)}")
    if version != known[kind].version:
        raise Problem(f"{kind} is version {given(version)} here, and this program knows version {known[kind].version}")
    fields = {name: parse(item) for name, item in value.items() if name not in ("kind", "version")}
    try:
        return known[kind](**fields)
    except pydantic.ValidationError as error:
        raise Problem(f"{kind}: {first_error(error)}") from None


def _subclasses(cls: type[Part]) -> Iterator[type[Part]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def first_error(error: pydantic.ValidationError) -> str:
    """One line of a pydantic error: the field, what is wrong, what was given."""
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_type":
        due = next((cls for cls in _subclasses(Part) if cls.__name__ == first["ctx"]["class_name"]), Part)
        message = f"must be one of {listed(due)}"
    return f"{where}: {message}, not {given(first['input'])}" if where else message


def given(value: Any) -> str:
    return one_line(repr(value), 200)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """`plain` or `resolved` form as dotted paths: `{"init": "Xavier, ZeroGamma", "schedule.warmup.epochs": 5, …}`."""
    if isinstance(value, dict):
        own = {prefix: value["kind"]} if prefix else {}
        items = {f"{prefix}.{k}" if prefix else k: v for k, v in value.items() if k != "kind"}
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        kinds = [item["kind"] for item in value]
        own = {prefix: ", ".join(kinds)}
        items = {
            f"{prefix}.{kind}{f'.{n}' if (n := kinds[:i].count(kind)) else ''}.{k}": v
            for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
            for k, v in item.items()
            if k != "kind"
        }
    else:
        return {prefix: value}
    return own | {path: leaf for name, item in items.items() for path, leaf in flat(item, name).items()}


def kinds(wanted: type[Part]) -> dict[str, type[Part]]:
    """The classes that are a `wanted`, by kind: those of the modules that were imported."""
    return {_kind(cls): cls for cls in (wanted, *_subclasses(wanted)) if not isabstract(cls)}


def listed(wanted: type[Part]) -> str:
    return ", ".join(sorted(kinds(wanted))) or "there is none"
