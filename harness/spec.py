"""A run's specification: slots that hold frozen parts, its id, and its canonical form.

A *part* is a frozen value that carries its own behaviour. A `Spec` has one field a *slot*; each slot holds a part, a
tuple of parts (applied in order; `()` is the identity) or a number. A *trick* is a pure function `Spec -> Spec` that
changes its own slot and nothing else.

`Spec.id` is a hash of the resolved specification as canonical JSON. Empty fields are left out, so a new neutral slot
moves no id; every other value is in, so a changed default moves them all. A part whose meaning changes bumps its
`version`. The data's content digest is part of it; where the data lies, the seed, the device and the workers are not.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from inspect import isabstract
from pathlib import Path, PurePath
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeGuard, TypeVar, get_args, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from harness import Problem, one_line
from harness.paths import expanded

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    import torch
    from torch import Tensor, nn

    from harness.evidence import Check, Trace, Upstream
    from harness.rng import Stream

UPSTREAM_SEED = 0  # the one seed of runs that others build on, such as a teacher: trained once, shared by all

# How it is known of a part that it did what it says: by another writing of it; by its own account; not at all.
SECOND, SELF, UNPROVEN = "second opinion", "self-checked", "unproven"


class Part(BaseModel):
    """A frozen component value. Subclasses add fields and behaviour; every class is abstract or final.

    Whoever changes what a part does with the same fields raises its `version`: it is in the id, so that runs of before
    and after are other runs, and both stay. Of a part that is not the package's own a record holds a digest of the
    source too (`harness.sources`): a run whose part changed without a new version is stale, and is trained anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    version: ClassVar[int] = 1

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        return ((name, getattr(self, name)) for name in type(self).model_fields)

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated as a new one is."""
        return type(self)(**{**dict(self), **changes})

    def identity(self) -> dict[str, Any]:
        """The fields that decide what a run computes; by default all of them."""
        return dict(self)

    def check(self, spec: Spec) -> None:
        """Raise ValueError where this part cannot work within `spec`."""

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Measure, from the live objects in `trace`, that this part did what it says.

        A part may have a `reference` too: the same function written plainly, from its source, sharing no code with what
        it checks and given the same draws. Audited steps are held against it. Of a part of a user's own that has
        neither, nothing is known: its rungs are *unproven*. What a reference takes and gives is said by its slot.
        """
        return ()


def referenced(part: Any) -> TypeGuard[Any]:
    """Whether a part has a `reference` of what it does: in a user's class one that is inherited beside it is none."""
    kinds = type(part).__mro__
    by = {name: i for i, kind in reversed(list(enumerate(kinds))) for name in vars(kind)}  # the first that has it
    if "reference" not in by:
        return False
    does = ("__call__", "build", "groups", "factor", "bind", "away", "on_pixels", "box", "form")
    return kinds[0].__module__.startswith("harness.") or all(
        by.get(name, len(kinds)) >= by["reference"] for name in does
    )


class File(Part):
    """A file that a part reads, weights say, as a field of it: its content is in the id, where it lies is not."""

    path: Path

    def read(self) -> bytes:
        """Raises Problem where it cannot be read."""
        try:
            return expanded(self.path).read_bytes()
        except OSError as error:
            raise Problem(f"{self.path} cannot be read ({error.strerror}), and a part of this study reads it") from None

    def identity(self) -> dict[str, Any]:
        with suppress(OSError):
            stat = os.stat(expanded(self.path))
            return {"sha256": self._sha256(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)}
        return {"sha256": hashlib.sha256(self.read()).hexdigest()}

    @lru_cache  # noqa: B019  # a file is read once a process, unless it was touched
    def _sha256(self, *stat: int) -> str:
        return hashlib.sha256(self.read()).hexdigest()


class Data(Part, ABC):
    """Where images and labels come from. `load` reads, checks and digests them, once a process."""

    @property
    @abstractmethod
    def channels(self) -> int: ...

    @abstractmethod
    def load(self) -> Any:
        """The images, ready to be served; see `harness.parts.data.Images`. Raises Problem on unusable data."""

    def settings(self) -> dict[str, Any]:
        """The fields, but for where the data lies."""
        return {name: value for name, value in self if name != "root"}

    def identity(self) -> dict[str, Any]:
        return {**self.settings(), "digest": self.load().digest}


