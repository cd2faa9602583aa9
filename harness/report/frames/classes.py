"""A frame of classes: what each rung is worth on each, of runs whose records tell."""

import math

import pandas as pd

from harness import one_line, stats
from harness.report.frames.read import Plan, counted

SCORES = ("AP", "IoU")  # what a class is scored by, as records name it
COLUMNS = ["place", "rung", "title", "class", "score", "runs", "mean", "sd", "n"]


def classes(plan: Plan, every: pd.DataFrame) -> pd.DataFrame | None:
    """One row a rung and class, in the order of the plan and of names; None where no record tells of classes.

    `mean` and `sd` over the `runs` that have a number for the class, of `score`, "AP" or "IoU", in percent; nan where
    none has. `n` boxes or pixels of the test set are of it.
    """
    good = every[counted(every)]
    rows: list[tuple[object, ...]] = []
    for place, own in good.groupby("place") if "by_class" in good else ():
        told = [record for record in own["by_class"] if record]
        rung = plan["rungs"][place]
        for name in sorted(told[0], key=_order) if told else ():
            first = told[0][name]
            score = next(score for score in SCORES if score in first)
            found = [record[name] for record in told if name in record]
            values = [one[score] for one in found if not math.isnan(one[score])]
            mean, sd = stats.mean_sd(values)
            titles = one_line(rung["name"]), one_line(rung["title"])
            rows.append((place, *titles, one_line(name), score, len(values), mean, sd, first["n"]))
    return pd.DataFrame(rows, columns=COLUMNS) if rows else None


def _order(name: str) -> tuple[bool, int, str]:
    """Classes that are numbers by these: records have them as "1", "10", "11", "2"."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name
