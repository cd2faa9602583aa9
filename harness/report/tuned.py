"""A ladder untuned and tuned, side by side: what each rung's own values change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import harness.report.figures as figures
import harness.report.frames as frames
import harness.report.tables as tables
from harness import Problem, one_line, stats
from harness.paths import write_atomic
from harness.report.figures import HELPS, HURTS, INK, LONG, SEED, SMALL
from harness.report.frames import Plan, Row, worth
from harness.report.words import METRICS, SECOND

BOTH = ("untuned", "tuned")


def compare(tuned: Plan, every: pd.DataFrame, untuned: Plan, before: pd.DataFrame) -> pd.DataFrame:
    """One row a rung; the headline metric, `metric`, and gains in points of percent, unrounded.

    `change` is how much the rung's gain, and `gained` how much its score, grew by tuning: means over the seeds that all
    four, or both, runs have, with 95 % t-intervals. Raises Problem where the two ladders have different metrics.
    """
    metric = frames.headline(every)
    if metric != frames.headline(before):
        both = f"{METRICS[metric]}, and untuned by {METRICS[frames.headline(before)]}"
        raise Problem(f"{one_line(tuned['label'])}: scored by {both}, which is no comparison")
    at = {"tuned": frames.by_seed(every), "untuned": frames.by_seed(before)}
    judged = {"tuned": frames.rungs(tuned, every), "untuned": frames.rungs(untuned, before)}
    rows = []
    for place, rung in enumerate(tuned["rungs"]):
        own = tuned["tuned"]["rungs"][place]
        row: dict[str, Any] = {"rung": one_line(rung["title"])}
        for kind in BOTH:
            found = judged[kind][judged[kind]["place"] == place]
            for name in ("n", f"{metric}_mean", f"{metric}_sd", "gain", "gain_low", "gain_high", "verdict"):
                row[f"{kind}_{name}"] = found[name].iloc[0] if len(found) else math.nan
        better = [worth(a) - worth(b) for a, b in _both(at, place)]
        row["gained"], row["gained_low"], row["gained_high"], _ = stats.paired_t(better)
        changed = [
            (worth(a) - worth(a_below)) - (worth(b) - worth(b_below))
            for (a, b), (a_below, b_below) in _shared(at, rung["gain"])
        ]
        row["change"], row["change_low"], row["change_high"], _ = stats.paired_t(changed)
        row |= {"score": own["score"], "trials": len(own["pool"]), "values": told(own["values"])}
        rows.append(row)
    return pd.DataFrame(rows)


def _both(at: dict[str, dict[int, dict[int, Row]]], place: int) -> list[tuple[Row, Row]]:
    """The runs of a rung, (tuned, untuned), of the seeds that both have."""
    tuned, untuned = (at[kind].get(place, {}) for kind in ("tuned", "untuned"))
    return [(tuned[seed], untuned[seed]) for seed in sorted(tuned.keys() & untuned.keys())]


def _shared(at: Any, gain: Any) -> list[tuple[tuple[Row, Row], tuple[Row, Row]]]:
    """Of the two rungs of a gain, (above, below) as `_both` has them, of the seeds that all four runs have."""
    if not gain:
        return []
    above, below = ({a["seed"]: (a, b) for a, b in _both(at, place)} for place in gain)
    return [(above[seed], below[seed]) for seed in sorted(above.keys() & below.keys())]


def told(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{path} {value:.3g}" if isinstance(value, float) else f"{path} {value}" for path, value in values.items()
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """As text, a column a heading."""
    text = pd.DataFrame({"rung": table["rung"]})
    metric = next(name for name in SECOND if f"tuned_{name}_mean" in table)
    for kind in BOTH:
        pairs = zip(table[f"{kind}_{metric}_mean"], table[f"{kind}_{metric}_sd"], strict=True)
        spread = [f"{mean:.2f}" if math.isnan(sd) else f"{mean:.2f} ± {sd:.2f}" for mean, sd in pairs]
        text[f"{METRICS[metric]}, {kind}"] = spread
    text["tuning gives"] = _gains(table, "gained")
    for kind in BOTH:
        text[f"gain, {kind}"] = _gains(table, f"{kind}_gain")
        text[f"verdict, {kind}"] = table[f"{kind}_verdict"].replace("", "–").fillna("–")
    text["the gain changes by"] = _gains(table, "change")
    text[f"held-out {METRICS[metric]}"] = [f"{score:.2f}" for score in table["score"]]
    text["values"] = table["values"]
    return text


def _gains(table: pd.DataFrame, name: str) -> list[str]:
    return [tables.gain(*row) for row in zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)]


def notes(plan: Plan) -> list[str]:
    how = plan["tuned"]
    drawn = "at random, the same for every rung" if how["sampler"] == "random" else f"by {how['sampler']}"
    return [
        f"Tuned: every rung had {how['trials']} trials of values of its own, drawn {drawn}, scored by one run each on "
        f"{100 * how['share']:g} % of the training images, held out, with a seed that the table has not. The best was "
        "trained anew on all training images; the test set had no part in the choice.",
        "A gain of the tuned ladder is that of a rung at its best over the one below at its best; what their values "
        "differ in is in it (¤). Untuned: the study as written.",
        "Verdicts: Holm over the rungs, each ladder apart. Intervals of changes: 95 %, each for its own row.",
    ]


def write(folder: Path, study: str, plan: Plan, table: pd.DataFrame) -> str:
    """Write tuned.{md,csv}; returns the first."""
    text = tables.document(
        f"{one_line(study)}: untuned and tuned", [tables.markdown(shown(table), ["rung", "values"])], notes(plan)
    )
    write_atomic(folder / "tuned.md", text.encode())
    write_atomic(folder / "tuned.csv", tables.comma_separated(table).encode())
    return text


@figures.style()
def gains(label: str, table: pd.DataFrame, score: str = "top1") -> Figure | None:
    """Each rung's gain, untuned and tuned, with 95 % intervals; None where no rung has both."""
    rows = table[table["tuned_gain"].notna() & table["untuned_gain"].notna()]
    if not len(rows):  # of a study without tricks, or a design whose rungs have no gains
        return None
    figure = Figure(figsize=(11, figures.height(2 * len(rows), 3)), layout="constrained")
    axis = figure.subplots()
    every = rows[[f"{kind}_gain" for kind in BOTH]].to_numpy()
    bounds = rows[[f"{kind}_gain_{end}" for kind in BOTH for end in ("low", "high")]].to_numpy()
    low, high = figures.frame(every, bounds)
    axis.set_xlim(low, high + 0.08 * (high - low))  # room for the word beside the last
    axis.axvline(0, color="0.6", lw=1)
    for y, (_, row) in enumerate(rows.iterrows()):
        for kind, shift, color in (("untuned", -0.17, SEED), ("tuned", 0.17, INK)):
            verdict = row[f"{kind}_verdict"]
            hue = {"helps": HELPS, "hurts": HURTS}.get(verdict.partition(" ")[0], color)
            span = (row[f"{kind}_gain_low"], row[f"{kind}_gain_high"])
            figures.interval(axis, y + shift, row[f"{kind}_gain"], *span, hue, figures.resolved(verdict))
            right = (
                max(row[f"{kind}_gain"], min(span[1], axis.get_xlim()[1]))
                if span[1] == span[1]
                else row[f"{kind}_gain"]
            )
            axis.annotate(
                kind,
                (right, y + shift),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL - 1,
                color="0.4",
            )
    axis.set_yticks(range(len(rows)), list(rows["rung"]))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"gain over the rung below, points of {METRICS[score]}")
    figures.heading(figure, label, "gains, untuned and tuned")
    return figure