class Model(Part, ABC):
    @abstractmethod
    def build(self, channels: int, classes: int) -> nn.Module:
        """A network from N x `channels` x H x W images to N x `classes` logits."""

    def fresh(self, channels: int, classes: int) -> nn.Module:
        """Another such network, to run again on the weights of the first. It shares what `build` gets wrong.

        A model with a `reference(weights, x, training, conv, linear)` is run again by that: from weights and buffers by
        name and images to logits, in torch's functional forms, `conv` and `linear` among them.
        """
        return self.build(channels, classes)


class Init(Part, ABC):
    @abstractmethod
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        """Set parameters in place, each drawn from a stream of its own name.

        `reference(shapes, model, rng)` gives the values of the parameters that are set, by name.
        """


class Decay(Part, ABC):
    weight: float = Field(1e-4, ge=0)

    @abstractmethod
    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The optimizer's parameter groups, each with its `weight_decay`.

        `reference(name, layer)` gives that of one parameter, by its name and the layer that it is of.
        """


class Optimizer(Part, ABC):
    buffers: ClassVar[int] = 1  # numbers of state that it keeps for each of a parameter

    @abstractmethod
    def rate(self, batch_size: int) -> float:
        """The peak learning rate at this batch size."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], batch_size: int) -> torch.optim.Optimizer: ...


