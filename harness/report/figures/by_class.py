"""What each class has of each gain."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness import one_line
from harness.report.figures.designs import limit
from harness.report.figures.style import HELPS, HURTS, INK, LONG, SMALL, heading, style

WIDEST = 12  # classes that a row has room for
LETTERS = 7  # of the name of a class; where one is longer, names stand aslant
OTHERS = "others"
HUES = LinearSegmentedColormap.from_list("gains", [HURTS, "white", HELPS], N=257)  # odd: 0 is white


@style()
def by_class(study: str, found: pd.DataFrame, score: str = "top1") -> Figure | None:
    """A heat map: a row a rung, a column a class, as frames.class_gains has them: a gain as colour and number.

    Bold is resolved. Colours are spread over most gains, and one far beyond these is as dark as any. Of more than 12
    classes those with the largest gains; of top-1, whose points add up, a last column has the others. None where a rung
    or a class alone is told of.
    """
    table = found.pivot(index="place", columns="class", values="gain")
    table = table[list(dict.fromkeys(found["class"]))]
    if len(table) < 2 or table.shape[1] < 2:
        return None
    every = table.shape[1]
    if every > WIDEST:
        kept = table.abs().max().nlargest(WIDEST).index
        rest = table.drop(columns=kept).sum(axis=1, min_count=1)
        table = table[[name for name in table.columns if name in set(kept)]]
        if score == "top1":
            table = table.assign(**{OTHERS: rest})
    titles = dict(zip(found["place"], found["title"], strict=True))
    told = {(row["place"], row["class"]): row for row in found.to_dict("records")}
    rows, columns = table.shape
    norm = Normalize(-1, 1)
    widest = limit(table.to_numpy().ravel().tolist())
    names = [one_line(name, 16) for name in table.columns]
    aslant = max(map(len, names)) > LETTERS
    figure = Figure(figsize=(11, 1.5 + 0.4 * rows + 0.5 * aslant), layout="constrained")
    axis = figure.subplots()
    for y, place in enumerate(table.index):
        for x, name in enumerate(table.columns):
            gain, own = table.loc[place, name], told.get((place, name))
            hue = "0.93" if gain != gain else HUES(norm(float(np.clip(gain / widest, -1, 1))))
            said = _said(titles[place], name, gain, own)
            axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=hue, edgecolor="white", lw=1.5, url=said))
            axis.text(
                x,
                y,
                "–" if gain != gain else f"{round(gain, 2) + 0.0:+.2f}",
                ha="center",
                va="center",
                fontsize=SMALL,
                color="white" if abs(gain) > 0.7 * widest else INK,
                fontweight="bold" if own and own["resolved"] else "normal",
            )
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    slope: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"} if aslant else {}
    axis.set_xticks(range(columns), names, color=INK, fontsize=SMALL, **slope)
    axis.set_yticks(range(rows), [one_line(titles[place], LONG) for place in table.index], color=INK)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    what = "points of top-1 by class" if score == "top1" else "gains by class, in points"
    more = f" ({WIDEST} of {every} classes, the most changed)" if every > WIDEST else ""
    heading(figure, study, f"{what}{more}; bold: resolved after Holm over classes and rungs")
    return figure


def _said(title: str, name: str, gain: float, own: dict | None) -> str:
    """What a cell says on a page."""
    between = "" if not own or own["low"] != own["low"] else f" [{own['low']:+.2f}, {own['high']:+.2f}]"
    number = "no gain known" if gain != gain else f"{gain:+.2f} points"
    return f"{title}, class {name}: {number}{between}{', resolved' if own and own['resolved'] else ''}"