@figures.style()
def curves(pools: Mapping[str, Sequence[float]], label: str, score: str = "top1") -> Figure:
    """The expected best of n trials of each pool by its name: how far a score depends on the trials spent on it.

    As `stats.best_of_n`: of random search what a search of n trials would have reached, of TPE a description of the
    trials seen. ValueError of a pool that is empty or not finite.
    """
    hues = figures.colors(len(pools))
    made = [stats.best_of_n(values, np.arange(1, len(values) + 1)) for values in pools.values()]
    figure = Figure(figsize=(11, figures.height(len(pools), 4.6)), layout="constrained")
    axis = figure.subplots()
    for best, own in zip(made, hues, strict=True):
        one = "o" if len(best) == 1 else None
        axis.plot(np.arange(1, len(best) + 1), best, color=own, lw=1.8, marker=one, label="expected best")
    axis.set(xlabel="trials drawn", ylabel=f"expected best held-out {METRICS[score]} (%)")
    longest = max(map(len, made))
    axis.set_xlim(1 - 0.02 * longest, 1.02 * longest)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    told = [f"{one_line(name, LONG)}: {best[-1]:.2f}, n = {len(best)}" for name, best in zip(pools, made, strict=True)]
    figures.beside(axis, [(float(len(best)), float(best[-1])) for best in made], told, hues)
    figures.heading(figure, label, "the expected best of n trials")
    return figure