class Schedule(Part, ABC):
    @abstractmethod
    def factor(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """What the peak learning rate is multiplied by at `step`, counted from 0."""


class Augment(Part, ABC):
    @abstractmethod
    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Float images N x C x H x W in [0, 255] to the same. `reference` does so in numpy."""


class Targets(Part, ABC):
    @abstractmethod
    def __call__(self, y: Tensor) -> Tensor:
        """Target distributions N x K to target distributions N x K. `reference` does so in numpy."""


class Mix(Part, ABC):
    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Normalised images N x C x H x W and targets N x K to the same. `reference` does so in numpy."""


class Precision(Part, ABC):
    half: ClassVar[bool | None] = None  # float16 in conv and linear layers; None of a precision that is not known
    scaled: ClassVar[bool] = True  # the loss, by a power of two

    @abstractmethod
    def on(self, device: torch.device) -> Any:
        """How to run forward and step there; see `harness.parts.precision.Runner`."""


class Teacher(Part, ABC):
    spec: Spec

    @abstractmethod
    def bind(self, inner: Upstream, passes: int) -> Any:
        """The extra loss, given the trained inner run: called `passes` times a step, on (images, logits).

        It has `model`, and `first_answers`, its logits at each pass of step 1; `state` and `restore`.
        """

    @abstractmethod
    def reference(self, z: np.ndarray, r: np.ndarray) -> tuple[float, np.ndarray]:
        """That loss and its gradient by the student's logits `z`, from these and the teacher's, both N x K, float64."""


class Ascent(Part, ABC):
    """The gradient is taken at other weights than those that it moves."""

    @abstractmethod
    def away(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within it the weights of `model` are elsewhere, by the gradients they have, which are cleared; then back.

        `reference(gradients)` gives how far each goes, by name, in numpy.
        """


class Stop(Part, ABC):
    """When to end before the last epoch, and which epoch's weights to keep."""

    @abstractmethod
    def best(self, history: Sequence[Mapping[str, Any]]) -> int:
        """The place of the epoch whose weights are kept, among those so far."""

    @abstractmethod
    def over(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last of the epochs so far is the last of all."""


class Spec(Part):
    """Everything that decides what a run computes, but for its seed."""

    data: Data
    model: Model
    init: tuple[Init, ...] = Field(min_length=1)  # else the weights would be as torch left them, of no seed
    decay: Decay
    optimizer: Optimizer
    schedule: Schedule
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    augment: tuple[Augment, ...] = ()
    targets: tuple[Targets, ...] = ()
    mix: tuple[Mix, ...] = ()
    precision: Precision
    teacher: tuple[Teacher, ...] = ()
    ascent: tuple[Ascent, ...] = ()
    stop: tuple[Stop, ...] = Field((), max_length=1)
    microbatch: int | None = Field(None, ge=1)  # images a pass: gradients add up, batch norm sees a pass

    @property
    def passes(self) -> int:
        """Forward and backward passes that a gradient takes."""
        return -(-self.batch_size // self.microbatch) if self.microbatch else 1

    @property
    def gradients(self) -> int:
        """Gradients that a step takes."""
        return 1 + len(self.ascent)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits: the content hash of the resolved specification."""
        text = json.dumps(resolved(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def brief(self) -> dict[str, Any]:
        """The resolved specification as dotted paths, inner specifications as their ids."""

        def short(part: Part) -> dict[str, Any]:
            return {name: item.id if isinstance(item, Spec) else item for name, item in part.identity().items()}

        return flat(plain(self, short))

    def agree(self) -> None:
        """Raise Problem where one of the parts cannot work within this specification, or within an inner one."""
        for spec in (*upstream(self), self):
            if spec.microbatch and spec.microbatch >= spec.batch_size:
                raise Problem(f"microbatch={spec.microbatch} is not below batch_size={spec.batch_size}: leave it out")
            for part in parts(spec):
                try:
                    part.check(spec)
                except ValueError as error:
                    raise Problem(str(error)) from None

    def having(self, slot: str, part: Part) -> Self:
        """`part` in a tuple slot: in the place of one of its own kind, else last."""
        old = getattr(self, slot)
        same = [type(other) is type(part) for other in old]
        new = tuple(part if s else other for s, other in zip(same, old, strict=True)) if any(same) else (*old, part)
        return self.but(**{slot: new})


Teacher.model_rebuild()

Trick = Callable[[Spec], Spec]
_T = TypeVar("_T", bound=Callable[..., Spec])
_ABSENT = object()


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


def parts(value: Any) -> Iterator[Part]:
    """The parts that a specification holds, in order; not those of inner specifications."""
    for _, field in value:
        for item in field if isinstance(field, tuple) else (field,):
            if isinstance(item, Part) and not isinstance(item, Spec):
                yield item
                yield from parts(item)


def upstream(spec: Spec) -> tuple[Spec, ...]:
    """The specifications whose trained models this one needs, innermost first."""
    inner = [item for part in parts(spec) for _, item in part if isinstance(item, Spec)]
    return tuple(dict.fromkeys(deep for item in inner for deep in (*upstream(item), item)))


# --- the canonical form -------------------------------------------------------------------------------------------


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


def resolved(spec: Spec) -> dict[str, Any]:
    """What `id` hashes: the parts' identities, the data's digest included."""
    form: dict[str, Any] = plain(spec, lambda part: part.identity())
    return form


def shape(spec: Any) -> str:
    """The canonical form of a specification, or of a resolved one, without what its data holds: none is loaded."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(item) for name, item in value.items() if name != "digest"}
        return [bare(item) for item in value] if isinstance(value, list) else value

    if isinstance(spec, Spec):
        spec = plain(spec, lambda part: part.settings() if isinstance(part, Data) else part.identity())
    return json.dumps(bare(spec), sort_keys=True)


def parse(value: Any) -> Any:
    """The inverse of `plain`. Raises Problem where a kind is unknown, newer, or its fields do not fit."""
    if isinstance(value, list):
        return tuple(parse(item) for item in value)
    if not isinstance(value, dict):
        return value
    kinds = _kinds(Part)
    kind, version = value.get("kind"), value.get("version", 1)
    if not isinstance(kind, str) or kind not in kinds:
        raise Problem(f"unknown kind {_given(kind)}; known: {_listed(Part)}")
    if version != kinds[kind].version:
        raise Problem(f"{kind} is version {_given(version)} here, and this program knows version {kinds[kind].version}")
    fields = {name: parse(item) for name, item in value.items() if name not in ("kind", "version")}
    try:
        return kinds[kind](**fields)
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
        message = f"must be one of {_listed(due)}"
    return f"{where}: {message}, not {_given(first['input'])}" if where else message


def _given(value: Any) -> str:
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
    if value not in _kinds(wanted):
        none = "; null for none" if {Ellipsis, NoneType} & {*get_args(annotation)} else ""
        raise Problem(f"{_given(value)} is none of {_listed(wanted)}{none}")
    cls = _kinds(wanted)[value]
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


def _kinds(wanted: type[Part]) -> dict[str, type[Part]]:
    """The classes that are a `wanted`, by kind: those of the modules that were imported."""
    return {_kind(cls): cls for cls in (wanted, *_subclasses(wanted)) if not isabstract(cls)}


def _listed(wanted: type[Part]) -> str:
    return ", ".join(sorted(_kinds(wanted))) or "there is none"


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
