"""One trial's life: the runs that it asks for, when it is given up, and what it comes to.

A trial is values for some slots of one specification. What it trains is a run like any other, blinded: its score is
that of training images held out, and its record is in the store, never trained twice and resumed from its checkpoint.
"""

import os
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import numpy as np
import optuna

from harness import Problem, tasks
from harness.engine import Event, Say, key, why
from harness.parts.data.holdout import blinded
from harness.paths import runs, write_all
from harness.search.search import Search
from harness.search.space import assigned, suggest
from harness.spec import Spec, needed, upstream
from harness.store import Held, Record, Store
from harness.study import Plan, Run, Rung, check, stale

Score = float | tuple[float, float]


class Failed(Problem):
    """A run of the trial failed, or cannot be made; the trial's user attribute "why" says it."""


def named_by(label: str, spec: Spec, what: str = "") -> None:
    """Note that a search asks for the runs of `spec`, and `what` that is: "trial 3".

    What nothing names is garbage, `harness.sync` sends what is named, and a database is far away.
    """
    path = runs() / "searches" / f"{label}.specs"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        write_all(file, f"\n{spec.id} {what}\n".encode())  # half of one, on a full disk, is not to be one with the next
    finally:
        os.close(file)


class _Steps:
    """Tells a trial's steps to its pruner, each once, also where the trial was begun before."""

    def __init__(self, trial: optuna.Trial, last: int) -> None:
        self.trial, self.last = trial, last
        self.told = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self.undecided = max(self.told, default=None)
        self.heard = len(trial.study.directions) == 1  # Optuna prunes no trial of two aims

    def __call__(self, step: int, score: float) -> bool:
        """Whether the pruner gives the trial up."""
        if not self.heard or (step in self.told and step != self.undecided):
            return False
        if step not in self.told:
            self.trial.report(score, step)
            self.told.add(step)
        self.undecided = None
        return step != self.last and self.trial.should_prune()


def values(search: Search, trial: optuna.Trial) -> dict[str, Any]:
    return {path: suggest(trial, path, distribution) for path, distribution in search.space.items()}


def life(search: Search, label: str, trial: optuna.Trial, store: Store, say: Say) -> Generator[Run, Event, Score]:
    """Yields the run that a trial waits for, is sent what happens to it, and returns the score.

    Raises TrialPruned where the pruner gives it up, and Failed where a run cannot be made, fails, or is refused by its
    evidence: "why" of the trial says it. One that diverged counts with its score. The specification's id is noted, and
    that this search, by its `label`, asks for it. "begun" is said, with `number` and the first `run`.
    """
    spec = search.rung.spec
    try:
        spec = blinded(assigned(spec, values(search, trial)), search.share)
        spec.agree()
        check(Plan(search.study, (Rung(f"trial {trial.number}", "", spec),), search.seeds))
        trial.set_user_attr("spec", spec.id)
        for each in (*upstream(spec), spec):
            named_by(label, each, f"trial {trial.number}" if each is spec else "upstream")
        say({"kind": "begun", "number": trial.number, "run": (spec, search.seeds[0])})
        records = yield from _trained(search, trial, spec, store)
        return _score(search, trial, records, store, spec)
    except optuna.exceptions.OptunaError:  # it was pruned, or the storage does not answer
        raise
    except Exception as error:
        trial.set_user_attr("why", text := why(error, spec))
        raise Failed(text) from error


def _trained(search: Search, trial: optuna.Trial, spec: Spec, store: Store) -> Generator[Run, Event, dict[int, Record]]:
    """The records of a trial's runs by their seeds, one run after the other, what they build on first."""
    by_seed = isinstance(trial.study.pruner, optuna.pruners.WilcoxonPruner)
    steps = _Steps(trial, search.seeds[-1] if by_seed else spec.epochs * len(search.seeds) - 1)
    records, task, aim = {}, tasks.of(spec), search.aim
    for place, seed in enumerate(search.seeds):
        for below in needed(spec, seed):  # of the first seed alone, but for a backbone, which has each
            yield from _run(search, below, store, lambda row: False)
        first = place * spec.epochs

        def prunes(row: Event, first: int = first) -> bool:
            return (
                not by_seed
                and not search.metric
                and steps(first + row["epoch"], row[aim if aim in row else task.named(aim, "val")])
            )

        records[seed] = yield from _run(search, (spec, seed), store, prunes)
        if by_seed and steps(seed, search.sign * search.value(store, spec, seed)):
            raise optuna.TrialPruned
    return records


def _run(search: Search, run: Run, store: Store, prunes: Callable[[Event], bool]) -> Generator[Run, Event, Record]:
    """The record of a run, asked for unless it is there. Raises TrialPruned where one of its epochs `prunes`."""
    if not search.accept_stale and stale([run], store):
        with suppress(Held):  # somebody else is about to
            store.set_aside(*key(run))
    if any(prunes(row) for row in _epochs(store, run)):
        raise optuna.TrialPruned
    there = key(run) in store
    while not there:
        event = yield run
        if event["kind"] == "failed":
            raise Problem(event["why"])
        if event["kind"] == "epoch" and prunes(event["at"]):
            raise optuna.TrialPruned
        there = event["kind"] == "finished" and key(run) in store
    record = store.read(*key(run))
    if any(prunes(row) for row in record["epochs"]):  # where another process trained it
        raise optuna.TrialPruned
    return record


def _epochs(store: Store, run: Run) -> list[Event]:
    """Those that an unfinished run has behind it, of one done twice the first."""
    rows = [event for event in store.events(*key(run)) if event["event"] == "epoch"] if key(run) not in store else []
    return [row for _, row in sorted({row["epoch"]: row for row in reversed(rows)}.items())]


def _score(search: Search, trial: optuna.Trial, records: dict[int, Record], store: Store, spec: Spec) -> Score:
    """The mean of what the search goes by, its negative where lower is better; with a second aim both."""
    scores = {str(seed): search.sign * search.value(store, spec, seed) for seed in records}
    costs = {
        "seconds": sum(record["seconds"] for record in records.values()),
        "gmacs": next(iter(records.values()))["macs"] / 1e9,
    }
    for name, value in {"scores": scores, **costs}.items():
        trial.set_user_attr(name, value)
    score = float(np.mean(list(scores.values())))
    return (score, costs[search.minimize]) if search.minimize else score
