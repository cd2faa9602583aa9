"""Two sides, rung by rung: every seed of each, and what one gives over the other."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness import one_line, stats
from harness.report.figures.style import (
    CLEAR,
    INK,
    LONG,
    SEED,
    SMALL,
    frame,
    interval,
    percent,
    resolved,
    run_said,
    style,
    tint,
)
from harness.report.frames import by_seed, headline, paired, worth
from harness.report.words import METRICS

SIDES = ((0, "A", "#8a8a1e", -0.2), (1, "B", "#332288", 0.2))  # place, name, colour, height in its row


@style()
def versus(
    title: str, every: pd.DataFrame, table: pd.DataFrame, rows: Sequence[dict[str, Any]], by_pairs: bool
) -> Figure:
    """Left the score of every seed, A above B, a line between two of one seed; right B less A. One row a pair.

    `table` and `rows` are as versus.compare has them.
    """
    n, score, at = len(rows), headline(every), by_seed(every)
    alone = n == 1
    figure = Figure(figsize=(11, 3.2 if alone else 2.0 + 0.62 * n), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    values = {place: [worth(run) for run in own.values()] for place, own in at.items()}
    spans = {place: stats.t_interval(own) for place, own in values.items()}
    left.set_xlim(*percent(*frame([x for own in values.values() for x in own], [*spans.values()])))
    places = list(table["place"])
    both = {i: paired(at, (place, place - 1)) for i, place in enumerate(places)}
    for i, row in enumerate(rows):
        for _, above, below in both[i] if by_pairs else ():
            ends = [worth(below), worth(above)]
            left.plot(ends, [i + SIDES[0][3], i + SIDES[1][3]], color=SEED, lw=0.8, alpha=0.7, zorder=1, label="pair")
        for which, name, hue, shift in SIDES:
            place = places[i] - 1 + which
            own = at.get(place, {})
            said = [run_said(row[name.lower()]["name"], run, f"{worth(run):.2f} %") for run in own.values()]
            x = [worth(run) for run in own.values()]
            left.scatter(x, [i + shift] * len(x), s=22, color=hue, alpha=0.45, lw=0, zorder=2, label="seeds", urls=said)
            mean = float(np.mean(x)) if x else math.nan
            interval(left, i + 1.75 * shift, mean, *spans.get(place, (math.nan, math.nan)), hue, True)
    gains = {i: [(seed, worth(a) - worth(b)) for seed, a, b in own] for i, own in both.items()} if by_pairs else {}
    dots = [gain for own in gains.values() for _, gain in own]
    right.set_xlim(*frame([0.0, *dots, *table["gain"].dropna()], table[["gain_low", "gain_high"]]))
    right.axvline(0, color="0.4", lw=1, zorder=1)
    for i, (_, own) in enumerate(table.iterrows()):
        for seed, gain in gains.get(i, ()):
            right.scatter(
                [gain], [i - 0.2], s=20, color=SEED, alpha=0.7, lw=0, label="pairs", urls=[f"seed {seed}: {gain:+.2f}"]
            )
        if math.isnan(own["gain"]):
            continue
        hue = tint(own["verdict"])
        interval(right, i + 0.1, own["gain"], own["gain_low"], own["gain_high"], hue, resolved(own["verdict"]))
        told = f"{round(own['gain'], 2) + 0.0:+.2f}" + (
            f", {own['verdict'].partition(' (')[0]}" if own["verdict"] else ""
        )
        where: dict[str, Any] = {"xytext": (0, -8), "textcoords": "offset points", "ha": "center", "va": "top"}
        right.annotate(told, (own["gain"], i + 0.1), **where, fontsize=SMALL, color=hue, bbox=CLEAR)
    if alone:
        names = [f"{name.upper()}  {_end(rows[0][name]['name'])}" for name in ("a", "b")]
        left.set_yticks([SIDES[0][3], SIDES[1][3]], names, color=INK)
    else:
        left.set_yticks(range(n), [one_line(row["b"]["name"], LONG) for row in rows], color=INK)
        marks = [Line2D([], [], color=hue, marker="o", lw=1.6, label=name) for _, name, hue, _ in SIDES]
        left.legend(handles=marks, loc="best", fontsize=SMALL)
    left.set_ylim(n - 0.35, -0.65)
    left.set_xlabel(f"{METRICS[score]} (%)\nseeds, mean with 95 % t-interval")
    how = "pairs, mean" if by_pairs else "unpaired means"
    hollow = "" if all(resolved(verdict) for verdict in table["verdict"]) else "\nhollow: not resolved"
    right.set_xlabel(f"B less A (points)\n{how} with 95 % interval{hollow}")
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    figure.suptitle(one_line(title, 110), color=INK)
    return figure


def _end(address: str) -> str:
    """An address, cut at its beginning: what it names in a folder is at its end."""
    return address if len(address) <= LONG else f"…{address[1 - LONG :]}"
