"""A ladder as a waterfall: what each rung adds to the one that it is built on."""

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from harness.report.figures.gains import gain_said
from harness.report.figures.style import INK, SMALL, frame, heading, names, percent, resolved, sizes, style, tint
from harness.report.frames import headline, measure
from harness.report.words import Measure


@style()
def waterfall(study: str, table: pd.DataFrame, below: Mapping[int, int]) -> Figure | None:
    """A bar for each gain, from the mean of the rung below to that and the gain, with the gain's 95 % interval.

    `below`: the place that each gain is over, by the place that it is of. None where fewer than two rungs have a gain.
    """
    score, by = headline(table), measure(table)
    means = dict(zip(table["place"], table[f"{score}_mean"], strict=True))
    starts = [means.get(below.get(place, -1), math.nan) for place in table["place"]]
    table = table.assign(start=starts)
    known = table[table["gain"].notna() & table["start"].notna()]
    if len(known) < 2:
        return None
    n, titles = len(table), names(table)
    figure = Figure(figsize=(11, 1.1 + n * (0.38 if n <= 20 else 0.3)), layout="constrained")
    axis = figure.subplots()
    ends = known["start"] + known["gain"]
    bounds = known[["gain_low", "gain_high"]].add(known["start"], axis=0)
    low, high = percent(*frame([*means.values(), *ends], bounds), by.unit)
    axis.set_xlim(low, high + 0.14 * (high - low))  # room for the number at the end of a bar
    row_of = {place: i for i, place in enumerate(table["place"])}
    for i, (_, row) in enumerate(table.iterrows()):
        start, gain = row["start"], row["gain"]
        if math.isnan(start) or math.isnan(gain):
            axis.plot([means[row["place"]]], [i], "D", ms=6, color=INK, label="start", url=_level(row, by))
            axis.annotate(by.value(means[row["place"]]), (means[row["place"]], i), **_right(8))
            continue
        hue, sure = tint(row["verdict"]), resolved(row["verdict"])
        axis.plot([start, start], [row_of[below[row["place"]]], i], color="0.6", lw=0.9, zorder=1, label="step")
        axis.barh(
            i,
            gain,
            0.56,
            left=start,
            facecolor=hue if sure else "white",
            edgecolor=hue,
            alpha=0.75 if sure else 1,
            lw=1.2,
            zorder=2,
            url=gain_said(row, by),
        )
        left, right = axis.get_xlim()
        out = max(start, start + gain)
        if not math.isnan(row["gain_low"]):
            span = start + row["gain_low"], start + row["gain_high"]
            axis.plot([max(span[0], left), min(span[1], right)], [i, i], color=INK, lw=1.4, zorder=3, label="interval")
            for end, mark in ((span[0], "<"), (span[1], ">")):  # an arrow where it goes on beyond the frame
                inside = left <= end <= right
                at = min(max(end, left), right)
                axis.plot([at], [i], "|" if inside else mark, color=INK, ms=7, clip_on=False, zorder=3)
            out = min(max(out, span[1]), right)
        axis.annotate(by.gain(gain), (out, i), **_right(7, "bold" if sure else "normal"))
    axis.set(xlabel=by.axis + ", lower is better" * by.lower, yticks=range(n))
    axis.set_yticklabels(titles, color=INK)
    axis.set_ylim(n - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    heading(figure, study, f"what each rung adds, with 95 % intervals ({sizes(known, 'gain_pairs')})")
    return figure


def _right(points: float, weight: str = "normal") -> dict:
    offset = {"xytext": (points, 0), "textcoords": "offset points", "va": "center", "fontsize": SMALL}
    return offset | {"fontweight": weight, "color": INK, "zorder": 5}


def _level(row: pd.Series, by: Measure) -> str:
    return f"{row['title']}: {by.value(row[f'{by.name}_mean'])}"
