"""What a search came to: the trial that is chosen, and its values on the test set."""

import json
import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from harness import Problem
from harness.engine import Engine
from harness.engine.progress import Progress
from harness.paths import write_atomic
from harness.report.words import METRICS
from harness.search.search import Search
from harness.search.space import assigned
from harness.search.storage import opened
from harness.search.trial import named_by
from harness.spec import Spec, upstream
from harness.stats import mean_sd
from harness.store import Held
from harness.study import Plan, Rung, check, missing, stale
from harness.tracking import Tracker


@dataclass(frozen=True)
class Best:
    """What a search came to."""

    described: dict[str, Any]
    trial: FrozenTrial | None  # the best; None where none is complete, and on a front of several
    spec: Spec | None  # the rung with its values, on all training images
    left: int  # trials that are still to be done
    stopped: bool  # by Ctrl-C, or SIGTERM


def choice(search: Search, study: Study) -> FrozenTrial | None:
    """The best complete trial, of equals the first; with a second aim the front, where it is one trial."""
    if search.minimize:
        front = study.best_trials
        return front[0] if len(front) == 1 else None
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def describe(search: Search, study: Study) -> dict[str, Any]:
    """The search as one JSON-ready object."""
    best = choice(search, study)
    states = [trial.state.name.lower() for trial in study.get_trials(deepcopy=False)]
    own = {"trial": best.number, "values": best.params, "score": best.values[0], "test": {}} if best else None
    return {
        "study": search.study,
        "rung": search.rung.name,
        "title": f"{search.study}, {search.rung.title}",
        "label": search.label,
        "settings": list(search.settings),
        **search.definition,
        **({"better": search.measure.better} if search.measure else {}),
        "trials": search.trials,
        "objectives": [search.aim, *([search.minimize] if search.minimize else [])],
        "storage": search.address,
        "command": f"python -m harness.search {shlex.join(search.words)}",
        "counts": {name: states.count(name) for name in ("complete", "pruned", "fail", "running", "waiting")},
        "chosen": own and {**own, "spec_id": assigned(search.rung.spec, own["values"]).id},
        "tested": study.user_attrs.get("tested", []),
    }


def tested(search: Search, best: Best, engine: Engine, tracker: Tracker) -> dict[str, Any]:
    """The described search with the test score of the chosen values, trained on all training images unless they are.

    The specifications that were so looked at are kept with the search. Stops where the engine is asked to.
    """
    assert best.spec
    store, study = engine.store, opened(search)
    plan = Plan(search.study, (Rung("chosen", "chosen values", best.spec),), search.final)
    check(plan)
    for each in (*upstream(best.spec), best.spec):
        named_by(search.label, each, "chosen" if each is best.spec else "upstream")
    for run in () if search.accept_stale else stale(plan.runs(), store):
        with suppress(Held):  # somebody else is about to
            store.set_aside(*run)
    looked = list(dict.fromkeys([*study.user_attrs.get("tested", []), best.spec.id]))
    study.set_user_attr("tested", looked)  # before: each epoch is measured, and shown
    todo = missing(plan.runs(), store)
    failed = 0
    with Progress(plan, todo, reused=len(plan.runs()) - len(todo), jobs=engine.jobs) as progress:
        for event in engine.events(todo):
            progress.see(event)
            tracker.see(event)
            failed += event["kind"] == "failed"
    if failed:  # why was said when they did
        raise Problem(f"the chosen values cannot be tested: {failed} of {len(todo)} run{'s' * (len(todo) != 1)} failed")
    had = [seed for seed in search.final if (best.spec.id, seed) in store]
    test = {str(seed): search.value(store, best.spec, seed) for seed in had}
    return {**best.described, "chosen": {**best.described["chosen"], "test": test}, "tested": looked}


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_text(search: Search, described: dict[str, Any]) -> str:
    """The chosen values, and what they came to on the test set."""
    chosen = described["chosen"]
    if not chosen:
        if search.minimize and described["counts"]["complete"]:
            return "chosen: nothing, and nothing tested: no trial of the front beats the others in both"
        return "chosen: nothing, for no trial is complete"
    values = ", ".join(f"{path}={short(value)}" for path, value in chosen["values"].items())
    lines = [f"chosen: trial {chosen['trial']}, {values}"]
    if chosen["test"]:
        mean, sd = mean_sd(list(chosen["test"].values()))
        n = len(chosen["test"])
        spread = f" ± {sd:.2f} (mean ± s.d., {n} seeds)" if n > 1 else " (1 seed)"
        lines.append(f"test:   {METRICS[search.aim]} {mean:.2f}{spread}, trained on all training images")
    return "\n".join(lines)


def remember(search: Search, described: dict[str, Any]) -> None:
    write_atomic(search.folder.with_suffix(".json"), json.dumps(described, indent=1).encode())
