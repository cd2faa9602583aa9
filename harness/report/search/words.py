"""What a search came to, in sentences."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import __version__, one_line, stats
from harness.report.search.matters import Importance
from harness.report.search.read import COSTS, STATES, Trial, complete, ranked, score_of, scored, unit_of
from harness.report.search.scales import shown
from harness.report.words import METRICS, SECOND, count, together

if TYPE_CHECKING:
    pass


def best_said(trials: Sequence[Trial], metric: str = "top-1") -> str:
    done = ranked(complete(trials))
    if not done:
        return f"No trial of {len(trials)} was completed, so there is no best."
    first, unit = done[0], f" {unit_of(metric)}".rstrip()
    said = f"Trial {first.number} is the best of {count(len(done), 'complete trial')}: {score_of(first)}{unit} {metric}"
    said += f" (mean ± s.d. of {len(first.scores)} seeds)" * (not math.isnan(first.sd))
    return f"{said} on held-out training data{', optimistic as the greatest of them' * (len(done) > 1)}."


def more_said(worths: Sequence[float]) -> str:
    """Whether more trials still help, in numbers."""
    n = len(worths)
    if n < 4:
        return "Too few trials to tell whether more would help."
    half, before, last = stats.best_of_n(worths, [n // 2, n - 1, n])
    return (
        f"The expected best rises by {last - half:.2f} points from {n // 2} to {n} of the trials seen, and by "
        f"{last - before:.3f} with the last one; of trials drawn "
        "at random further ones would add less each."
    )


def matters_said(found: Sequence[Importance] | str) -> str:
    if isinstance(found, str):
        return f"What matters most is not told. {found}"
    told = [f"{one_line(row.path)} ({100 * row.share:.0f} %)" for row in found if row.resolved]
    if not told:
        return "No parameter's importance is beyond what shuffled scores give."
    return f"What matters most: {together(told[:3])} of the importance, beyond what 95 % of shuffled scores give."


def test_said(search: Mapping[str, Any]) -> str:
    """How many times the test set was looked at, and by whom."""
    tested = list(dict.fromkeys(search.get("tested") or ()))
    own = (search.get("chosen") or {}).get("spec_id")
    others = len([spec for spec in tested if spec != own])
    if not tested:
        return "The test set was not looked at."
    who = ["the chosen configuration"] * (own in tested)
    who += [f"{count(others, ('other ' if own in tested else '') + 'configuration')}"] * bool(others)
    times = {1: "once", 2: "twice"}.get(len(tested), f"{len(tested)} times")
    return f"This search looked at the test set {times}, by {together(who)}."


def chosen_said(search: Mapping[str, Any]) -> str:
    metric = scored(search)
    chosen = search.get("chosen")
    if not chosen:
        return ""
    values = ", ".join(f"{one_line(path)} = {shown(value)}" for path, value in (chosen.get("values") or {}).items())
    said = f"Trial {chosen.get('trial')}" + f": {values}" * bool(values) + "."
    if (score := chosen.get("score")) is not None:
        unit = f" {unit_of(metric)}".rstrip()
        said += f" {score:.2f}{unit} on held-out training data" + f", as {metric}" * metric.startswith("−")
        scores = list((chosen.get("test") or {}).values())
        if scores:
            mean, sd = stats.mean_sd(scores)
            spread = f" ± {sd:.2f}" * (not math.isnan(sd))
            said += f", {mean:.2f}{spread}{unit} on the test set ({count(len(scores), 'seed')})"
        said += "."
    return said


def how_said(search: Mapping[str, Any], trials: Sequence[Trial]) -> list[tuple[str, str]]:
    states = Counter(trial.state for trial in trials)
    asked = f"{search['trials']} asked; " if search.get("trials") else ""
    states_said = ", ".join(f"{states[state]} {state}" for state in STATES.values() if states[state])
    seeds = list(search.get("seeds") or ())
    share = search.get("share")
    split = f"Scored on {100 * share:g} % of the training data, held out. " if share else ""
    each = f"Each trial at seed{'s' * (len(seeds) > 1)} {together(seeds)}" if seeds else ""
    mean = ", its score the mean. " if len(seeds) > 1 else ". " * bool(each)
    own = {search["metric"]: f"validation {METRICS[search['metric']]}"} if search.get("metric") else {}
    way = "less" if search.get("better") == "lower" else "more"
    objectives = OBJECTIVES | {name: f"{what}, the {way} the better" for name, what in own.items()}
    return [
        ("Sampler", f"{search.get('sampler') or 'not told'}, seed {search.get('seed', 'not told')}"),
        ("Pruner", str(search.get("pruner") or "none")),
        ("Trials", f"{asked}{states_said}"),
        ("Split", f"{split}{each}{mean}{test_said(search)}"),
        ("Objectives", together([objectives.get(name, name) for name in search.get("objectives") or ["top1"]])),
        ("Storage", str(search.get("storage") or "in memory")),
    ]


OBJECTIVES = {name: f"validation {METRICS[name]}, the more the better" for name in SECOND}
OBJECTIVES |= {name: f"{what}, the less the better" for name, what in COSTS.items()}


def again(search: Mapping[str, Any]) -> list[str]:
    import optuna

    storage = search.get("storage")
    watch = [f"optuna-dashboard {shlex.quote(str(storage))}"] if storage else []
    made = [str(search["command"])] if search.get("command") else []
    return [*made, *watch, f"# harness {__version__}, optuna {optuna.__version__}"]
