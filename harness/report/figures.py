"""Figures, drawn without a display."""

import io
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from harness import stats
from harness.paths import write_atomic
from harness.report.frames import counted, marks

SEED, MEAN = "0.6", "#1f5fa8"


def ladder(folder: Path, study: str, every: pd.DataFrame, table: pd.DataFrame) -> None:
    """ladder.{png,svg}: top-1 of every seed beside mean and interval, and the gains over the rung below."""
    names = [f"{row['title']} {marks(row)}".strip() for _, row in table.iterrows()]
    runs = every[counted(every)]
    with sns.axes_style("whitegrid"), mpl.rc_context({"axes.edgecolor": "0.8", "svg.hashsalt": "ladder"}):
        figure = Figure(figsize=(11, 1.2 + 0.42 * len(table)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        sns.stripplot(runs, x="top1", y="title", order=table["title"], color=SEED, size=4, jitter=0.12, ax=left)
        for axis, center, low, high in (
            (left, table["top1_mean"], *zip(*(stats.t_interval(_top1(runs, r)) for r in table["rung"]), strict=True)),
            (right, table["gain"], table["gain_low"], table["gain_high"]),
        ):
            spread = [center - pd.Series(low, index=table.index), pd.Series(high, index=table.index) - center]
            axis.errorbar(
                center, range(len(table)), xerr=[s.fillna(0) for s in spread], fmt="o", ms=5, color=MEAN, capsize=3
            )
            axis.grid(axis="y", visible=False)
        right.axvline(0, color="0.5", lw=1)
        left.set(xlabel="top-1 (%)", ylabel="", yticks=range(len(names)), yticklabels=names)
        right.set(xlabel="gain over the rung below (points, paired by seed)", ylabel="")
        n = sorted(set(table["n"]))
        seeds = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
        figure.suptitle(f"{study}: each seed, mean and 95 % t-interval ({seeds})", fontsize=11)
        for kind in ("png", "svg"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            write_atomic(folder / f"ladder.{kind}", buffer.getvalue())


def _top1(runs: pd.DataFrame, rung: str) -> list[float]:
    return list(runs.loc[runs["rung"] == rung, "top1"])
