"""Figures, drawn without a display: data in, a Figure out; `save` alone writes.

`every` has one row a run, `table` one row a rung. A name is text: cut to its room, and never read as a formula.
"""

import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from harness import one_line, stats
from harness.paths import write_atomic
from harness.report.frames import counted, marks, pairs_apart

Array = NDArray[np.float64]
Seeds = Mapping[int, Sequence[tuple[int, float]]]  # place -> (seed, gain) of each pair

INK, SEED, HELPS, HURTS = "0.15", "0.55", "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion
TEN = ("#222222", "#332288", "#5aa9d6", "#2a9d8f", "#117733", "#8a8a1e", "#c9a227", "#cc6677", "#882255", "#aa4499")
LONG = 40  # letters of a name: the axes keep their room
BESIDE = 0.24  # of a row: seeds above their mean, not under it
MANY = 16  # rungs: points above that are not all named, for lines to their names would hide them
SMALL = 9  # points of the letters beside lines

CAPTIONS = {  # name -> heading, what a reader must know to read it
    "ladder": (
        "Accuracy and gains",
        "Dots: seeds. Points and bars: mean with 95 % interval; an arrow where one goes on beyond the frame. Blue "
        "helps, vermilion hurts, hollow is not resolved. ×: a run that diverged; it counts.",
    ),
    "effects": (
        "Effects",
        "Points of top-1 with 95 % intervals; hollow is not resolved. A thick line, where orders were sampled: ± 1 "
        "standard error of the orders, which the interval includes.",
    ),
    "curves": (
        "Training",
        "Means over seeds; the band is from the least to the greatest seed. Left: in training, over the epoch and on "
        "images and targets as they were trained on, so not comparable between rungs that change these. Right: after "
        "the epoch, on the test images, or on those held out of training. Of top-1 the first epochs may be below the "
        "frame, and a run that diverged (×) keeps its last accuracy.",
    ),
    "rates": ("Learning rates", "As the optimizer had them at each step, read while training. A line a schedule."),
    "cost": (
        "Accuracy against cost",
        "Means with 95 % intervals; the line is the Pareto front: nothing as cheap is more accurate. Of more than 16 "
        "rungs the first and the front are named. Seconds of training a run leave out tests, and networks trained "
        "before it. Squares, if any: FP16 emulated, whose accuracy is that of half precision, and whose speed is not. "
        "GFLOPs are multiply-adds of one image's forward.",
    ),
    "tuned": (
        "Gains, untuned and tuned",
        "Means with 95 % intervals, paired by seed. Blue helps, vermilion hurts, hollow is not resolved.",
    ),
    "trials": (
        "Was it tuned enough?",
        "Held-out top-1 that the best of n of a rung's trials is expected to have. It rises ever less; where it "
        "is still steep at its end, that rung had too few. Drawn by TPE, trials depend on each other, and the line "
        "describes those seen.",
    ),
}


@contextmanager
def style() -> Iterator[None]:
    """What is drawn or saved under this looks the same everywhere: the font is matplotlib's own."""
    literal: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}  # a name is no formula
    plain: dict[Any, Any] = {"axes.edgecolor": "0.8", "grid.color": "0.9", "font.sans-serif": ["DejaVu Sans"]}
    with sns.axes_style("whitegrid"), mpl.rc_context(plain | literal | {"figure.titlesize": 11}):
        yield


@style()
def save(folder: Path, name: str, figure: Figure) -> str:
    """Write name.{png,svg}, the same bytes for the same figure; returns the SVG.

    The figure is laid out here, once. Its own `savefig` lays out and goes through all artists anew for each kind.
    """
    svg, png = io.BytesIO(), io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    figure.set_layout_engine("none")
    figure.dpi = 160
    FigureCanvasAgg(figure).print_png(png)
    for kind, made in (("svg", svg), ("png", png)):
        write_atomic(folder / f"{name}.{kind}", made.getvalue())
    return svg.getvalue().decode()


def names(table: pd.DataFrame) -> list[str]:
    return [f"{one_line(row['title'], LONG)} {marks(row)}".strip() for _, row in table.iterrows()]


def colors(n: int) -> list[Any]:
    """One a rung, in order: ten that colour-blind readers can tell apart, above that from dark to light."""
    return list(TEN[:n]) if n <= len(TEN) else [mpl.colormaps["viridis"](0.92 * i / (n - 1)) for i in range(n)]


def heading(figure: Figure, study: str, text: str) -> None:
    figure.suptitle(f"{one_line(study, LONG)}: {text}", color=INK)


def sizes(table: pd.DataFrame, of: str = "n") -> str:
    n = sorted(set(table[of]))
    return f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"


# --- points with intervals -------------------------------------------------------------------------------------------


