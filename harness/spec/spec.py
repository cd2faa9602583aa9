"""A run's specification: slots that hold frozen parts, and its id.

A `Spec` has one field a *slot*; each slot holds a part, a tuple of parts (applied in order; `()` is the identity) or a
number. `Spec.id` is a hash of the resolved specification as canonical JSON. Empty fields are left out, so a new neutral
slot moves no id; every other value is in, so a changed default moves them all. A part whose meaning changes bumps its
`version`. The data's content digest is part of it; where the data lies, the seed, the device and the workers are not.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field

from harness import Problem
from harness.spec.canonical import flat, plain, resolved
from harness.spec.part import Flag, Part
from harness.spec.slots import (
    Ascent,
    Augment,
    Average,
    Clip,
    Compiler,
    Data,
    Decay,
    Evaluation,
    Init,
    Loss,
    Mix,
    Model,
    Optimizer,
    Precision,
    Rates,
    Resolution,
    Sampler,
    Schedule,
    Stop,
    Targets,
    Task,
)

if TYPE_CHECKING:
    import numpy as np

Ranks = Annotated[int, Field(ge=1), AfterValidator(lambda n: None if n == 1 else n)]  # one process is what None means
UPSTREAM_SEED = 0  # the one seed of runs that others build on, such as a teacher: trained once, shared by all


class Teacher(Part, ABC):
    """A run that is trained first, and whose network has a part in the loss: `spec` is that run's."""

    spec: Spec

    @abstractmethod
    def bind(self, inner: Any, passes: int) -> Any:
        """The extra loss, given the trained inner run (`harness.evidence.Upstream`): called `passes` times a step,
        on (images, logits).

        It has `model`, and `first_answers`, its logits at each pass of step 1; `state` and `restore`.
        """

    @abstractmethod
    def reference(self, z: np.ndarray, r: np.ndarray) -> tuple[float, np.ndarray]:
        """That loss and its gradient by the student's logits `z`, from these and the teacher's, both N x K, float64."""


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
    task: Task | None = None  # None is classification
    loss: Loss | None = None  # None is the task's own
    rates: Rates | None = None
    clip: tuple[Clip, ...] = Field((), max_length=1)
    average: tuple[Average, ...] = Field((), max_length=1)
    sampler: Sampler | None = None
    evaluation: Evaluation | None = None
    resolution: tuple[Resolution, ...] = Field((), max_length=1)
    stop: tuple[Stop, ...] = Field((), max_length=1)
    compiler: Compiler | None = None
    microbatch: int | None = Field(None, ge=1)  # images a pass: gradients add up, batch norm sees a pass
    ranks: Ranks | None = None  # processes that share each pass: other roundings, and dropout draws of each one's own
    sync_norms: Flag | None = None  # batch norm sees the shares of all ranks; else its own, and statistics are averaged

    @property
    def passes(self) -> int:
        """Forward and backward passes that a gradient takes."""
        return -(-self.batch_size // self.microbatch) if self.microbatch else 1

    @property
    def gradients(self) -> int:
        """Gradients that a step takes."""
        return 1 + len(self.ascent)

    @property
    def places(self) -> int:
        """Processes that train it, each in a place, or on a GPU, of its own."""
        return self.ranks or 1

    def frozen(self, name: str) -> bool:
        """Whether a parameter of its network, by its name, is never trained."""
        if self.model.frozen(name) or any(part.frozen(name) for part in self.init):
            return True
        return self.rates is not None and self.rates.frozen(name)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits: the content hash of the resolved specification."""
        text = json.dumps(resolved(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def inner(self) -> tuple[tuple[Spec, bool], ...]:
        """The specifications that its parts hold, and whether the part is `paired`; found once, a plan asks often."""
        return tuple((item, part.paired) for part in parts(self) for _, item in part if isinstance(item, Spec))

    @cached_property
    def shape(self) -> str:
        """The canonical form, without what its data holds: none is loaded."""
        return json.dumps(bare(plain(self, unloaded)), sort_keys=True)

    @cached_property
    def outline(self) -> dict[str, Any]:
        """As dotted paths, without what its data holds, and inner specifications as their shapes."""

        def short(part: Part) -> dict[str, Any]:
            return {name: item.shape if isinstance(item, Spec) else item for name, item in unloaded(part).items()}

        return flat(plain(self, short))

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
            for name in ("batch_size", "microbatch"):
                size = getattr(spec, name) or 0
                if size % spec.places:
                    raise Problem(f"{name}={size} cannot be shared evenly by ranks={spec.ranks}: take a multiple of it")
            if spec.sync_norms and not spec.ranks:
                raise Problem("sync_norms is for several processes a run: set ranks too, or leave it out")
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

    def alone(self, slot: str, part: Part) -> Self:
        """`part` in a slot that has room for one. Raises Problem where one of another kind is there."""
        old = getattr(self, slot)
        several = isinstance(old, tuple)
        there = next((other for other in (old if several else (old,)) if other is not None), None)
        if there is not None and type(there) is not type(part):
            mine, other = type(part).__name__, type(there).__name__
            raise Problem(f"{slot} has {other}, and there is room for one: leave out {mine}, or {other}")
        return self.but(**{slot: (part,) if several else part})


Teacher.model_rebuild()


def parts(value: Any) -> Iterator[Part]:
    """The parts that a specification holds, in order; not those of inner specifications."""
    for _, field in value:
        for item in field if isinstance(field, tuple) else (field,):
            if isinstance(item, Part) and not isinstance(item, Spec):
                yield item
                yield from parts(item)


def unloaded(part: Part) -> dict[str, Any]:
    """What decides of a part what a run computes, but for what data holds."""
    return part.settings() if isinstance(part, Data) else part.identity()


def bare(value: Any) -> Any:
    """A plain form without what its data holds."""
    if isinstance(value, dict):
        return {name: bare(item) for name, item in value.items() if name != "digest"}
    return [bare(item) for item in value] if isinstance(value, list) else value


def upstream(spec: Spec) -> tuple[Spec, ...]:
    """The specifications whose trained models this one needs, innermost first."""
    inner = [item for part in parts(spec) for _, item in part if isinstance(item, Spec)]
    return tuple(dict.fromkeys(deep for item in inner for deep in (*upstream(item), item)))


def needed(spec: Spec, seed: int) -> tuple[tuple[Spec, int], ...]:
    """The runs, (specification, seed), that a run of `spec` at `seed` needs first, innermost first, each once.

    Below a part that is `paired`, such as a detector with its backbone, they have the run's own seed, so that what is
    paired by seed is paired all the way down. Below any other, such as a teacher, they have `UPSTREAM_SEED`: the
    teacher of a backbone of seed 3 is of seed 0.
    """
    first = [(item, seed if paired else UPSTREAM_SEED) for item, paired in spec.inner]
    return tuple(dict.fromkeys(deep for run in first for deep in (*needed(*run), run)))
