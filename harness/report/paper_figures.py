"""Figures 3 and 4 of He et al. (2019), of our runs: one panel above the other, to be read on a telephone too."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import harness.report.frames as frames
from harness import Problem, one_line
from harness.report.figures import (
    HELPS,
    HURTS,
    INK,
    SMALL,
    Array,
    band,
    by_epoch,
    frame,
    heading,
    percent,
    style,
)
from harness.report.frames import Plan
from harness.report.words import METRICS
from harness.store import Store

HUES, DASHES = (HELPS, HURTS), ("-", (0, (4, 1.5)))  # with the trick, without it; the dashes for eyes without colours
SIZE = (5.4, 7.2)
BINS = 48  # of 201 quantiles: where a distribution is dense a bin holds some ten
LONG = 30  # letters of a name: the legends keep off the lines
OUTSIDE = 0.005  # of a typical run's images, at either end, may be beyond the frame

Pair = tuple[int, int]  # places of the rungs (with the trick, without it)


def around(plan: Plan, trick: str, store: Store) -> tuple[Pair, dict[str, tuple[Any, Any]]]:
    """The first gain of `trick` of whose two rungs there are runs; and what differs, (with, without).

    Raises Problem where the study has no such gain, or has no runs of it.
    """
    number = {i for i, own in enumerate(plan["tricks"]) if own["name"] == trick}
    gains = []
    for place, rung in enumerate(plan["rungs"]):
        above, below = rung["gain"] or (place, place)
        if number & (set(plan["rungs"][above]["on"]) - set(plan["rungs"][below]["on"])):
            way = 1 if place == below else -1  # changes are towards the rung that tells them
            gains.append(((above, below), {path: tuple(two[::way]) for path, two in rung["changes"].items()}))
    label = plan["label"]
    if not gains:
        raise Problem(f"{label}: no rung whose gain is that of {trick}, whose two rungs this figure draws")
    for pair, differs in gains:
        if all(_records(plan, place, store) for place in pair):
            return pair, differs
    raise Problem(f"{label}: no finished runs to draw: {_command(plan, gains[0][0])}")


def _command(plan: Plan, pair: Pair, *more: str) -> str:
    names = [plan["rungs"][place]["name"] for place in pair[::-1]]
    return shlex.join(["python", "-m", "harness.ablate", *plan["command"], "--only", *names, *more])


def _records(plan: Plan, place: int, store: Store) -> list[dict[str, Any]]:
    rung = plan["rungs"][place]
    found = []
    for seed in rung["seeds"]:
        with suppress(Problem):  # of a damaged one, which the study's report names
            found += [store.read(rung["id"], seed)] if (rung["id"], seed) in store else []
    return found


def _title(plan: Plan, place: int) -> str:
    return one_line(plan["rungs"][place]["title"], LONG)


def _legend(axis: Axes, where: Literal["upper right", "lower right"]) -> None:
    axis.legend(loc=where, fontsize=SMALL, framealpha=0.9)


# --- figure 3: learning rates and accuracy by epoch ------------------------------------------------------------------


@style()
def schedules(plan: Plan, store: Store) -> Figure:
    """Learning rates as used, and the headline metric by epoch, with cosine decay and without it."""
    pair, differs = around(plan, "cosine", store)
    every = frames.runs(plan | {"rungs": [plan["rungs"][place] for place in pair]}, store)
    runs = every[frames.counted(every)]
    score = frames.headline(runs)
    figure = Figure(figsize=SIZE, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    shapes = differs.get("schedule.shape", ("", ""))
    finals, spans = [], []
    for i, (place, hue, dash) in enumerate(zip(pair, HUES, DASHES, strict=True)):
        own = runs[runs["place"] == i]
        told = next((run for run in own.itertuples() if isinstance(run.rates, list) and run.rates), None)
        shape = f"{one_line(shapes[i])}: " if isinstance(shapes[i], str) and shapes[i] else ""
        name = f"{shape}{_title(plan, place)}"
        if told is not None:
            steps, rate = np.array(told.rates, float).T
            upper.plot(steps / told.steps_per_epoch, rate, color=hue, ls=dash, lw=2, label=name)
        values = by_epoch(own, score).ffill()  # what diverged keeps its last accuracy
        band(lower, values, hue, 2)
        lower.lines[-1].set(linestyle=dash, label=f"{name} (n = {len(own)})")
        for run in own[own["status"] == "diverged"].itertuples():
            lower.plot(
                [len(run.epochs)], [values.loc[len(run.epochs), run.Index]], "X", color=hue, ms=8, mec="white", zorder=5
            )
        finals += list(values.to_numpy().ravel())
        spans.append(len(values))
    upper.set(ylabel="learning rate, as used", ylim=(0, None), xlim=(0, max(spans) + 0.2))
    # a point at least, so that equal accuracies are not told apart by a thousandth
    ends = percent(*frame([*finals, np.nanmax(finals) - 1], []))
    lower.set(xlabel="epoch", ylabel=f"test {METRICS[score]} (%)", ylim=ends)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    if upper.lines:
        upper.set_ylim(0, 1.25 * upper.get_ylim()[1])  # room for the names
        _legend(upper, "upper right")
    else:
        upper.text(0.5, 0.5, "no record tells its rates", transform=upper.transAxes, ha="center", color=INK)
    _legend(lower, "lower right")
    diverged = ", ×: diverged" if (runs["status"] == "diverged").any() else ""
    about = f"learning rates, and test {METRICS[score]}\nmean over seeds, band least to greatest{diverged}"
    heading(figure, plan["label"], about)
    return figure


# --- figure 4: the gap of the logits ---------------------------------------------------------------------------------


def optimal_gap(smoothing: float | Array, classes: int) -> Any:
    """log((K - 1)(1 - ε)/ε): how far the true class' logit is above the others at the optimum of Eq. 4 (Eq. 5)."""
    return np.log((classes - 1) * (1 - smoothing) / smoothing)


