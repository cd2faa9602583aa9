"""A part: a frozen value that carries its own behaviour, and what is known of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeGuard, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from harness import Problem
from harness.paths import expanded

# How it is known of a part that it did what it says: by another writing of it; by its own account; not at all.
SECOND, SELF, UNPROVEN = "second opinion", "self-checked", "unproven"
Flag = Annotated[bool, AfterValidator(lambda on: on or None)]  # a field that moves no id where it is off


@dataclass(frozen=True)
class Check:
    """One measurement: `what` was `expected`, what was `seen`, and whether that will do."""

    what: str
    expected: str
    seen: str
    ok: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "ok", bool(self.ok))  # numpy's is none that JSON has: a record could not be written


class Part(BaseModel):
    """A frozen component value. Subclasses add fields and behaviour; every class is abstract or final.

    Whoever changes what a part does with the same fields raises its `version`: it is in the id, so that runs of before
    and after are other runs, and both stay. Of a part that is not the package's own a record holds a digest of the
    source too (`harness.spec.sources`): a run whose part changed without a new version is stale, and is trained anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    version: ClassVar[int] = 1
    paired: ClassVar[bool] = False  # of one that holds a specification: each run has that run of its own seed

    @model_validator(mode="before")
    @classmethod
    def _no_part_for_a_tuple(cls, given: Any) -> Any:
        """A part can be iterated, so pydantic would take it for a tuple: of one without fields an empty one."""
        held = given.items() if isinstance(given, dict) else ()
        for name, own in ((name, type(value).__name__) for name, value in held if isinstance(value, Part)):
            if name in cls.model_fields and get_origin(cls.model_fields[name].annotation) is tuple:
                raise ValueError(f"{name} is a tuple of parts: {name}=({own}(…),), not {name}={own}(…)")
        return given

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        return ((name, getattr(self, name)) for name in type(self).model_fields)

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated as a new one is."""
        return type(self)(**{**dict(self), **changes})

    def identity(self) -> dict[str, Any]:
        """The fields that decide what a run computes; by default all of them."""
        return dict(self)

    def check(self, spec: Any) -> None:
        """Raise ValueError where this part cannot work within `spec`."""

    def proof(self, spec: Any, trace: Any) -> Iterable[Check]:
        """Measure, from the live objects in a `harness.evidence.Trace`, that this part did what it says.

        A part may have a `reference` too: the same function written plainly, from its source, sharing no code with what
        it checks and given the same draws. Audited steps are held against it. Of a part of a user's own that has
        neither, nothing is known: its rungs are *unproven*. What a reference takes and gives is said by its slot.
        """
        return ()


def keeps_up(part: Any, name: str, other: str) -> bool:
    """Whether what a part has as `name` is of the class that its `other` is of, or of one below."""
    first, second = (next(i for i, c in enumerate(type(part).__mro__) if n in vars(c)) for n in (name, other))
    return first <= second


def referenced(part: Any) -> TypeGuard[Any]:
    """Whether a part has a `reference` of what it does, and not None for its fields.

    In a user's class one that is inherited beside what it does is none.
    """
    kinds = type(part).__mro__
    by = {name: i for i, kind in reversed(list(enumerate(kinds))) for name in vars(kind)}  # the first that has it
    if "reference" not in by or part.reference is None:
        return False
    does = (
        "__call__",
        "build",
        "groups",
        "factor",
        "bind",
        "away",
        "on_pixels",
        "together",
        "draws",
        "box",
        "form",
        "share",
        "order",
        "views",
        "pair",
    )
    return kinds[0].__module__.startswith("harness.") or all(
        by.get(name, len(kinds)) >= by["reference"] for name in does
    )


class File(Part):
    """A file that a part reads, weights say, as a field of it: its content is in the id, where it lies is not."""

    path: Path

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A path alone will do where a file is due."""
        return {"path": given} if isinstance(given, str | os.PathLike) else given

    def read(self) -> bytes:
        """Raises Problem where it cannot be read."""
        try:
            return expanded(self.path).read_bytes()
        except OSError as error:
            raise Problem(
                f"{self.path} cannot be read ({error.strerror}), and a part of this study reads it: name another"
            ) from None

    def identity(self) -> dict[str, Any]:
        with suppress(OSError):
            stat = os.stat(expanded(self.path))
            return {"sha256": self._sha256(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)}
        return {"sha256": hashlib.sha256(self.read()).hexdigest()}

    @lru_cache  # noqa: B019  # a file is read once a process, unless it was touched
    def _sha256(self, *stat: int) -> str:
        return hashlib.sha256(self.read()).hexdigest()
