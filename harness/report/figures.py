"""Figures, drawn without a display."""

import io
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness import one_line, stats
from harness.paths import write_atomic
from harness.report.frames import counted, marks

SEED, MEAN = "0.6", "#1f5fa8"
LONG = 40  # letters of a name: the axes keep their room
BESIDE = 0.22  # of a row: the mean is drawn beside its seeds, not on them


def ladder(folder: Path, study: str, every: pd.DataFrame, table: pd.DataFrame) -> None:
    """ladder.{png,svg}: top-1 of every seed beside mean and interval, and the gains over the rung below."""
    names = [f"{one_line(row['title'], LONG)} {marks(row)}".strip() for _, row in table.iterrows()]
    runs = every[counted(every)]
    literal: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}  # a name is no formula
    with sns.axes_style("whitegrid"), mpl.rc_context({"axes.edgecolor": "0.8", "svg.hashsalt": "ladder", **literal}):
        figure = Figure(figsize=(11, 1.2 + 0.42 * len(table)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        sns.stripplot(
            runs,
            x="top1",
            y="place",
            order=table["place"],
            orient="h",
            color=SEED,
            size=5,
            jitter=False,
            alpha=0.7,
            ax=left,
        )
        for i, (_, row) in enumerate(table.iterrows()):
            low, high = stats.t_interval(list(runs.loc[runs["place"] == row["place"], "top1"]))
            interval(left, i + BESIDE, row["top1_mean"], low, high, filled=True)
            if not math.isnan(row["gain"]):
                interval(right, i, row["gain"], row["gain_low"], row["gain_high"], row["verdict"] != "not resolved")
        for axis in (left, right):
            axis.grid(axis="y", visible=False)
        right.axvline(0, color="0.5", lw=1)
        left.set(xlabel="top-1 (%)", ylabel="", yticks=range(len(names)), yticklabels=names)
        right.set(xlabel="gain over the rung below (points; hollow: not resolved)", ylabel="")
        n = sorted(set(table["n"]))
        seeds = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
        figure.suptitle(
            f"{one_line(study, LONG)}: each seed, and mean with 95 % t-interval ({seeds}, gains paired by seed)",
            fontsize=11,
        )
        for kind in ("png", "svg"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            write_atomic(folder / f"ladder.{kind}", buffer.getvalue())


def interval(axis: Axes, y: float, center: float, low: float, high: float, filled: bool) -> None:
    """A mean and its interval, at height `y`; the mean alone where there is no interval."""
    spread = None if math.isnan(low) else [[center - low], [high - center]]
    face = MEAN if filled else "white"
    axis.errorbar([center], [y], xerr=spread, fmt="o", ms=5, color=MEAN, mfc=face, capsize=3)
