"""Accuracy against what it costs."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from harness.report.figures.gains import beside
from harness.report.figures.style import (
    MANY,
    colors,
    decimal,
    frame,
    heading,
    names,
    percent,
    score_interval,
    sizes,
    style,
)
from harness.report.frames import counted, headline, measure
from harness.report.words import spoken

APART = 1.2  # times the least: costs that are nearer need no axis


def pareto(cost: ArrayLike, value: ArrayLike) -> list[int]:
    """The points, cheapest first, than which none is as cheap and as good and better in one; nan is no point."""
    x, y = np.asarray(cost, float), np.asarray(value, float)
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    front: list[int] = []
    for i in there[np.lexsort((-y[there], x[there]))].tolist():
        if not front or y[i] > y[front[-1]] or (x[i] == x[front[-1]] and y[i] == y[front[-1]]):
            front.append(i)
    return front


@style()
def cost(study: str, every: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """The headline metric against the seconds of training a run, and against the multiply-adds of a forward.

    The latter where rungs differ in them by a fifth and more; a linear axis starts at 0, lest what is alike look apart.
    """
    runs, n, score, by = every[counted(every)], len(table), headline(every), measure(every)
    hues, told = colors(n), names(table)
    spans = np.array([score_interval(runs, place) for place in table["place"]])
    least, most = table["gmacs"].min(), table["gmacs"].max()
    unit, factor = ("GFLOPs", 1) if most >= 0.1 else ("MFLOPs", 1000)
    costs = [(table["seconds_per_epoch"] * table["epochs"], "seconds of training a run", "s")]
    if most >= APART * least:
        costs.append((table["gmacs"] * factor, f"{unit} of one image's forward", unit))
    figure = Figure(figsize=(11, 4 * len(costs) + 0.3), layout="constrained")
    for axis, (spent, what, short) in zip(figure.subplots(len(costs), 1, squeeze=False)[:, 0], costs, strict=True):
        x, y = spent.to_numpy(float), table[f"{score}_mean"].to_numpy(float)
        axis.set_ylim(*percent(*frame(runs[score], spans), by.unit))
        if x.min() > 0 and x.max() > 10 * x.min():
            axis.set_xscale("log")
            decimal(axis.xaxis)
        else:
            axis.set_xlim(0, 1.05 * x.max() or 1)
        front = pareto(x, -y if by.lower else y)
        axis.step(x[front], y[front], where="post", color="0.6", lw=1.4, zorder=1, label="front")
        for i, emulated in enumerate(table["emulated"]):
            if not math.isnan(spans[i][0]):
                axis.plot([x[i], x[i]], spans[i], color=hues[i], lw=1.2, alpha=0.7, zorder=2)
            mark: Any = {"marker": "s" if emulated else "o", "color": hues[i], "ms": 7, "mec": "white", "label": "rung"}
            axis.plot([x[i]], [y[i]], **mark, zorder=3, url=f"{told[i]}: {by.value(y[i])}, {x[i]:.3g} {short}")
        axis.set(xlabel=what, ylabel=by.axis + ", lower is better" * by.lower)
        shown = range(n) if n <= MANY else dict.fromkeys([0, *front])
        beside(axis, [(x[i], y[i]) for i in shown], [told[i] for i in shown], [hues[i] for i in shown])
    speed = "; squares: precision emulated, not its speed" if table["emulated"].any() else ""
    if len(costs) == 1:
        span = " to ".join(dict.fromkeys(f"{factor * each:.3g}" for each in (least, most)))
        speed += f"; {span} {unit} an image"
    heading(figure, study, spoken("accuracy against cost", score) + f", with the Pareto front ({sizes(table)}{speed})")
    return figure
