"""Curves by epoch."""

import itertools
import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report.figures.gains import beside
from harness.report.figures.style import (
    SMALL,
    colors,
    decimal,
    frame,
    heading,
    height,
    names,
    percent,
    sharing,
    sizes,
    style,
)
from harness.report.frames import counted, headline
from harness.report.words import METRICS, SECOND, count


def by_epoch(own: pd.DataFrame, *names: str) -> pd.DataFrame:
    """What the epochs of one rung's runs tell by the first of `names` that they have: epochs (from 1) x seeds.

    nan where it is not finite.
    """
    told = [_told(run, names) for run in own["epochs"]]
    longest = max(map(len, told), default=0)
    made = np.array(list(itertools.zip_longest(*told, fillvalue=math.nan)), float).reshape(longest, len(told))
    made[~np.isfinite(made)] = math.nan
    return pd.DataFrame(made, index=range(1, longest + 1), columns=own.index)


def _told(run: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[float]:
    try:
        return list(map(itemgetter(names[0]), run))  # mostly; of 100,000 runs the other way takes seconds
    except KeyError:
        return [next((epoch[name] for name in names if name in epoch), math.nan) for epoch in run]


def told_as(score: str) -> tuple[str, str]:
    """What an epoch calls a metric: by the second name where images are held out, to stop by."""
    return score, f"val_{score}"


def panels(score: str) -> tuple[dict[str, tuple[str, ...]], ...]:
    """The rows of panels, and what an epoch calls what they show; the last is that of the headline metric.

    Of training images a task may tell the metric beside it, as pixel accuracy beside mIoU.
    """
    test, trained = f"test {METRICS[score]} (%)", {f"training {METRICS[score]} (%)": (f"train_{score}",)}
    if score != "top1":
        trained[f"training {METRICS[SECOND[score]]} (%)"] = (f"train_{SECOND[score]}",)
    return {"training loss": ("loss",), "test loss": ("test_loss", "val_loss")}, {**trained, test: told_as(score)}


def scales(lines: Mapping[int, pd.DataFrame], kinds: Mapping[int, str]) -> list[list[int]]:
    """Places that may share a panel of training loss; the first of them is in the first list.

    `kinds` names what a rung's loss is made of, "" where nothing but the task's. Losses of one kind share a panel;
    so do kinds of one scale: those whose median losses at the end are within a factor of 5 of the next kind's.
    """
    ends: dict[str, list[float]] = {}
    for place, values in lines.items():
        mean = values.mean(axis=1).dropna()
        if len(mean) and mean.iloc[-1] > 0:
            ends.setdefault(kinds.get(place, ""), []).append(float(mean.iloc[-1]))
    level = {kind: float(np.median(found)) for kind, found in ends.items()}
    order = sorted(level, key=lambda kind: level[kind])
    group, made = dict.fromkeys(set(kinds.values()) | {""}, 0), 0
    for below, kind in itertools.pairwise(order):
        made += level[kind] > 5 * level[below]
        group[kind] = made
    places: dict[int, list[int]] = {}
    for place in lines:
        places.setdefault(group[kinds.get(place, "")], []).append(place)
    return list(places.values())


@style()
def curves(
    study: str, every: pd.DataFrame, table: pd.DataFrame, kinds: Mapping[int, str] | None = None
) -> Figure | None:
    """Loss and headline metric by epoch, in training and in test, a line a rung; None where no run tells two epochs.

    Of runs that hold images out of training these are in the place of the test images. A record of a time before the
    accuracy in training was told has no panel of it. `kinds`: what the training loss of a rung is made of, by place,
    as `plans.losses` has it: losses of another kind and scale have a panel of their own.
    """
    runs, hues, labels = every[counted(every)], colors(len(table)), names(table)
    score = str(every["recorded"].iloc[0]) if "recorded" in every else headline(every)  # what epochs tell
    rows, (*_, tested) = panels(score), panels(score)[-1]
    owns = [runs[runs["place"] == place] for place in table["place"]]
    told = {what: [by_epoch(own, *words) for own in owns] for row in rows for what, words in row.items()}
    if not all(values.notna().any(axis=None) for values in told[tested]) or max(map(len, told[tested])) < 2:
        return None
    shown = [[what for what in row if any(values.notna().any(axis=None) for values in told[what])] for row in rows]
    shown = [row for row in shown if row]
    places = list(table["place"])
    apart = scales(dict(zip(places, told["training loss"], strict=True)), kinds or {})
    drawn = {what: places for row in shown for what in row}
    if "training loss" in drawn and len(apart) > 1:
        title = dict(zip(places, labels, strict=True))
        which = [", ".join(title[i] for i in own) if len(own) < 3 else count(len(own), "rung") for own in apart]
        drawn |= {f"training loss, {name}": own for name, own in zip(which, apart, strict=True)}
        parts = [what for what in drawn if what.startswith("training loss") and drawn[what] is not places]
        told |= dict.fromkeys(parts, told["training loss"])
        shown[0] = [*parts, *shown[0][1:]]
    figure = Figure(figsize=(11, len(shown) * height(len(table), 3.6)), layout="constrained")
    held = {f"val_{score}" in epoch for epochs in runs["epochs"] for epoch in epochs}
    by = " or ".join(word for word, there in (("test", False), ("held-out", True)) if there in held)
    widest = math.lcm(*map(len, shown))
    layout: Any = [[what for what in row for _ in range(widest // len(row))] for row in shown]
    longest = max(map(len, told[tested]))
    for what, axis in figure.subplot_mosaic(layout).items():
        # where the test set was not measured after each epoch, a line goes straight on to where it was
        lines = [
            values.interpolate(limit_area="inside") if values.isna().any(axis=None) else values for values in told[what]
        ]
        if "loss" in what:
            _loss_axis(axis, [values for values, place in zip(lines, places, strict=True) if place in drawn[what]])
        else:
            lines = [values.ffill() for values in lines]  # what diverged keeps its last accuracy
            _score_axis(axis, lines, owns, hues)
        for values, hue, label, place in zip(lines, hues, labels, places, strict=True):
            if place in drawn[what]:
                band(axis, values, hue, len(table), f"{label}: mean of {count(values.shape[1], 'seed')}")
        axis.set(xlabel="epoch", ylabel=what.replace("test", by))
        axis.set_xlim(1 - 0.03 * (longest - 1), longest + 0.03 * (longest - 1))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=2))
        if any(what == row[-1] for row in shown):
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


def _score_axis(axis: Axes, lines: Sequence[pd.DataFrame], owns: Sequence[pd.DataFrame], hues: Sequence[Any]) -> None:
    """All means and the last epochs of all seeds, and marks for runs that diverged."""
    means = [values.mean(axis=1) for values in lines]
    axis.set_ylim(*percent(*frame(np.concatenate([*means, *(values.iloc[-1] for values in lines)]), [])))
    for values, own, hue in zip(lines, owns, hues, strict=True):
        for run in own[own["status"] == "diverged"].itertuples():
            last = len(run.epochs)
            axis.plot([last], [values.loc[last, run.Index]], "X", color=hue, ms=7, mec="white", label="diverged")


def band(axis: Axes, values: pd.DataFrame, hue: Any, n: int, said: str | None = None) -> None:
    """The mean over the columns of `values` by its index, and their range; fainter the more bands there are.

    On a page the line says `said`.
    """
    mean = values.mean(axis=1)
    axis.fill_between(values.index, values.min(axis=1), values.max(axis=1), color=hue, alpha=min(0.2, 1.5 / n), lw=0)
    alone = "o" if mean.notna().sum() == 1 else None
    axis.plot(values.index, mean, color=hue, lw=1.6, marker=alone, label="mean", url=said)


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
