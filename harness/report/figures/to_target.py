"""What it takes to reach a target, rung by rung."""

import math

import pandas as pd
from matplotlib.figure import Figure

from harness import one_line, stats
from harness.report.figures.style import (
    BESIDE,
    INK,
    LONG,
    SEED,
    frame,
    heading,
    interval,
    resolved,
    sizes,
    style,
    tint,
)


@style()
def to_target(study: str, table: pd.DataFrame, score: float, metric: str) -> Figure | None:
    """Epochs to `score`, every seed a dot, beside what each rung saves, as report.target.frame has them.

    None where no rung has reached it.
    """
    told = [row["epochs_by_seed"] for _, row in table.iterrows()]
    if not any(told):
        return None
    n, spans = len(table), [stats.t_interval(list(own.values())) if own else (math.nan, math.nan) for own in told]
    saved = table[["epochs_saved_low", "epochs_saved_high"]]
    two = bool(table["epochs_saved"].notna().any())
    figure = Figure(figsize=(11, 1.3 + n * (0.42 if n <= 20 else 0.32)), layout="constrained")
    axes = figure.subplots(1, 1 + two, sharey=True, squeeze=False, width_ratios=(3, 2) if two else None)[0]
    low, high = frame([epochs for own in told for epochs in own.values()], spans)
    axes[0].set_xlim(max(0.0, low), high)
    for i, ((_, row), own, span) in enumerate(zip(table.iterrows(), told, spans, strict=True)):
        said = [f"{row['title']}, seed {seed}: {epochs:.2f} epochs" for seed, epochs in own.items()]
        axes[0].scatter(
            own.values(), [i - BESIDE / 2] * len(own), s=24, color=SEED, alpha=0.7, lw=0, label="seeds", urls=said
        )
        if own:
            mean = f"{row['title']}: {row['epochs']:.2f} epochs, mean of {len(own)}"
            interval(axes[0], i + BESIDE, row["epochs"], *span, INK, filled=True, said=mean)
        else:
            why = "not reached" if row["ended"] else "to be run"
            axes[0].text(0.01, i, why, transform=axes[0].get_yaxis_transform(), va="center", color=INK, fontsize=9)
    axes[0].set(xlabel=f"epochs to {score:g} % {metric}", yticks=range(n))
    axes[0].set_yticklabels([one_line(title, LONG) for title in table["title"]], color=INK)
    axes[0].set_ylim(n - 0.4, -0.6)
    if two:
        axes[1].set_xlim(*frame([0.0, *table["epochs_saved"]], saved))
        axes[1].axvline(0, color="0.4", lw=1, zorder=1)
        for i, (_, row) in enumerate(table.iterrows()):
            if not math.isnan(row["epochs_saved"]):
                gain, verdict = row["epochs_saved"], row["epochs_verdict"]
                between = row["epochs_saved_low"], row["epochs_saved_high"]
                about = f"{row['title']}: {gain:+.2f} epochs saved, {verdict}"
                interval(axes[1], i + BESIDE, gain, *between, tint(verdict), resolved(verdict), said=about)
        axes[1].set_xlabel("epochs saved\nhollow: not resolved")
    for axis in axes:
        axis.grid(axis="y", visible=False)
    heading(figure, study, f"each seed, and mean with 95 % t-interval ({sizes(table)}, savings paired by seed)")
    return figure
