"""Runs by another metric than their records are about, `--metric`; and balanced accuracy of uneven test sets."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from harness import Problem, metrics, one_line, stats
from harness.report.words import together
from harness.store import Store

Plan = dict[str, Any]
Row = dict[str, Any]
NAMED = 3  # runs that an error names


def metric_of(plan: Plan) -> metrics.Metric | metrics.Told | None:
    """The metric that a plan goes by; None where that is what its records are about.

    One of the study's own is taken from its file, which is at the address that the study was run by. Raises Problem.
    """
    name = plan.get("metric") or ""
    if name in ("", *metrics.HEADLINES):
        return None
    if name in metrics.METRICS:
        return metrics.chosen(name)
    from harness import study  # torch's, which a report of other metrics need not wait for

    try:
        own = study.load(plan["command"][0]).metrics
    except Problem as problem:
        known = ", ".join(metrics.METRICS)
        raise Problem(f"--metric {one_line(name)} is none of {known}, nor of the study's own: {problem}") from None
    return metrics.chosen(name, own)


def score_by(plan: Plan, store: Store, rows: list[Row]) -> None:
    """Give each run its value of the plan's metric, and make that its score. Raises Problem where one has none."""
    name, metric = plan.get("metric") or "", metric_of(plan)
    if metric is None:
        for row in rows:
            if name and row["score"] != name:
                raise Problem(f"--metric {name}: {one_line(plan['label'])} has runs that are scored by {row['score']}")
        return
    lacking = []
    for row in rows:
        value = told(metric, row) if isinstance(metric, metrics.Told) else worked_out(name, metric, store, row)
        if value is None:
            lacking.append(f"{row['rung']} seed {row['seed']}")
        row |= {name: value, "score": name, "unit": metric.unit, "lower": metric.better == "lower"}
        row["metrics"] = (*row["metrics"], *([name] if name not in (*row["metrics"], "seconds") else []))
    if rows and all(isinstance(row[name], float) and math.isnan(row[name]) for row in rows):
        raise Problem(f"--metric {one_line(name)} gave no number for any run: nan")
    if lacking:
        what = name if isinstance(metric, metrics.Told) else "logits"
        more = [f"{len(lacking) - NAMED} more"] if len(lacking) > NAMED else []
        which = together([*lacking[:NAMED], *more])
        known = [each for each, one in metrics.METRICS.items() if isinstance(one, metrics.Told) and each != name]
        again = f"train them anew with --fresh, or take another metric: {', '.join(known)}"
        raise Problem(f"--metric {name}: the records of {which} have no {what}: {again}")


def told(metric: metrics.Told, row: Row) -> float | None:
    """What a record tells of itself; None where it does not."""
    with suppress(KeyError):
        return metric.of({"metrics": {name: row[name] for name in row["metrics"]}, "seconds": row["seconds"]})
    return None


def worked_out(name: str, metric: metrics.Metric, store: Store, row: Row) -> float | None:
    """Of the logits that a run kept; None where it kept none. Raises Problem where a study's own metric fails."""
    if row["status"] == "refused":  # it is in no number
        return math.nan
    kept = store.logits(row["id"], row["seed"]) if row["logits"] else None
    return None if kept is None else value_of(name, metric.of, *kept)


def value_of(name: str, of: Callable[[Any, Any], float], labels: Any, logits: Any) -> float:
    """What a metric gives. Raises Problem, in a line, where that is no number, or its code fails."""
    from harness.spec import blame

    try:
        return float(of(labels, logits.astype(np.float64)))
    except Exception as error:
        raise Problem(f"--metric {one_line(name)}: {blame.told(error)}") from None


def balance(plan: Plan, store: Store, rows: list[Row]) -> None:
    """Give each run its balanced accuracy where the test set is uneven and all runs tell what they answered.

    What the images are is known from the first run that kept it; what each run answered is in its record.
    """
    if not rows or any(not row["answers"] or row["tested"] != rows[0]["tested"] for row in rows):
        return
    kept = None
    for row in rows:
        if kept is None and row["logits"] and row["status"] != "refused":
            with suppress(Problem):  # damaged: another tells the same
                kept = store.logits(row["id"], row["seed"])
    if kept is None or not metrics.uneven(np.bincount(kept[0], minlength=kept[1].shape[1])):
        return
    for row in rows:
        said = stats.unpacked(row["answers"]).astype(np.int64)
        if len(said) == len(kept[0]):
            row.setdefault("balanced_accuracy", metrics.balanced(kept[0], said))
            if "balanced_accuracy" not in row["metrics"]:
                row["metrics"] = (*row["metrics"], "balanced_accuracy")
