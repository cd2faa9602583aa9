"""A frame of runs beside the trained networks that they stand on: what each backbone was worth by itself."""

import math
from contextlib import suppress

import pandas as pd

from harness import Problem
from harness.report.frames.read import Plan, counted, headline
from harness.store import Store, spec_hash

COLUMNS = ["place", "seed", "backbone", "backbone_score", "backbone_value", "value"]


def backbones(plan: Plan, store: Store, every: pd.DataFrame) -> pd.DataFrame | None:
    """One row a run that has a backbone; None where no rung has one.

    `backbone` is the specification's id, `backbone_value` the headline metric of its own record at the run's seed, in
    percent, whose name is `backbone_score`; nan where that record is not here. `value` is the run's own.
    """
    good, score = every[counted(every)], headline(every)
    found = {place: backbone_of(store, plan["rungs"][place]["id"], own["seed"]) for place, own in good.groupby("place")}
    if not any(found.values()):
        return None
    rows = [
        (place, seed, found[place], *worth_of(store, (found[place], seed)), value)
        for place, seed, value in zip(good["place"], good["seed"], good[score], strict=True)
        if found[place]
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def backbone_of(store: Store, spec_id: str, seeds: pd.Series) -> str:
    """The id of the run that a specification's model stands on; "" of none, from scratch too, or where no run tells."""
    for seed in seeds:
        with suppress(Problem, AttributeError, KeyError):
            inner = store.forms(spec_id, int(seed))["resolved"]["model"].get("backbone")
            return spec_hash(inner) if inner and inner["kind"] == "Spec" else ""  # a bare network was never trained
    return ""


def worth_of(store: Store, key: tuple[str, int]) -> tuple[str, float]:
    """The headline metric of a run, by name and in percent; nan where its record is not here, or damaged."""
    with suppress(Problem):
        if key in store:
            record = store.read(*key)
            score = str(record.get("score", "top1"))
            return score, float(record["metrics"][score])
    return "top1", math.nan


def beside_backbones(plan: Plan, store: Store, every: pd.DataFrame) -> pd.DataFrame:
    """`every` with the top-1 of the backbone that each run stands on, as `top1`; as it was where there is none."""
    found = backbones(plan, store, every)
    if found is None or headline(every) == "top1":
        return every
    own = found[found["backbone_score"] == "top1"].set_index(["place", "seed"])["backbone_value"]
    keys = zip(every["place"], every["seed"], strict=True)
    return every.assign(top1=[own.get(key, math.nan) for key in keys])
