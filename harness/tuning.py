"""A ladder whose every rung has values of its own, each found by as many trials: `harness.ablate --tuned N`.

A baseline that was tuned less than the rungs above it makes any trick look good.
"""

from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import TrialState

from harness import Problem
from harness.search import Event, Search, fitting, run_search
from harness.store import Store
from harness.study import Plan, Study, retuned, spare_seed
from harness.trials import opened

SHARE = 0.2  # of the training images, held out to score trials by


def searches(study: Study, plan: Plan, trials: int, sampler: str) -> list[Search]:
    """One for each rung of `plan`, all alike: the same sampler, as many trials, none ended early.

    A trial is scored by a seed that no rung is trained with. Raises Problem where the study has no SPACE, or a rung has
    nothing of it.
    """
    settings = (*plan.settings, f"{trials} trials a rung, by {sampler}")
    made = []
    for rung in plan.rungs:
        space = fitting(study, plan.rungs, rung)
        own = (study.name, rung, space, (spare_seed(plan),), (), trials, sampler, "none", 0, SHARE)
        made.append(Search(*own, settings=settings))
    return made


def tune(
    study: Study,
    plan: Plan,
    trials: int,
    sampler: str,
    store: Store,
    places: Sequence[str],
    watched: Callable[[Search], Callable[[Event], None]],
) -> Plan | None:
    """`plan` with each rung at the values that its own search chose; None where one was asked to stop."""
    specs, told = [], []
    for search in searches(study, plan, trials, sampler):
        best = run_search(search, store, places, watched(search))
        if best.stopped:
            return None
        if best.trial is None or best.spec is None:
            raise Problem(f"{search.rung.name}: none of {trials} trials came to its end: see {search.path}")
        complete = opened(search).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        specs.append(best.spec)
        own: dict[str, Any] = {"search": search.label, "values": best.trial.params, "score": best.trial.value}
        told.append(own | {"pool": [trial.value for trial in complete]})
    tuned = {"trials": trials, "sampler": sampler, "share": SHARE, "untuned": plan.label, "rungs": told}
    words = ["--tuned", f"{trials}", *(["--sampler", sampler] if sampler != "random" else [])]
    return retuned(plan, study, specs, tuned, words)
