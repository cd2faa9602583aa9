"""Frames of classes: what each rung is worth on each, and what each has of a gain, of runs whose records tell."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from harness import one_line, stats
from harness.report.frames.pairs import barred, by_seed, pairs, right_bits
from harness.report.frames.read import Plan, Row, counted

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


GAINED = ["place", "title", "class", "gain", "low", "high", "p"]
LEVEL = 0.05


def class_gains(plan: Plan, every: pd.DataFrame) -> pd.DataFrame | None:
    """What each class has of each gain: one row a rung that has a gain, and class; None where no record tells.

    In points, a mean over pairs with its 95 % t-interval; `adjusted` is p of a paired t-test after Holm over all
    classes and rungs, and `resolved` at .05. Of AP and IoU the gain on the class. Of top-1 the points of the gain that
    its images make: over all classes they add up to the gain.
    """
    at = by_seed(every)
    odd = barred(plan, at)
    paired = {place: pairs(plan, at, place) for place in sorted(at) if place not in odd}
    runs = [row for ours in paired.values() for _, *both in ours for row in both]
    if not runs:
        return None
    of_class = _scored if all(row["by_class"] for row in runs) else _answered(runs)
    if of_class is None:
        return None
    step = None if of_class is _scored else 100 / runs[0]["tested"]  # one test image
    rows: list[tuple[object, ...]] = []
    for place, ours in paired.items():
        found: dict[str, list[float]] = {}
        for _, above, below in ours:
            own, other = of_class(above), of_class(below)
            for name in (name for name in own if name in other):
                found.setdefault(name, []).append(own[name] - other[name])
        for name, values in found.items():
            told = [value for value in values if not math.isnan(value)]
            if told:
                title = one_line(plan["rungs"][place]["title"])
                rows.append((place, title, one_line(name), *stats.paired_t(told, step=step)))
    if not rows:
        return None
    made = pd.DataFrame(rows, columns=GAINED)
    made["adjusted"] = stats.holm(made["p"])
    made["resolved"] = (made["adjusted"] <= LEVEL) & (made["gain"] != 0)
    return made


def _scored(row: Row) -> dict[str, float]:
    """AP or IoU by class."""
    every = row["by_class"]
    return {
        name: next(every[name][score] for score in SCORES if score in every[name]) for name in sorted(every, key=_order)
    }


def _answered(runs: Sequence[Row]) -> Callable[[Row], dict[str, float]] | None:
    """By class, the points of top-1 that a run has there; None where records do not tell, or not of one test set.

    A record has which class each test image was said to be, and whether it was: so what any run had right tells what
    the image is. What none had right is in no gain.
    """
    if len({row["tested"] for row in runs}) > 1 or not all(row["answers"] and row["correct"] for row in runs):
        return None
    n = runs[0]["tested"]
    labels = np.full(n, -1)
    for row in runs:
        said, right = stats.unpacked(row["answers"]).astype(int), right_bits([row])[0]
        if len(said) != n or ((labels[right] >= 0) & (labels[right] != said[right])).any():
            return None
        labels[right] = said[right]
    classes = range(max(labels.max() + 1, *(row["classes"] or 0 for row in runs)))
    told = {tuple(row["names"]) for row in runs}
    names = told.pop() if len(told) == 1 else ()
    names = names if len({*names}) == len(classes) else tuple(map(str, classes))

    def points(row: Row) -> dict[str, float]:
        counts = np.bincount(labels[right_bits([row])[0]], minlength=len(classes))
        return {name: 100 * float(count) / n for name, count in zip(names, counts, strict=True)}

    return points
