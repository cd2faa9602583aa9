"""What each class has of each gain."""

import pandas as pd
from matplotlib.figure import Figure

from harness import one_line
from harness.report.figures.style import CLEAR, HELPS, HURTS, INK, LONG, SMALL, heading, style

WIDEST = 12  # classes that a row has room for
OTHERS = "others"


@style()
def by_class(study: str, found: pd.DataFrame, score: str = "top1") -> Figure | None:
    """A row a rung, a column a class, as frames.class_gains has them: a bar for each gain, and its number.

    Of more than 12 classes those with the largest gains; of top-1, whose points add up, a last column has the others.
    None where a rung or a class alone is told of.
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
    keys = zip(found["place"], found["class"], strict=True)
    spans = dict(zip(keys, zip(found["low"], found["high"], strict=True), strict=True))
    rows, columns = table.shape
    widest = float(table.abs().max(axis=None)) or 1.0
    figure = Figure(figsize=(11, 1.5 + 0.42 * rows), layout="constrained")
    axis = figure.subplots()
    for x, name in enumerate(table.columns):
        axis.axvline(x, color="0.6", lw=0.8, zorder=1)
        for y, place in enumerate(table.index):
            gain = table.loc[place, name]
            if gain != gain:
                continue
            low, high = spans.get((place, name), (float("nan"),) * 2)
            between = "" if low != low else f" [{low:+.2f}, {high:+.2f}]"
            said = f"{titles[place]}, class {name}: {gain:+.2f} points{between}"
            hue = HELPS if gain > 0 else HURTS
            axis.barh(y + 0.14, 0.44 * gain / widest, 0.34, left=x, color=hue, alpha=0.8, zorder=2, url=said)
            axis.text(
                x,
                y - 0.2,
                f"{round(gain, 2) + 0.0:+.2f}",
                ha="center",
                bbox=CLEAR,
                va="center",
                fontsize=SMALL - 1,
                color=INK,
            )
    axis.set_xlim(-0.5, columns - 0.5)
    axis.set_ylim(rows - 0.5, -0.5)
    axis.set_xticks(range(columns), [one_line(name, 12) for name in table.columns], color=INK, fontsize=SMALL)
    axis.set_yticks(range(rows), [one_line(titles[place], LONG) for place in table.index], color=INK)
    axis.xaxis.tick_top()
    axis.grid(visible=False)
    for y in range(1, rows):
        axis.axhline(y - 0.5, color="0.9", lw=0.8)
    what = "points of top-1 by class, which add up to each gain" if score == "top1" else "gains by class, in points"
    more = f" ({WIDEST} of {every} classes, the most changed)" if every > WIDEST else ""
    heading(figure, study, what + more)
    return figure
