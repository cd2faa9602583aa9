"""What networks are worth where they stand on others, against what those were worth by themselves."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness import stats
from harness.report.figures.gains import beside
from harness.report.figures.style import MANY, colors, frame, heading, names, percent, sizes, style
from harness.report.words import METRICS


@style()
def transfer(study: str, table: pd.DataFrame, both: pd.DataFrame, score: str) -> Figure | None:
    """Each rung's mean of `score` against its backbones' own, ± s.d. both ways, and every seed as a small dot.

    `both` as frames.backbones has it, `table` one row a rung. None where fewer than two rungs have both.
    """
    known = both.dropna(subset=["backbone_value", "value"])
    table = table[table["place"].isin(known["place"])]
    if len(table) < 2 or known["backbone_score"].nunique() > 1:
        return None
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    axis = figure.subplots()
    hues, seeds = colors(len(table)), [known[known["place"] == place] for place in table["place"]]
    x, y = (np.array([stats.mean_sd(own[name]) for own in seeds]) for name in ("backbone_value", "value"))
    for limits, name, (mean, sd) in ((axis.set_xlim, "backbone_value", x.T), (axis.set_ylim, "value", y.T)):
        limits(*percent(*frame(known[name], [mean - sd, mean + sd])))
    for own, (at, wide), (up, high), hue in zip(seeds, x, y, hues, strict=True):
        axis.plot(own["backbone_value"], own["value"], "o", ms=4, color=hue, alpha=0.5, mew=0, label="seeds")
        if len(own) > 1:
            axis.plot([at - wide, at + wide], [up, up], color=hue, lw=1.4, label="s.d.")
            axis.plot([at, at], [up - high, up + high], color=hue, lw=1.4, label="s.d.")
        axis.plot([at], [up], "o", ms=8, color=hue, mec="white", zorder=4, label="rung")
    ends = list(zip(x[:, 0].tolist(), y[:, 0].tolist(), strict=True))
    backbone = METRICS[known["backbone_score"].iloc[0]]
    axis.set(xlabel=f"{backbone} of the backbone by itself (%)", ylabel=f"{METRICS[score]} (%)")
    shown = range(len(table)) if len(table) <= MANY else range(0)
    told = names(table)
    beside(axis, [ends[i] for i in shown], [told[i] for i in shown], [hues[i] for i in shown])
    about = f"{METRICS[score]} against {backbone} of the backbone: mean ± s.d. of each rung, seeds small"
    n = known.groupby("place").size().rename("n").reset_index()
    heading(figure, study, f"{about} ({sizes(n)})")
    return figure