def frame(points: ArrayLike, bounds: ArrayLike) -> tuple[float, float]:
    """Limits of an axis: all `points`, and intervals up to twice as far beyond as the points spread.

    Of two seeds an interval is 12.7 times the spread: whole, it would leave no room to see anything else.
    """
    inner, outer = (values[np.isfinite(values)] for values in (np.asarray(x, float) for x in (points, bounds)))
    low, high = inner.min(), inner.max()
    room = 2 * (high - low) or 1.0
    low, high = max(min([low, *outer]), low - room), min(max([high, *outer]), high + room)
    margin = 0.05 * (high - low or 1.0)
    return float(low - margin), float(high + margin)


def percent(low: float, high: float) -> tuple[float, float]:
    return max(low, -2), min(high, 102)


def interval(axis: Axes, y: float, at: float, low: float, high: float, color: Any, filled: bool) -> None:
    """A mean and its interval at height `y`; cut by the frame it ends in an arrow; the mean alone without one."""
    left, right = axis.get_xlim()
    if not math.isnan(low):
        axis.plot([max(low, left), min(high, right)], [y, y], color=color, lw=1.6, solid_capstyle="butt", zorder=3)
        for end, mark in ((low, "|"), (high, "|")):
            if left <= end <= right:
                axis.plot([end], [y], mark, color=color, ms=7, zorder=3)
        if low < left:
            axis.plot([left], [y], "<", color=color, ms=6, clip_on=False, zorder=3)
        if high > right:
            axis.plot([right], [y], ">", color=color, ms=6, clip_on=False, zorder=3)
    face = color if filled else "white"
    axis.plot([at], [y], "o", ms=6, color=color, mfc=face, mew=1.4, zorder=4, label="resolved" if filled else "open")


def resolved(verdict: str) -> bool:
    return verdict.startswith(("helps", "hurts"))


def tint(verdict: str) -> str:
    return HELPS if verdict.startswith("helps") else HURTS if verdict.startswith("hurts") else INK


def top1_interval(runs: pd.DataFrame, place: int) -> tuple[float, float]:
    return stats.t_interval(runs.loc[runs["place"] == place, "top1"])


@style()
def forest(study: str, every: pd.DataFrame, table: pd.DataFrame, gains: Seeds) -> Figure:
    """Top-1 of every seed beside mean and interval; and, where the design has gains, those of every pair."""
    runs, n = every[counted(every)], len(table)
    row = {place: i for i, place in enumerate(table["place"])}
    two = bool(table["gain"].notna().any())
    figure = Figure(figsize=(11, 1.3 + n * (0.42 if n <= 20 else 0.32)), layout="constrained")
    axes = figure.subplots(1, 1 + two, sharey=True, squeeze=False, width_ratios=(3, 2) if two else None)[0]
    spans = np.array([top1_interval(runs, place) for place in table["place"]])
    axes[0].set_xlim(*percent(*frame(runs["top1"], spans)))
    diverged = runs["status"] == "diverged"
    for which, mark, color, size in ((~diverged, "o", SEED, 24), (diverged, "X", HURTS, 60)):
        own = runs[which & runs["place"].isin(row)]
        y = own["place"].map(row) - BESIDE / 2
        axes[0].scatter(own["top1"], y, s=size, marker=mark, color=color, alpha=0.7, lw=0, label="seeds")
    for i, (mean, (low, high)) in enumerate(zip(table["top1_mean"], spans, strict=True)):
        interval(axes[0], i + BESIDE, mean, low, high, INK, filled=True)
    axes[0].set(xlabel="top-1 (%)" + (", ×: diverged" if diverged.any() else ""), yticks=range(n))
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
    x, y = np.array(dots).reshape(-1, 2).T
    axis.set_xlim(*frame([0.0, *x, *table["gain"]], table[["gain_low", "gain_high"]]))
    axis.axvline(0, color="0.4", lw=1, zorder=1)
    axis.plot(x, y, "o", ms=4.5, color=SEED, alpha=0.7, mew=0, label="pairs")
    for i, (_, row) in enumerate(table.iterrows()):
        if not math.isnan(row["gain"]):
            said = row["verdict"]
            interval(axis, i + BESIDE, row["gain"], row["gain_low"], row["gain_high"], tint(said), resolved(said))
    axis.set_xlabel("gain (points)\nhollow: not resolved")


@style()
def effects(study: str, table: pd.DataFrame) -> Figure:
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
    axis.set(xlabel="points of top-1 (hollow: not resolved)", yticks=range(n), ylim=(n - 0.4, -0.6))
    axis.set_yticklabels(["\n".join(one_line(line, LONG) for line in lines) for lines in told], color=INK)
    axis.grid(axis="y", visible=False)
    orders = ", thick: ± 1 s.e. of the sampled orders" if table["order_se"].notna().any() else ""
    heading(figure, study, f"effects with 95 % intervals ({sizes(table)}{orders})")
    return figure


