"""Accuracies and gains, every seed a dot."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from harness import one_line
from harness.report.figures.style import (
    BESIDE,
    HURTS,
    INK,
    LONG,
    SEED,
    SMALL,
    Array,
    Seeds,
    frame,
    heading,
    interval,
    names,
    percent,
    resolved,
    run_said,
    score_interval,
    sizes,
    style,
    tint,
)
from harness.report.frames import Row, counted, headline, measure, pairs_apart
from harness.report.words import TOP1, Measure, count

CROWD = 2000  # dots of one kind: more are drawn as `_crowd` does
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples lie evenly between whole numbers, however many there are


@style()
def forest(study: str, every: pd.DataFrame, table: pd.DataFrame, gains: Seeds) -> Figure:
    """The score of every seed beside mean and interval; and, where the design has gains, those of every pair."""
    runs, n, score, by = every[counted(every)], len(table), headline(every), measure(every)
    row = {place: i for i, place in enumerate(table["place"])}
    titles = dict(zip(table["place"], table["title"], strict=True))
    two = bool(table["gain"].notna().any())
    figure = Figure(figsize=(11, 1.3 + n * (0.42 if n <= 20 else 0.32)), layout="constrained")
    axes = figure.subplots(1, 1 + two, sharey=True, squeeze=False, width_ratios=(3, 2) if two else None)[0]
    spans = np.array([score_interval(runs, place) for place in table["place"]])
    axes[0].set_xlim(*percent(*frame(runs[score], spans), by.unit))
    diverged = runs["status"] == "diverged"
    for which, mark, color, size in ((~diverged, "o", SEED, 24), (diverged, "X", HURTS, 60)):
        own = runs[which & runs["place"].isin(row)]
        y = own["place"].map(row) - BESIDE / 2
        dots: dict[str, Any] = {"s": size, "marker": mark, "color": color, "label": "seeds"}
        if len(own) > CROWD:
            _crowd(axes[0], own[score], y, **dots)
            continue
        said = [
            run_said(titles[run["place"]], run, f"{by.value(run[score])}{', diverged' * (run['status'] == 'diverged')}")
            for run in own.to_dict("records")
        ]
        axes[0].scatter(own[score], y, **dots, alpha=0.7, lw=0, urls=said)
    for i, (mean, (low, high)) in enumerate(zip(table[f"{score}_mean"], spans, strict=True)):
        of = count(int(table["n"].iloc[i]), "seed")
        level = f"{table['title'].iloc[i]}: {by.value(mean)}{_between(low, high, by)}, mean of {of}"
        interval(axes[0], i + BESIDE, mean, low, high, INK, filled=True, said=level)
    axes[0].set(xlabel=by.axis + (", ×: diverged" if diverged.any() else ""), yticks=range(n))
    axes[0].set_yticklabels(names(table), color=INK)
    axes[0].set_ylim(n - 0.4, -0.6)
    if two:
        _gains(axes[1], table, {row[place]: pairs for place, pairs in gains.items() if place in row})
    for axis in axes:
        axis.grid(axis="y", visible=False)
    pairs = (
        f", gains of {sizes(table[table['gain'].notna()], 'gain_pairs').removeprefix('n = ')} pairs"
        if pairs_apart(table)
        else ""
    )
    paired = ", gains paired by seed" if two else ""
    about = f"each seed, and mean with 95 % t-interval ({sizes(table)}{pairs or paired})"
    heading(figure, study, about)
    return figure


def _gains(axis: Axes, table: pd.DataFrame, gains: Mapping[int, Sequence[tuple[int, float]]]) -> None:
    """The right half of a forest; `gains` by row."""
    dots = [(gain, i - BESIDE / 2) for i, pairs in gains.items() for _, gain in pairs]
    titles = list(table["title"])
    by = measure(table)
    x, y = np.array(dots).reshape(-1, 2).T
    axis.set_xlim(*frame([0.0, *x, *table["gain"]], table[["gain_low", "gain_high"]]))
    axis.axvline(0, color="0.4", lw=1, zorder=1)
    if len(x) > CROWD:
        _crowd(axis, x, y, s=20, color=SEED, label="pairs", marker="o")
    else:
        told = [
            f"{titles[i]}, seed {seed}: {by.gain(gain)} {by.points}".rstrip()
            for i, pairs in gains.items()
            for seed, gain in pairs
        ]
        axis.scatter(x, y, s=20, color=SEED, alpha=0.7, lw=0, label="pairs", urls=told)
    for i, (_, row) in enumerate(table.iterrows()):
        if not math.isnan(row["gain"]):
            said = row["verdict"]
            span = row["gain_low"], row["gain_high"]
            interval(axis, i + BESIDE, row["gain"], *span, tint(said), resolved(said), said=gain_said(row, by))
    better = "lower is better; " * by.lower
    axis.set_xlabel(
        f"gain ({by.points})\n{better}hollow: not resolved" if by.points else f"gain\n{better}hollow: not resolved"
    )


def _crowd(axis: Axes, x: ArrayLike, y: ArrayLike, s: float, **how: Any) -> None:
    """Dots that would cover each other: small, fainter the more there are, each row spread upward. None says its run.

    They are pixels, in PDF and SVG too: 12,500 that were drawn one by one, and said their runs, were 6 MB and 25 s.
    """
    high = BESIDE * (np.arange(np.size(x)) * GOLDEN % 1)
    most = int(np.unique(y, return_counts=True)[1].max())  # of a row
    how |= {"ls": "", "ms": math.sqrt(s) / 3, "mew": 0, "alpha": min(max(300 / most, 0.08), 0.25)}
    axis.plot(x, np.asarray(y) - high, rasterized=True, **how)


def gain_said(row: pd.Series | Row, by: Measure) -> str:
    """What the point of a gain says."""
    low, high = row["gain_low"], row["gain_high"]
    between = "" if math.isnan(low) else f" [{by.gain(low)}, {by.gain(high)}]"
    told = f"{by.gain(row['gain'])} {by.points}".rstrip()
    return f"{row['title']}: {told}{between}{', ' * bool(row['verdict'])}{row['verdict']}"


def _between(low: float, high: float, by: Measure) -> str:
    return "" if math.isnan(low) else f" [{by.bare(low)}, {by.bare(high)}]"


@style()
def effects(study: str, table: pd.DataFrame, by: Measure = TOP1) -> Figure:
    """Bars of Shapley values or factorial effects, as frames.effects has them: main effects above interactions."""
    table = table.sort_values("main", ascending=False, kind="stable")
    n = len(table)
    figure = Figure(figsize=(11, 1.3 + n * (0.42 if n <= 20 or table["aliases"].any() else 0.32)), layout="constrained")
    axis = figure.subplots()
    axis.set_xlim(*frame([0.0, *table["value"]], table[["low", "high"]]))
    for i, (_, row) in enumerate(table.iterrows()):
        said, color = row["verdict"], tint(row["verdict"])
        face = color if resolved(said) else "none"
        axis.barh(i, row["value"], 0.62, facecolor=face, edgecolor=color, alpha=0.45, lw=1.2)
        interval(axis, i, row["value"], row["low"], row["high"], color, resolved(said))
        if not math.isnan(row["order_se"]):
            order = [row["value"] - row["order_se"], row["value"] + row["order_se"]]
            axis.plot(order, [i, i], color=color, lw=5, alpha=0.6, solid_capstyle="butt", label="orders")
    axis.axvline(0, color="0.4", lw=1, zorder=1)
    split = int(table["main"].astype(bool).sum())
    if 0 < split < n:
        axis.axhline(split - 0.5, color="0.4", lw=0.8, ls=":")
    told = [[row["name"]] + [f"or {row['aliases']}"] * bool(row["aliases"]) for _, row in table.iterrows()]
    axis.set(xlabel=f"{by.of} (hollow: not resolved)", yticks=range(n), ylim=(n - 0.4, -0.6))
    axis.set_yticklabels(["\n".join(one_line(line, LONG) for line in lines) for lines in told], color=INK)
    axis.grid(axis="y", visible=False)
    orders = ", thick: ± 1 s.e. of the sampled orders" if table["order_se"].notna().any() else ""
    heading(figure, study, f"effects with 95 % intervals ({sizes(table)}{orders})")
    return figure


def apart(wanted: ArrayLike, gap: float) -> Array:
    """The heights in [0, 1] nearest to those `wanted` (least squares) that keep their order and a `gap`.

    Less the gaps below it, a height needs no more than to rise: isotonic regression, whose bounded solution is the
    free one clipped. Where n gaps have no room, they shrink.
    """
    want = np.asarray(wanted, float)
    n, order = len(want), np.argsort(want, kind="stable")
    gap = min(gap, 1 / max(n - 1, 1))
    z = want[order] - gap * np.arange(n)
    sums = np.concatenate(([0.0], z.cumsum()))
    risen = [
        max(min((sums[k + 1] - sums[j]) / (k + 1 - j) for k in range(i, n)) for j in range(i + 1)) for i in range(n)
    ]
    made = np.empty(n)
    made[order] = np.clip(risen, 0, 1 - gap * (n - 1)) + gap * np.arange(n)
    return made


def beside(axis: Axes, ends: Sequence[tuple[float, float]], told: Sequence[str], hues: Sequence[Any]) -> None:
    """Each name to the right of `axis`, clear of the others, and a thin line to its end (x, y). Set limits before."""
    axis.autoscale_view()
    if not ends:
        return
    x, y = axis.transAxes.inverted().transform(axis.transData.transform(ends)).T
    y = y.clip(0, 1)
    root: Any = axis.figure
    tall = 72 * root.get_size_inches()[1] * axis.get_position().height  # points, before the layout widens it
    out = 1.04 if len(told) <= 20 else 1.12  # many lines need a longer way to part
    for name, left, low, high, hue in zip(told, x, y, apart(y, 1.35 * SMALL / tall), hues, strict=True):
        way: dict[str, Any] = {"ls": (0, (1, 3)), "lw": 0.9}  # dotted: no line of the data is
        axis.plot([left, out - 0.01], [low, high], color=hue, transform=axis.transAxes, clip_on=False, zorder=1, **way)
        axis.text(out, high, name, transform=axis.transAxes, va="center", fontsize=SMALL, color=INK)
