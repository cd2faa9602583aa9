"""A setting, `slot.field=value`, as a user writes it."""

import importlib.util
import json
import pkgutil
from contextlib import suppress
from typing import Any

import harness.parts
import harness.tricks
from harness import Problem
from harness.spec import (
    parse,
)


def setting(text: str) -> tuple[str, Any]:
    """`slot.field=value` as a path and a value: JSON where it reads as JSON, else text; `{"kind": …}` is a part."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise Problem(f"--set {text}: write slot.field=value")
    import_parts()
    try:
        return path, parse(json.loads(value))
    except RecursionError:
        raise Problem(f"--set {path}: the value is nested too deep") from None
    except Problem as problem:
        raise Problem(f"--set {path}: {problem}") from None
    except ValueError:
        return path, value


def import_parts() -> None:
    """So that all kinds of parts are known by name, whichever of them a study uses."""
    for package in (harness.parts, harness.tricks):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            with suppress(Exception):  # a user's own that is broken says so where it is used
                importlib.import_module(module.name)
