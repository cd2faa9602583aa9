"""The learning-rate schedule: an optional warmup, then a shape."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated

import numpy as np
from pydantic import Field

from harness import Problem
from harness.evidence import Check, Trace
from harness.spec import Part, Schedule, Spec


class Warmup(Part, ABC):
    """How the rate rises over the first `epochs`."""

    epochs: float = Field(gt=0)

    @abstractmethod
    def factor(self, step: int, steps: int) -> float:
        """The factor at `step` (from 0) of the `steps` batches that warm up."""


class Shape(Part, ABC):
    """How the rate falls after the warmup."""

    @abstractmethod
    def factor(self, step: int, warmup: int, total: int) -> float:
        """The factor at `step` (from 0) of `total` batches, the first `warmup` of which are not this shape's."""


class Step(Shape):
    """Divide by 10 at fractions of training: the paper's 30, 60 and 90 of 120 epochs, warmup included.

    With `at=()` the rate is constant.
    """

    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5, 0.75)
    by: float = Field(0.1, gt=0, lt=1)

    def factor(self, step: int, warmup: int, total: int) -> float:
        return self.by ** bisect_right(self.at, step / total)

    def reference(self, step: int, warmup: int, total: int) -> float:
        """A cut at each part of training that is behind."""
        factor = 1.0
        for at in self.at:
            factor *= self.by if step >= at * total else 1.0
        return factor

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        assert isinstance(spec.schedule, Piecewise)
        peak, warmup = spec.optimizer.rate(spec.batch_size), spec.schedule.warmup
        total = spec.epochs * trace.steps_per_epoch
        first = round(warmup.epochs * trace.steps_per_epoch) if warmup else 0
        passed = [sum(step / total >= at for at in self.at) for step in range(first, len(trace.lr))]
        off = max((abs(lr - peak * self.by**n) for lr, n in zip(trace.lr[first:], passed, strict=True)), default=0.0)
        cuts = f"cut by {self.by:g} {len(self.at)} times, at {', '.join(f'{at:g}' for at in self.at)} of training"
        what = f"largest gap from a rate {cuts if self.at else 'that is constant'}"
        yield Check(what, "0", f"{off:.2g}", off <= 1e-9 * peak)


class Poly(Shape):
    """(1 - t/T)^power at batch t of T, both counted with the warmup (Liu et al. 2015, "ParseNet"; DeepLab's 0.9)."""

    power: float = Field(0.9, gt=0)

    def factor(self, step: int, warmup: int, total: int) -> float:
        return math.pow(1 - step / total, self.power)

    def reference(self, step: int, warmup: int, total: int) -> float:
        """By its logarithm."""
        return math.exp(self.power * (math.log(total - step) - math.log(total)))

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        assert isinstance(spec.schedule, Piecewise)
        peak, warmup = spec.optimizer.rate(spec.batch_size), spec.schedule.warmup
        total = spec.epochs * trace.steps_per_epoch
        first = round(warmup.epochs * trace.steps_per_epoch) if warmup else 0
        used = np.array(trace.lr[first:])
        wanted = peak * np.linspace(1, 0, total, endpoint=False)[first : first + len(used)] ** self.power
        off = float(np.abs(used - wanted).max(initial=0))
        what = f"largest gap from (1 - t/T)^{self.power:g} times the peak"
        yield Check(what, "0", f"{off:.2g}", off <= 1e-9 * peak)


def reshaped(spec: Spec, shape: Shape) -> Spec:
    """`spec` with a shape that rises by itself. Raises Problem where another trick's shape is there."""
    old, name = spec.schedule.shape, type(shape).__name__  # type: ignore[attr-defined]
    if type(old) not in (Step, type(shape)):
        raise Problem(f"schedule.shape={type(old).__name__} is there already, and {name} is another: leave one out")
    return spec.but(schedule=spec.schedule.but(shape=shape))


def rises_alone(spec: Spec, shape: Shape) -> None:
    """Raise ValueError where a warmup would take the rise of such a shape."""
    if spec.schedule.warmup:  # type: ignore[attr-defined]
        raise ValueError(f"schedule.shape={type(shape).__name__} rises by itself: leave schedule.warmup out")


class Piecewise(Schedule):
    """`warmup`, if there is one, then `shape`; a trick sets one of the two and leaves the other. Slot: `schedule`."""

    warmup: Warmup | None = None
    shape: Shape = Step()

    def warmup_steps(self, steps_per_epoch: int) -> int:
        return round(self.warmup.epochs * steps_per_epoch) if self.warmup else 0

    def factor(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        warmup = self.warmup_steps(steps_per_epoch)
        if self.warmup and step < warmup:
            return self.warmup.factor(step, warmup)
        return self.shape.factor(step, warmup, epochs * steps_per_epoch)

    def reference(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """That of its warmup, then that of its shape; of one that has none, its own factor."""
        first = round(self.warmup.epochs * steps_per_epoch) if self.warmup else 0
        if self.warmup and step < first:
            grown: float = getattr(self.warmup, "reference", self.warmup.factor)(step, first)
            return grown
        shaped: float = getattr(self.shape, "reference", self.shape.factor)(step, first, epochs * steps_per_epoch)
        return shaped

    def check(self, spec: Spec) -> None:
        if self.warmup and self.warmup.epochs >= spec.epochs:
            raise ValueError(
                f"schedule.warmup.epochs={self.warmup.epochs:g} must be less than epochs={spec.epochs}: "
                "take more epochs, or a shorter warmup"
            )

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        peak = spec.optimizer.rate(spec.batch_size)
        wanted = [peak * self.factor(i, trace.steps_per_epoch, spec.epochs) for i in range(len(trace.lr))]
        off = max((abs(a - b) for a, b in zip(trace.lr, wanted, strict=True)), default=0.0)
        yield Check("largest gap between the rate used and the schedule", "0", f"{off:.2g}", off <= 1e-9 * peak)
