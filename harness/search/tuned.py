"""A ladder whose every rung has values of its own, each found by as many trials: `harness.ablate --tuned N`.

A baseline that was tuned less than the rungs above it makes any trick look good.
"""

from collections.abc import Callable, Iterable
from typing import Any

from optuna.trial import TrialState

from harness import Problem
from harness.engine import Engine, Say
from harness.search.driver import run_search
from harness.search.search import Search, fitting
from harness.search.storage import opened
from harness.spec import Spec, moved
from harness.study import Plan, Rung, Study, describe, retuned, spare_seed

SHARE = 0.2  # of the training images, held out to score trials by


def searches(study: Study, plan: Plan, trials: int, sampler: str, accept_stale: bool = False) -> list[Search]:
    """One for each rung of `plan`, all alike: the same sampler, as many trials, none ended early.

    A trial is scored by a seed that no rung is trained with; what `plan` sets is not searched. Raises Problem where the
    study has no SPACE, a rung has nothing of it, or a trick changes what would be searched on both its sides.
    """
    design = [plan.design] if plan.design != "ladder" else []  # a rung's name is another's there
    settings = (*plan.settings, *design, f"{trials} trials a rung, by {sampler}")
    made = []
    for rung in plan.rungs:
        space = fitting(study, plan.rungs, rung, fixed=[text.partition("=")[0] for text in plan.settings])
        for path in undone(plan, rung, space):
            raise Problem(f"{study.name}: {rung.name} changes {path}, which tuning would undo: leave it out of SPACE")
        own = (study.name, rung, space, (spare_seed(plan),), (), trials, sampler, "none", 0, SHARE)
        made.append(Search(*own, settings=settings, accept_stale=accept_stale))
    return made


def undone(plan: Plan, rung: Rung, space: Iterable[str]) -> list[str]:
    """The paths of a rung's space that differ between the two rungs of its gain, and that both have."""
    if not rung.gain:
        return []
    above, below = (plan.rungs[place].spec for place in rung.gain)
    apart = {".".join(word for word in path.split(".") if not word[0].isupper()) for path in moved(below, above)}
    had = {path for path in space if _value(above, path) is not None and _value(below, path) is not None}
    return sorted(had & apart)


def _value(spec: Spec, path: str) -> Any:
    """What a specification has at a path; None where it has no such path, or two."""
    held: list[Any] = [spec]
    for word in path.split("."):
        inner = [getattr(item, word) for item in held if word in getattr(type(item), "model_fields", {})]
        held = [each for item in inner for each in (item if isinstance(item, tuple) else (item,))]
    return held[0] if len(held) == 1 else None


def tune(
    study: Study,
    plan: Plan,
    trials: int,
    sampler: str,
    engine: Engine,
    watched: Callable[[Search], Say],
    accept_stale: bool = False,
) -> Plan | None:
    """`plan` with each rung at the values that its own search chose; None where one was asked to stop."""
    specs, told = [], []
    for search in searches(study, plan, trials, sampler, accept_stale):
        best = run_search(search, engine, watched(search))
        if best.stopped:
            return None
        complete = opened(search).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if best.trial is None or best.spec is None or len(complete) < trials:
            came = f"{len(complete)} of {trials} trials came to their end"
            raise Problem(f"{search.rung.name}: {came}, and rungs must be tuned alike: see {search.path}")
        specs.append(best.spec)
        own: dict[str, Any] = {"search": search.label, "values": best.trial.params, "score": best.trial.value}
        told.append(own | {"pool": [trial.value for trial in complete]})
    tuned: dict[str, Any] = {"trials": trials, "sampler": sampler, "share": SHARE, "rungs": told}
    tuned["untuned"] = describe(plan, engine.store)
    words = ["--tuned", f"{trials}", *(["--sampler", sampler] if sampler != "random" else [])]
    return retuned(plan, study, specs, tuned, words)
