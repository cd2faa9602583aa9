"""The trials of a search, as its storage has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import metrics, one_line, stats
from harness.report.words import METRICS

if TYPE_CHECKING:
    import optuna


BEST, TOLD = 10, 5  # trials in the table, and in the text
ENOUGH = 10  # complete trials: of fewer, importances are noise
COSTS = {"seconds": "seconds of a trial", "gmacs": "GFLOPs of one image's forward"}
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


@dataclass(frozen=True)
class Trial:
    number: int
    state: str  # of STATES
    score: float  # nan unless complete
    cost: float  # the second objective; nan without one
    scores: tuple[float, ...]  # by seed
    reached: tuple[int, float] | None  # the last (step, value) that it reported before it was pruned
    values: Mapping[str, Any]  # by path
    space: Mapping[str, optuna.distributions.BaseDistribution]
    told: Mapping[str, Any]  # spec, seconds, gmacs, why
    retries: int | None  # the trial that it takes up again

    @property
    def sd(self) -> float:
        return stats.mean_sd(self.scores)[1] if len(self.scores) > 1 else math.nan

    @property
    def worth(self) -> float:
        """Its score; of a pruned trial what it last reported; nan of neither."""
        return self.reached[1] if self.reached else self.score


def scored(search: Mapping[str, Any]) -> str:
    """What the first objective of a search is called: of one of before, and of a study of a user's own, top-1."""
    name = [*(search.get("objectives") or ()), "top1"][0]
    if name == search.get("metric"):
        return "−" * (search.get("better") == "lower") + METRICS[name]
    return METRICS.get(name, METRICS["top1"])


UNITS = {METRICS[name]: metric.unit for name, metric in metrics.METRICS.items()}


def unit_of(metric: str) -> str:
    """The unit of a metric by its title; "" of one of a study's own."""
    return UNITS.get(metric.removeprefix("−"), "%" if metric in METRICS.values() else "")


def axis_of(metric: str) -> str:
    """What an axis, or a column, of scores is called."""
    unit = unit_of(metric)
    return f"validation {metric} ({unit})" if unit else f"validation {metric}"


def read(study: optuna.Study) -> list[Trial]:
    return [_trial(trial) for trial in study.get_trials(deepcopy=False)]


def _trial(trial: optuna.trial.FrozenTrial) -> Trial:
    values = [*(trial.values or []), math.nan, math.nan][:2] if trial.state.name == "COMPLETE" else [math.nan] * 2
    last = max(trial.intermediate_values, default=None) if trial.state.name == "PRUNED" else None
    reached = None if last is None else (last, trial.intermediate_values[last])
    retries = trial.user_attrs.get("failed_trial", trial.system_attrs.get("failed_trial"))
    return Trial(
        number=trial.number,
        state=STATES[trial.state.name],
        score=values[0] if math.isfinite(values[0]) else math.nan,
        cost=values[1],
        scores=tuple(float(score) for score in (trial.user_attrs.get("scores") or {}).values()),
        reached=reached if reached and math.isfinite(reached[1]) else None,
        values=trial.params,
        space=trial.distributions,
        told=trial.user_attrs,
        retries=retries,
    )


def complete(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if not math.isnan(trial.score)]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials from the best on, then pruned ones by what they reached, then the others; ties by number."""

    def key(trial: Trial) -> tuple[bool, bool, float, int]:
        scored = not math.isnan(trial.worth)
        return math.isnan(trial.score), not scored, -trial.worth if scored else 0.0, trial.number

    return sorted(trials, key=key)


def score_of(trial: Trial) -> str:
    if math.isnan(trial.score):
        return "–"
    return f"{trial.score:.2f}" + (f" ± {trial.sd:.2f}" if not math.isnan(trial.sd) else "")


def state_of(trial: Trial) -> str:
    why = one_line(str(trial.told.get("why") or ""))
    if trial.reached:
        why = f"at {trial.reached[1]:.2f}, step {trial.reached[0]}{'; ' * bool(why)}{why}"
    if trial.state == "complete" and math.isnan(trial.score):
        why = why or "not finite"
    again = "" if trial.retries is None else f", takes up {trial.retries}"
    return f"{trial.state}{': ' * bool(why)}{why}{again}"