def density(runs: Sequence[Array], edges: Array) -> Array:
    """Of runs of as many images each, their quantiles evenly spaced from 0 to 1: the share of images in each bin.

    A share of all images, divided by the width of the bin: what is outside all bins is missing from the integral.
    """
    shares = [np.interp(edges, quantiles, np.linspace(0, 1, len(quantiles)), left=0, right=1) for quantiles in runs]
    made: Array = np.diff(np.mean(shares, axis=0)) / np.diff(edges)
    return made


@style()
def gaps(plan: Plan, store: Store) -> Figure:
    """The optimal gap by ε, and the gaps that runs with label smoothing and without have on the test images."""
    pair, differs = around(plan, "label_smoothing", store)
    path = next((path for path in differs if path.startswith("targets.") and path.endswith(".smoothing")), None)
    if path is None or not isinstance(differs[path][0], float):
        raise Problem(f"{plan['label']}: the plan does not tell ε: python -m harness.ablate makes it again")
    smoothing = differs[path][0]
    found = [_records(plan, place, store) for place in pair]
    other = [score for records in found for record in records if (score := record.get("score", "top1")) != "top1"]
    if other:
        text = f"runs scored by {METRICS[other[0]]} have no logits of an image to draw; take a study of its backbones"
        raise Problem(f"{plan['label']}: {text}")
    kept = [[record for record in records if record.get("gaps")] for records in found]
    if not all(kept):
        raise Problem(
            f"{plan['label']}: runs made before the gaps were kept have none; this trains them again: "
            f"{_command(plan, pair, '--fresh')}"
        )
    classes, tested = kept[0][0]["classes"], kept[0][0]["images"]["test"]
    figure = Figure(figsize=SIZE, layout="constrained")
    upper, lower = figure.subplots(2, 1)
    _theory(upper, smoothing, classes)
    names = [
        f"{what}: {_title(plan, place)}" for what, place in zip((f"ε = {smoothing:g}", "without"), pair, strict=True)
    ]
    _measured(lower, names, found, float(optimal_gap(smoothing, classes)))
    heading(
        figure,
        plan["label"],
        f"gaps of logits, K = {classes:,}, ε = {smoothing:g}\ngreatest logit less the mean of the others, "
        f"{tested:,} test images",
    )
    return figure


def _theory(axis: Axes, smoothing: float, classes: int) -> None:
    eps = np.linspace(0.001, 0.999, 999)
    for many, hue, dash in zip(dict.fromkeys((classes, 1000)), ("0.15", "0.5"), DASHES, strict=False):
        at = float(optimal_gap(smoothing, many))
        axis.plot(eps, optimal_gap(eps, many), color=hue, ls=dash, lw=2, label=f"K = {many:,}")
        axis.plot([smoothing], [at], "o", color=hue, ms=7, zorder=4)
        axis.annotate(f"{at:.2f}", (smoothing, at), (8, 4), textcoords="offset points", color=INK, fontsize=SMALL + 1)
    axis.axvline(smoothing, color="0.4", lw=1, ls=":", zorder=1)
    axis.axhline(0, color="0.4", lw=1, zorder=1)
    axis.set(xlabel=f"ε (used: {smoothing:g})", ylabel="optimal gap", xlim=(0, 1))
    _legend(axis, "upper right")


def _measured(axis: Axes, names: Sequence[str], found: Sequence[Sequence[dict[str, Any]]], optimum: float) -> None:
    """Distributions over test images, all seeds of a rung together; `found` are the records of each."""
    drawn = []
    for records in found:
        told = [np.array(record["gaps"], float) for record in records if record.get("gaps")]
        drawn.append([quantiles for quantiles in told if np.isfinite(quantiles).all()])
    # limits are of the middle run: one that diverged leaves the others their room
    ends = [np.median([np.quantile(q, p) for q in runs]) for runs in drawn if runs for p in (OUTSIDE, 1 - OUTSIDE)]
    low, high = min([optimum, *ends]), max([optimum, *ends])
    room = 0.04 * (high - low or 1.0)
    edges = np.linspace(low - room, high + room, BINS + 1)
    beyond, left = 0.0, 0
    for name, records, runs, hue, dash in zip(names, found, drawn, HUES, DASHES, strict=True):
        left += len(records) - len(runs)
        of = f" of {len(records)}" if len(runs) < len(records) else ""
        label = f"{name} (n = {len(runs)}{of})"
        shares = density(runs, edges) if runs else np.zeros(BINS)
        axis.stairs(shares, edges, color=hue, alpha=0.25, fill=True, label="_filled")
        axis.stairs(shares, edges, color=hue, ls=dash, lw=1.8, label=label)
        beyond = max(beyond, 1 - float((shares * np.diff(edges)).sum())) if runs else beyond
    axis.axvline(optimum, color=INK, lw=1.4, ls=":", label=f"optimum: {optimum:.2f}")
    said = [f"up to {100 * beyond:.0f} % of a line beyond the frame"] * (beyond > 3 * OUTSIDE)
    said += [f"not drawn: {left} run{'s' * (left > 1)} without finite gaps"] * bool(left)
    axis.set(xlabel="\n".join(["gap, all seeds together", *said]), ylabel="density", xlim=(edges[0], edges[-1]))
    axis.set_ylim(0, 1.45 * axis.get_ylim()[1])  # room for the names
    _legend(axis, "upper right")
