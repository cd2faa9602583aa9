"""Figures of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from harness import one_line, stats
from harness.report import figures
from harness.report.figures import HELPS, HURTS, INK, LONG, SEED, SMALL
from harness.report.search.matters import Importance
from harness.report.search.read import COSTS, Trial, axis_of, complete, ranked, unit_of
from harness.report.search.scales import Scale
from harness.report.words import count

if TYPE_CHECKING:
    pass


ACROSS, PANELS = 10, 12  # parameters that parallel coordinates, and slices, have room for


def room(worths: Sequence[float]) -> tuple[float, float]:
    """Limits of the scores: from the best down to four times as far as the better three quarters reach.

    A trial that collapsed to 10 % would leave the others no room.
    """
    x = np.asarray(worths, float)
    best = x.max()
    return figures.frame([max(x.min(), best - 4 * (best - np.quantile(x, 0.25))), best], [])


def below(axis: Axes, x: Sequence[float], worths: Sequence[float]) -> None:
    """An arrow at the edge for each that is beyond the frame."""
    low = axis.get_ylim()[0]
    out = [at for at, worth in zip(x, worths, strict=True) if worth < low]
    if out:  # an empty line that is not clipped has no box, and leaves no layout
        axis.plot(out, [low] * len(out), "v", ms=6, color=SEED, clip_on=False, zorder=4, label="_below")


def dots(axis: Axes, trials: Sequence[Trial], x: Mapping[int, float]) -> None:
    """Scores at x by trial number: complete ones filled, pruned ones hollow at what they reached, the best in blue."""
    best = ranked(trials)[0]
    for kind, face in (("complete", SEED), ("pruned", "none")):
        own = [trial for trial in trials if trial.number in x and trial.state == kind and trial.worth == trial.worth]
        if own:
            at, worths = [x[trial.number] for trial in own], [trial.worth for trial in own]
            said = "pruned, at what it last reported" if kind == "pruned" else "complete"
            axis.scatter(at, worths, s=30, facecolors=face, edgecolors="0.35", lw=0.9, zorder=3, label=said)
            below(axis, at, worths)
    if best.number in x and not math.isnan(best.score):
        axis.plot([x[best.number]], [best.score], "o", ms=8, color=HELPS, mec="white", zorder=5, label="_best")


@figures.style()
def history(label: str, trials: Sequence[Trial], metric: str = "top-1") -> Figure | None:
    """Scores in the order of the trials, and the best so far; None where nothing was scored."""
    scored = [trial for trial in trials if not math.isnan(trial.worth)]
    if not scored:
        return None
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axis = figure.subplots()
    axis.set_ylim(*room([trial.worth for trial in scored]))
    axis.set_xlim(-0.02 * len(trials) - 0.5, 1.02 * len(trials) - 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    dots(axis, scored, {trial.number: float(trial.number) for trial in scored})
    for trial in complete(trials):
        axis.plot([trial.number] * len(trial.scores), trial.scores, "_", ms=5, color=SEED, zorder=2, label="_seeds")
    failed = [trial.number for trial in trials if trial.state == "failed"]
    if failed:
        low = axis.get_ylim()[0]
        cross: dict[str, Any] = {"ms": 8, "color": HURTS, "mec": "white", "clip_on": False, "zorder": 4}
        axis.plot(failed, [low] * len(failed), "X", label="failed", **cross)
    done = complete(trials)
    if done:
        so_far = np.maximum.accumulate([trial.score for trial in done])
        x, y = [*(trial.number for trial in done), len(trials) - 1], [*so_far, so_far[-1]]
        axis.step(x, y, where="post", color=HELPS, lw=1.8, label="best so far")
    axis.set(xlabel="trial", ylabel=axis_of(metric))
    axis.legend(loc="lower right", fontsize=SMALL, framealpha=0.9)
    if done:
        best = ranked(done)[0]
        told = [f"best: {best.score:.2f}, trial {best.number}"]
        figures.beside(axis, [(len(trials) - 1, best.score)], told, [HELPS])
    figures.heading(figure, label, "trials in their order")
    return figure


def hue(share: float) -> Any:
    """From light, the worst, to dark: even to eyes that see no colours."""
    return colormaps["viridis"](0.9 * (1 - share))


@figures.style()
def parallel(label: str, trials: Sequence[Trial], space: Sequence[Scale], metric: str = "top-1") -> Figure | None:
    """A line a complete trial through its values to its score; None without two parameters and two trials."""
    done = ranked(complete(trials))
    if len(done) < 2 or len(space) < 2:
        return None
    low, high = room([trial.score for trial in done])
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.15, len(space) + 0.35), ylim=(-0.04, 1.04), yticks=[])
    rng = np.random.default_rng(0)
    for trial in reversed(done):
        share = max(0.0, (trial.score - low) / (high - low))
        height: list[float | None] = []
        for own in space:
            at = own.at(own.number(trial.values[own.path])) if own.path in trial.values else None
            if at is not None and own.choices:  # apart, that lines through one choice can be told
                at += 0.5 / len(own.choices) * rng.uniform(-0.5, 0.5)
            height.append(at)
        first = trial is done[0]
        path = _threaded([*height, share])
        line = {"lw": 2.6 if first else 1.3, "alpha": 1.0 if first else 0.75, "zorder": 3 if first else 2}
        axis.add_patch(PathPatch(path, facecolor="none", edgecolor=hue(share), label="trial", **line))
    white = [withStroke(linewidth=3, foreground="white")]
    ends = MaxNLocator(5).tick_values(low, high)
    marked = [*([(own.at(tick), said) for tick, said in own.ticks()] for own in space)]
    marked.append([((tick - low) / (high - low), f"{tick:g}") for tick in ends if low <= tick <= high])
    for x, marks in enumerate(marked):
        axis.plot([x, x], [0, 1], color="0.5", lw=1, zorder=4)
        for y, said in marks:
            axis.plot([x - 0.012, x + 0.012], [y, y], color="0.35", lw=1, zorder=4)
            style: dict[str, Any] = {"fontsize": SMALL, "color": INK, "zorder": 5, "path_effects": white}
            axis.text(x + 0.03, y, said, va="center", **style)
    scored = [*((own.path) for own in space), axis_of(metric)]
    axis.set_xticks(range(len(scored)), [_stacked(path) for path in scored], color=INK)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figures.heading(figure, label, f"{count(len(done), 'complete trial')}, the best (trial {done[0].number}) thick")
    return figure


def _threaded(heights: Sequence[float | None]) -> Curve:
    """A smooth line through a height at each x = 0, 1, ...; broken where one is missing."""
    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    for x, (before, y) in enumerate(zip([None, *heights], heights, strict=False)):
        if y is None:
            continue
        if before is None:
            points.append((x, y))
            codes.append(Curve.MOVETO)
        else:
            points += [(x - 0.6, before), (x - 0.4, y), (x, y)]
            codes += [Curve.CURVE4] * 3
    return Curve(points, codes)


def _stacked(path: str) -> str:
    """A path on up to three lines."""
    *front, last = one_line(path, LONG).split(".")
    return "\n".join(filter(None, [".".join(front) + "." * bool(front), last]))


@figures.style()
def importance(label: str, rows: Sequence[Importance]) -> Figure:
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for i, row in enumerate(rows):
        face = HELPS if row.resolved else "none"
        axis.barh(i, 100 * row.share, 0.6, facecolor=face, edgecolor=HELPS, alpha=0.6, lw=1.2)
        axis.plot([100 * row.chance] * 2, [i - 0.36, i + 0.36], color=INK, lw=1.6, zorder=3)
        at = 100 * max(row.share, row.chance)
        axis.annotate(f"{100 * row.share:.0f} %", (at, i), (6, 0), textcoords="offset points", va="center", color=INK)
    axis.set(xlabel="share of the importance (%)", yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticklabels([one_line(row.path, LONG) for row in rows], color=INK)
    axis.set_xlim(0, 112 * max(max(row.share, row.chance) for row in rows))
    axis.grid(axis="y", visible=False)
    figures.heading(figure, label, "what the best trials share (hollow: within chance, whose 95 % is the black line)")
    return figure


@figures.style()
def slices(label: str, trials: Sequence[Trial], space: Sequence[Scale], metric: str = "top-1") -> Figure | None:
    """Scores against each parameter, a panel each; None where nothing was scored."""
    scored = [trial for trial in trials if not math.isnan(trial.worth)]
    if not scored or not space:
        return None
    rows = math.ceil(len(space) / 4)
    wide = math.ceil(len(space) / rows)
    figure = Figure(figsize=(11, 0.6 + 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, wide, sharey=True, squeeze=False)
    axes[0, 0].set_ylim(*room([trial.worth for trial in scored]))
    rng = np.random.default_rng(0)
    for own, axis in zip(space, axes.flat, strict=False):
        x = {t.number: own.number(t.values[own.path]) for t in scored if own.path in t.values}
        if own.choices:
            x = {number: at + rng.uniform(-0.2, 0.2) for number, at in x.items()}  # apart, that they can be counted
            axis.set_xlim(-0.5, len(own.choices) - 0.5)
        elif own.log:
            axis.set_xscale("log")
        ticks = own.ticks(4)
        crowded = sum(len(said) for _, said in ticks) > 22
        axis.set_xticks([tick for tick, _ in ticks], [said for _, said in ticks])
        axis.set_xticks([], minor=True)
        axis.tick_params(axis="x", labelrotation=30 * crowded, labelsize=SMALL)
        if not own.choices and own.high > own.low:
            axis.set_xlim(*_around(own))
        dots(axis, scored, x)
        axis.set_xlabel(_stacked(own.path), color=INK)
    for axis in axes[:, 0]:
        axis.set_ylabel(axis_of(metric))
    for axis in axes.flat[len(space) :]:
        axis.set_visible(False)
    figures.heading(figure, label, "scores by each parameter (blue: the best trial, hollow: pruned)")
    return figure


def _around(own: Scale) -> tuple[float, float]:
    """Its range and 4 % on either side."""
    low, high = (math.log(end) if own.log else end for end in (own.low, own.high))
    spare = 0.04 * (high - low)
    return (math.exp(low - spare), math.exp(high + spare)) if own.log else (low - spare, high + spare)


def pool(trials: Sequence[Trial]) -> list[float]:
    """What a draw of a trial is worth; failed ones are no draw."""
    return [trial.worth for trial in trials if not math.isnan(trial.worth)]


@figures.style()
def best_of_n(label: str, worths: Sequence[float], metric: str = "top-1") -> Figure | None:
    """The expected best of n trials, and the interval of the median best; None of fewer than two."""
    if len(worths) < 2:
        return None
    n = np.arange(1, len(worths) + 1)
    best, (low, high) = stats.best_of_n(worths, n), stats.best_of_n_interval(worths, n)
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axis = figure.subplots()
    seen = [*best, *low[np.isfinite(low)], *high[np.isfinite(high)]]
    bottom, top = figures.frame(best, seen)
    limits = (bottom, top) if metric.startswith("−") else figures.percent(bottom, top, unit_of(metric))
    axis.set(xlim=(1 - 0.02 * len(n), 1.02 * len(n)), ylim=limits)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for where, alpha in ((np.isfinite(high), 0.18), (np.isinf(high) | np.isinf(np.roll(high, -1)), 0.07)):
        upper, lower = np.minimum(high, top), np.maximum(low, bottom)
        axis.fill_between(n, lower, upper, where=where, color=HELPS, alpha=alpha, lw=0, label="its 95 % interval")
    middle = np.quantile(worths, 0.5 ** (1 / n), method="inverted_cdf")
    axis.plot(n, middle, color=HELPS, lw=1, ls="--", label="median best")
    axis.plot(n, best, color=HELPS, lw=2.2, label="expected best")
    lines, told = axis.get_legend_handles_labels()
    axis.legend([lines[3], lines[2], lines[0]], [told[3], told[2], told[0]], loc="lower right", fontsize=SMALL)
    axis.set(xlabel="trials drawn", ylabel=f"best {axis_of(metric)}")
    figures.beside(axis, [(float(n[-1]), float(best[-1]))], [f"{best[-1]:.2f}, n = {len(n)}"], [HELPS])
    figures.heading(figure, label, "the expected best of n trials")
    return figure


@figures.style()
def front(
    label: str, trials: Sequence[Trial], best: Sequence[Trial], cost: str, metric: str = "top-1"
) -> Figure | None:
    """Scores against the second objective; `best`, the Pareto front, are joined and named."""
    done = complete(trials)
    if not best:
        return None
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axis = figure.subplots()
    axis.set_ylim(*room([trial.score for trial in done]))
    x = [trial.cost for trial in done]
    if min(x) > 0 and max(x) > 10 * min(x):
        axis.set_xscale("log")
        figures.decimal(axis.xaxis)
    axis.scatter(x, [t.score for t in done], s=26, color=SEED, alpha=0.8, lw=0, zorder=2, label="complete")
    below(axis, x, [trial.score for trial in done])
    along = sorted(best, key=lambda trial: trial.cost)
    ends = [(trial.cost, trial.score) for trial in along]
    axis.step(*np.array(ends).T, where="post", color=HELPS, lw=1.5, zorder=3, label="front")
    axis.plot(*np.array(ends).T, "o", ms=7, color=HELPS, mec="white", zorder=4, label="front")
    axis.set(xlabel=COSTS.get(cost, one_line(cost)), ylabel=axis_of(metric))
    axis.margins(x=0.05)
    for trial in along:  # above and left of the front is nothing
        axis.annotate(str(trial.number), (trial.cost, trial.score), (-5, 4), textcoords="offset points", ha="right")
    what = "accuracy" if metric == "top-1" else metric
    figures.heading(figure, label, f"{what} against cost, with the Pareto front (numbers: its trials)")
    return figure
