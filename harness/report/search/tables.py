"""Tables of a search: its space, and its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness import one_line
from harness.report import tables
from harness.report.search.read import COSTS, Trial, axis_of, score_of, state_of
from harness.report.search.scales import Scale, shown

if TYPE_CHECKING:
    pass


def space_table(space: Sequence[Scale]) -> pd.DataFrame:
    rows = []
    for own in space:
        spread = ", ".join(map(shown, own.choices)) if own.choices else f"{own.low:.6g} to {own.high:.6g}"
        stepped = own.step not in (None, 1 if own.kind == "int" else None)
        scale = "–" if own.choices else "log" if own.log else f"steps of {own.step:g}" if stepped else "linear"
        rows.append((one_line(own.path), own.kind, spread, scale))
    return pd.DataFrame(rows, columns=["path", "kind", "range", "scale"])


def trial_table(trials: Sequence[Trial], space: Sequence[Scale], cost: str, metric: str = "top-1") -> pd.DataFrame:
    """One row a trial as text; `cost` names the second objective, or is empty."""
    made: dict[str, list[str]] = {
        "trial": [str(trial.number) for trial in trials],
        axis_of(metric): [score_of(trial) for trial in trials],
    }
    if cost and cost != "seconds":
        made[COSTS.get(cost, cost)] = [_number(trial.cost) for trial in trials]
    for own in space:
        found = [trial.values.get(own.path, "–") for trial in trials]
        made[one_line(own.path)] = [shown(value) for value in found]
    made["seconds"] = [_number(trial.told.get("seconds")) for trial in trials]
    made["state"] = [state_of(trial) for trial in trials]
    return pd.DataFrame(made)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def trial_csv(trials: Sequence[Trial], space: Sequence[Scale]) -> str:
    """All trials by number, unrounded."""

    def plain(value: Any) -> Any:
        return one_line(value, 1000) if isinstance(value, str) else value

    rows = [
        {"trial": trial.number, "state": trial.state, "score": trial.score, "score_sd": trial.sd}
        | {"seeds": len(trial.scores)}
        | dict(zip(("step", "reached"), trial.reached or (None, None), strict=True))
        | {one_line(own.path): plain(trial.values.get(own.path)) for own in space}
        | {name: plain(trial.told.get(name)) for name in ("seconds", "gmacs", "spec", "why")}
        | {"takes_up": trial.retries}
        for trial in trials
    ]
    return tables.comma_separated(pd.DataFrame(rows, dtype=object))


def markdown(table: pd.DataFrame) -> str:
    safe = table.rename(columns=tables.literal)
    return tables.markdown(safe, safe.columns)
