"""A frame of runs: one row a run, as the store has them."""

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import pandas as pd

from harness import Problem, one_line
from harness.report.frames.measured import balance, score_by
from harness.report.words import METRICS, Measure, decimals
from harness.spec import UNPROVEN, sources
from harness.store import Store, care

Plan = dict[str, Any]
Row = dict[str, Any]
Pair = tuple[int, Row, Row]  # seed, above, below
CHECK = itemgetter("part", "what", "expected", "seen", "ok")
EMPTY = ["place", "rung", "seed", "status", "classes", "trained", "tested"]  # what a frame of no runs has


def runs(plan: Plan, store: Store) -> pd.DataFrame:
    """One row for each (rung, seed) that the store has, in the order of the plan.

    A damaged run is none: `attrs["damaged"]` has (place, seed, what is wrong) of each. Raises Problem where the runs
    have not all the same headline metric, `score`; and where the plan goes by another that they do not tell.
    """
    rows: list[Row] = []
    wrong: dict[care.Key, str] = {}
    checks: dict[tuple[object, ...], Row] = {}
    for place, seed, record in _records(plan, store, wrong):
        # what records have alike is held once: of 100,000 of them it would be most of the memory
        record["evidence"] = [checks.setdefault(CHECK(check), check) for check in record["evidence"]]
        for name in ("rates", "environment") if rows else ():
            if record.get(name) == rows[-1][name]:
                record[name] = rows[-1][name]
        rung = plan["rungs"][place]
        named = {"place": place, "rung": one_line(rung["name"]), "id": rung["id"], "seed": seed}
        rows.append(named | _flat(record))
    rows.sort(key=lambda row: int(row["place"]))
    by_score = {row["score"]: row["rung"] for row in reversed(rows)}
    if len(by_score) > 1:
        told = " and ".join(f"{rung} by {METRICS[score]}" for score, rung in by_score.items())
        raise Problem(f"{one_line(plan['label'])}: {told}: runs that are scored by different metrics are no comparison")
    score_by(plan, store, rows)
    balance(plan, store, rows)
    made = pd.DataFrame(rows, columns=None if rows else EMPTY)
    made.attrs["damaged"] = [
        (place, seed, wrong[rung["id"], seed])
        for place, rung in enumerate(plan["rungs"])
        for seed in rung["seeds"]
        if (rung["id"], seed) in wrong
    ]
    return made


@contextmanager
def _uncollected() -> Iterator[None]:
    """Records are many small values that stay: the collector would look through all of them, again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _records(plan: Plan, store: Store, wrong: dict[care.Key, str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(place, seed, record) of the runs that are finished, diverged or refused; what is `wrong` with others is told."""
    places: dict[care.Key, list[int]] = {}
    for place, rung in enumerate(plan["rungs"]):
        for seed in rung["seeds"]:
            places.setdefault((rung["id"], seed), []).append(place)
    with _uncollected():
        for key, record, what in care.records(store, places):
            if what:
                wrong[key] = what
            if record:
                yield from ((place, key[1], record) for place in places[key])


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    rates = record.get("rates")
    return {
        "status": record["status"],
        "score": record.get("score", "top1"),  # a record of before tells none
        "recorded": record.get("score", "top1"),  # what its epochs tell, whatever it is compared by
        "unit": "%",
        "lower": False,  # whether lower values are better
        **record["metrics"],
        "metrics": tuple(record["metrics"]),
        "params": record["params"],
        "gmacs": record["macs"] / 1e9,
        "seconds": record["seconds"],
        "seconds_per_epoch": record["seconds_per_epoch"],
        "emulated": record["precision"]["emulated"],
        "device": one_line(record["environment"]["device_name"]),
        "environment": record["environment"],
        "epochs": record["epochs"],
        "rates": rates,
        "steps_per_epoch": (rates[-1][0] + 1) / len(record["epochs"]) if rates else math.nan,
        "correct": record["correct"],
        "logits": record.get("logits"),  # the digest of the file of them, where it kept any
        "answers": record.get("answers", ""),  # a record of before, and one of no classification, has none
        "by_class": record.get("by_class", {}),  # a record of before, and one of classification, has none
        "tested": record["images"]["test"],
        "test_images": record["images"].get("splits", {}).get("test", ""),  # a digest; a record of before has none
        "trained": record["images"]["train"],
        "curve_images": record["images"].get("curve"),  # test images measured before the last epoch; None: all
        "classes": record.get("classes"),
        "names": record.get("names", []),
        "evidence": record["evidence"],
        "seen": record.get("seen"),
        "network": record.get("network", ""),
        "unproven": ", ".join(sorted(kind for kind, how in record.get("opinions", {}).items() if how == UNPROVEN)),
        "sources": record.get("sources", {}),
        "stale": ", ".join(sources.changed(record)),
        "record": record.get("record") or record.get("digest", ""),  # what MLflow knows it by
    }


def headline(frame: pd.DataFrame) -> str:
    """The name of the metric that a frame of runs, or of rungs, is about; "top1" of one that does not say."""
    return str(frame["score"].iloc[0]) if "score" in frame and len(frame) else "top1"


def measure(frame: pd.DataFrame) -> Measure:
    """The metric that a frame of runs, or of rungs, is about, with its unit."""
    score = headline(frame)
    if "unit" not in frame or not len(frame):
        return Measure(score)
    unit, values = str(frame["unit"].iloc[0]), frame[score if score in frame else f"{score}_mean"]
    return Measure(score, unit, bool(frame["lower"].iloc[0]), decimals(unit, values))


def worth(row: Row) -> Any:
    """The headline metric of a run, in its unit."""
    return row[row.get("score", "top1")]


def counted(every: pd.DataFrame) -> pd.Series:
    """The runs that enter a table: finished and diverged ones, not the refused."""
    return every["status"].isin(["finished", "diverged"])