# --- lines with names beside them ------------------------------------------------------------------------------------


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
    x, y = axis.transAxes.inverted().transform(axis.transData.transform(ends)).T
    y = y.clip(0, 1)
    root: Any = axis.figure
    tall = 72 * root.get_size_inches()[1] * axis.get_position().height  # points, before the layout widens it
    out = 1.04 if len(told) <= 20 else 1.12  # many lines need a longer way to part
    for name, left, low, high, hue in zip(told, x, y, apart(y, 1.35 * SMALL / tall), hues, strict=True):
        way: dict[str, Any] = {"ls": (0, (1, 3)), "lw": 0.9}  # dotted: no line of the data is
        axis.plot([left, out - 0.01], [low, high], color=hue, transform=axis.transAxes, clip_on=False, zorder=1, **way)
        axis.text(out, high, name, transform=axis.transAxes, va="center", fontsize=SMALL, color=INK)


def decimal(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: its own powers are formulas, which no text here is."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def height(n: int, least: float) -> float:
    """Inches of a figure with `n` names beside one axis."""
    return max(least, 1.4 + n * 1.35 * SMALL / 72 / 0.77)  # 0.77: an axis' share before the layout


def by_epoch(own: pd.DataFrame, *names: str) -> pd.DataFrame:
    """What the epochs of one rung's runs tell by the first of `names` that they have: epochs (from 1) x seeds.

    nan where it is not finite.
    """
    told = [
        [next((epoch[name] for name in names if name in epoch), math.nan) for epoch in run] for run in own["epochs"]
    ]
    longest = max(map(len, told), default=0)
    made = np.array(list(itertools.zip_longest(*told, fillvalue=math.nan)), float).reshape(longest, len(told))
    made[~np.isfinite(made)] = math.nan
    return pd.DataFrame(made, index=range(1, longest + 1), columns=own.index)


TOP1 = ("top1", "val_top1")  # what an epoch calls it: the second where images are held out, to stop by
PANELS = (
    {"training loss": ("loss",), "test loss": ("test_loss", "val_loss")},
    {"training top-1 (%)": ("train_top1",), "test top-1 (%)": TOP1},
)


@style()
def curves(study: str, every: pd.DataFrame, table: pd.DataFrame) -> Figure | None:
    """Loss and top-1 by epoch, in training and in test, a line a rung; None where no run tells its epochs.

    Of runs that hold images out of training these are in the place of the test images. A record of a time before the
    accuracy in training was told has no panel of it.
    """
    runs, hues, labels = every[counted(every)], colors(len(table)), names(table)
    owns = [runs[runs["place"] == place] for place in table["place"]]
    told = {what: [by_epoch(own, *words) for own in owns] for row in PANELS for what, words in row.items()}
    if not all(values.notna().any(axis=None) for values in told["test top-1 (%)"]):
        return None
    rows = [[what for what in row if any(values.notna().any(axis=None) for values in told[what])] for row in PANELS]
    rows = [row for row in rows if row]
    figure = Figure(figsize=(11, len(rows) * height(len(table), 3.6)), layout="constrained")
    held = {"val_top1" in epoch for epochs in runs["epochs"] for epoch in epochs}
    by = " or ".join(word for word, there in (("test", False), ("held-out", True)) if there in held)
    layout: Any = [row * (2 // len(row)) for row in rows]
    for what, axis in figure.subplot_mosaic(layout).items():
        if "loss" in what:
            lines = told[what]
            _loss_axis(axis, lines)
        else:
            lines = [values.ffill() for values in told[what]]  # what diverged keeps its last accuracy
            _top1_axis(axis, lines, owns, hues)
        for values, hue in zip(lines, hues, strict=True):
            band(axis, values, hue, len(table))
        axis.set(xlabel="epoch", ylabel=what.replace("test", by))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if any(what == row[-1] for row in rows):
            means = [values.mean(axis=1).dropna() for values in lines]
            some = [(mean, label, hue) for mean, label, hue in zip(means, labels, hues, strict=True) if len(mean)]
            ends = [(float(mean.index[-1]), float(mean.iloc[-1])) for mean, _, _ in some]
            beside(axis, ends, [label for _, label, _ in some], [hue for _, _, hue in some])
    heading(figure, study, f"by epoch: mean over seeds, band from the least to the greatest ({sizes(table)})")
    return figure


def _loss_axis(axis: Axes, lines: Sequence[pd.DataFrame]) -> None:
    means = np.concatenate([values.mean(axis=1).dropna() for values in lines])
    if len(means) and means.min() > 0 and means.max() > 10 * means.min():
        axis.set_yscale("log")
        decimal(axis.yaxis)


def _top1_axis(axis: Axes, lines: Sequence[pd.DataFrame], owns: Sequence[pd.DataFrame], hues: Sequence[Any]) -> None:
    """As high as the last epochs ask for, and marks for runs that diverged."""
    low, high = frame(np.concatenate([values.iloc[-1] for values in lines]), [])
    axis.set_ylim(*percent(low - max(high - low, 10), high))
    for values, own, hue in zip(lines, owns, hues, strict=True):
        for run in own[own["status"] == "diverged"].itertuples():
            last = len(run.epochs)
            axis.plot([last], [values.loc[last, run.Index]], "X", color=hue, ms=7, mec="white", label="diverged")


def band(axis: Axes, values: pd.DataFrame, hue: Any, n: int) -> None:
    """The mean over the columns of `values` by its index, and their range; fainter the more bands there are."""
    mean = values.mean(axis=1)
    axis.fill_between(values.index, values.min(axis=1), values.max(axis=1), color=hue, alpha=min(0.2, 1.5 / n), lw=0)
    axis.plot(values.index, mean, color=hue, lw=1.6, marker="o" if len(mean) == 1 else None, label="mean")


@style()
def rates(study: str, every: pd.DataFrame, table: pd.DataFrame) -> Figure | None:
    """Learning rates as used, a line for each schedule that differs; None where no record tells them."""
    runs = every[
        (every["status"] == "finished") & every["rates"].map(lambda used: isinstance(used, list) and bool(used))
    ]
    shared: dict[tuple, list[str]] = {}
    for place, name in zip(table["place"], names(table), strict=True):
        for _, run in runs[runs["place"] == place].head(1).iterrows():
            used = tuple((step / run["steps_per_epoch"], rate) for step, rate in run["rates"])
            shared.setdefault(used, []).append(name)
    if not shared:
        return None
    hues = colors(len(shared))
    figure = Figure(
        figsize=(11, max(3.6, 1 + 0.17 * sum(min(len(rungs), 5) + 0.5 for rungs in shared.values()))),
        layout="constrained",
    )
    axis = figure.subplots()
    dashes = itertools.cycle(("-", "--", "-.", ":"))
    lines = [
        axis.plot(*np.array(used).T, color=hue, lw=1.8, ls=dash)[0]
        for used, hue, dash in zip(shared, hues, dashes, strict=False)
    ]
    axis.set(xlabel="epoch", ylabel="learning rate", xlim=(0, None), ylim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    told = [f" {sharing(rungs)}" for rungs in shared.values()]  # one that began with _ would not be shown
    axis.legend(lines, told, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize=SMALL)
    heading(figure, study, "learning rates as used")
    return figure


def sharing(rungs: Sequence[str]) -> str:
    """Names that share a line: all, or four and how many more."""
    kept = rungs if len(rungs) <= 5 else [*rungs[:4], f"and {len(rungs) - 4} more"]
    return "\n ".join(kept)


# --- cost ------------------------------------------------------------------------------------------------------------


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
    """Top-1 against the seconds of training a run, and against the GFLOPs of a forward."""
    runs, n = every[counted(every)], len(table)
    hues, told = colors(n), names(table)
    spans = np.array([top1_interval(runs, place) for place in table["place"]])
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    costs = (
        (upper, table["seconds_per_epoch"] * table["epochs"], "seconds of training a run"),
        (lower, table["gmacs"], "GFLOPs of one image's forward"),
    )
    for axis, spent, what in costs:
        x, y = spent.to_numpy(float), table["top1_mean"].to_numpy(float)
        axis.set_ylim(*percent(*frame(runs["top1"], spans)))
        if x.min() > 0 and x.max() > 10 * x.min():
            axis.set_xscale("log")
            decimal(axis.xaxis)
        front = pareto(x, y)
        axis.step(x[front], y[front], where="post", color="0.6", lw=1.4, zorder=1, label="front")
        for i, emulated in enumerate(table["emulated"]):
            if not math.isnan(spans[i][0]):
                axis.plot([x[i], x[i]], spans[i], color=hues[i], lw=1.2, alpha=0.7, zorder=2)
            axis.plot(
                [x[i]], [y[i]], "s" if emulated else "o", color=hues[i], ms=7, mec="white", zorder=3, label="rung"
            )
        axis.set(xlabel=what, ylabel="top-1 (%)")
        axis.margins(x=0.05)
        shown = range(n) if n <= MANY else dict.fromkeys([0, *front])
        beside(axis, [(x[i], y[i]) for i in shown], [told[i] for i in shown], [hues[i] for i in shown])
    speed = "; squares: FP16 emulated, not its speed" if table["emulated"].any() else ""
    heading(figure, study, f"accuracy against cost, with the Pareto front ({sizes(table)}{speed})")
    return figure
