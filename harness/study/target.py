"""A plan whose rungs each train as long as it takes the mean over seeds to reach a target: `--target 94`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness import Problem, stats
from harness.spec import Spec
from harness.store import Store
from harness.study.plans import Plan, Rung, Target
from harness.study.study import Run, Study

FURTHER = 4  # times the epochs of the longest rung: so far it is looked, where nothing else is said


def told(plan: Plan) -> dict[str, Any]:
    """The target of a plan as JSON: of each rung the lengths tried, with the ids of their runs, and what was found."""
    assert plan.target
    rungs = []
    for rung, walk in zip(plan.rungs, plan.target.walks, strict=True):
        every = [*walk.tried, *([walk.due] if walk.due else [])]
        ids = [{"epochs": epochs, "id": rung.spec.but(epochs=epochs).id} for epochs in every]
        rungs.append({"tried": ids, "reached": walk.reached, "low": walk.low, "ended": walk.due is None})
    return {"score": plan.target.score, "rungs": rungs}


def aimed(plan: Plan, study: Study, score: float, longest: int | None = None) -> Plan:
    """`plan` to a target `score`, each rung at the length that it begins with.

    A study's EPOCHS say which lengths are tried: one tuple for all rungs, or for each rung, by its name, the one that
    was published. Else they are 1 to `longest`, by default four times the longest rung. Raises Problem where no length
    agrees with a rung, where the score cannot be one, and of designs whose rungs have no gains of their own.
    """
    if not 0 < score <= 100:
        raise Problem(f"--target {score:g}: a score is above 0 and at most 100 percent")
    if plan.design in ("shapley", "factorial"):
        raise Problem(f"--target goes by the gains of rungs, which --design {plan.design} has not")
    own = study.epochs
    if own and longest:
        raise Problem(f"--longest {longest}: {study.name} has EPOCHS of its own, which say what is tried")
    most = longest or FURTHER * max(rung.spec.epochs for rung in plan.rungs)
    lengths = []
    for rung in plan.rungs:
        told = own.get(rung.name, ()) if isinstance(own, Mapping) else own or range(1, most + 1)
        every = (told,) if isinstance(told, int) else tuple(told)
        if not every:
            raise Problem(f"{study.name}: EPOCHS has nothing for {rung.name}")
        lengths.append(every[_first(rung, every) :])
    start = tuple(rung.spec.epochs for rung in plan.rungs)
    words = ("--target", f"{score:g}", *(("--longest", f"{longest}") if longest else ()))
    made = replace(plan, target=Target(score, tuple(lengths), start), command=(*plan.command, *words))
    return reaching(made, None)


def _first(rung: Rung, lengths: Sequence[int]) -> int:
    """The place of the first length that the parts of a rung agree with: a warm-up must be shorter than training."""
    for place, epochs in enumerate(lengths):
        try:
            rung.spec.but(epochs=epochs).agree()
        except Problem as problem:
            why = problem
            continue
        return place
    raise Problem(f"{rung.name}: none of the lengths to try will do: {why}")


def reaching(plan: Plan, store: Store | None) -> Plan:
    """`plan` with each rung at the length that is due by what `store` has, or that it ended at. Of None: at its first.

    A rung that has not reached the target ends at the longest. Read from the store alone, so it goes on where it was.
    """
    assert plan.target
    rungs, walks = [], []
    every = zip(plan.rungs, plan.target.lengths, plan.target.start, strict=True)
    for place, (rung, lengths, start) in enumerate(every):
        walk = _walk(store, plan.target.score, rung.spec, plan.seeds_of(place), lengths, start)
        now = walk.due or walk.reached or walk.tried[-1]
        rungs.append(replace(rung, spec=rung.spec.but(epochs=now)))
        walks.append(walk)
    return replace(plan, rungs=tuple(rungs), target=replace(plan.target, walks=tuple(walks)))


def walked(plan: Plan) -> list[Run]:
    """The runs of every length that was tried or is due, and what they need first."""
    assert plan.target
    stages = [
        replace(plan, rungs=(replace(rung, spec=rung.spec.but(epochs=epochs)),), counts=(len(plan.seeds_of(place)),))
        for place, (rung, walk) in enumerate(zip(plan.rungs, plan.target.walks, strict=True))
        for epochs in (*walk.tried, *([walk.due] if walk.due else []))
    ]
    return [run for stage in stages for run in stage.runs()]


def _walk(
    store: Store | None, score: float, spec: Spec, seeds: Sequence[int], lengths: Sequence[int], start: int
) -> stats.Walk:
    def mean(epochs: int) -> float | None:
        spec_id = spec.but(epochs=epochs).id
        if store is None or any((spec_id, seed) not in store for seed in seeds):
            return None
        return stats.mean_of({seed: _scored(store.read(spec_id, seed)) for seed in seeds}, seeds)

    return stats.walk(mean, score, lengths, start)


def _scored(record: Mapping[str, Any]) -> float:
    """The headline metric of a record."""
    return float(record["metrics"][record.get("score", "top1")])
