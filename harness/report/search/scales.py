"""A parameter's values on an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import LogLocator, MaxNLocator

from harness import one_line
from harness.report.figures import LONG
from harness.report.search.read import Trial

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Scale:
    """One parameter's range, that of all trials together, on which a value has a place in [0, 1]."""

    path: str
    kind: str
    low: float
    high: float
    log: bool
    step: float | None
    choices: tuple[Any, ...]
    own: optuna.distributions.BaseDistribution

    def number(self, value: Any) -> float:
        """The value itself, or the index of a choice."""
        return float(self.own.to_internal_repr(value))

    def at(self, number: float) -> float:
        if self.choices:
            return (number + 0.5) / len(self.choices)
        low, high, x = (math.log(end) if self.log else end for end in (self.low, self.high, number))
        return (x - low) / (high - low) if high > low else 0.5

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """(number, text) of each."""
        if self.choices:
            return [(i, shown(choice, 14)) for i, choice in enumerate(self.choices)]
        even = MaxNLocator(most - 1, steps=[1, 2, 5, 10], integer=self.kind == "int")
        whole: Any = LogLocator(numticks=most) if self.log else even
        spare = 1e-9 * (self.high - self.low)  # 0.3 as 3 · 0.1 is above 0.3
        every = whole.tick_values(self.low, self.high)
        found = [float(tick) for tick in every if self.low - spare <= tick <= self.high + spare]
        if len(found) < 2:
            found = sorted({self.low, self.high})
        return [(tick, f"{tick:.4g}") for tick in found]


def scales(trials: Sequence[Trial]) -> list[Scale]:
    """One a parameter, in the order in which trials first had it."""
    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for path, own in trial.space.items():
            seen.setdefault(path, []).append(own)
    made = []
    for path, every in seen.items():
        last = every[-1]
        choices = tuple(getattr(last, "choices", ()))
        low, high = (0, len(choices)) if choices else (min(d.low for d in every), max(d.high for d in every))
        kind = "categorical" if choices else "int" if type(last).__name__.startswith("Int") else "float"
        log, step = bool(getattr(last, "log", False)), getattr(last, "step", None)
        made.append(Scale(path, kind, float(low), float(high), log, step, choices, last))
    return made


def shown(value: Any, longest: int = LONG) -> str:
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value), longest)
