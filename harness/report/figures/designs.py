"""The gains of one study's tricks by several designs, beside each other."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from harness import one_line
from harness.report.figures.style import CLEAR, INK, LONG, SMALL, heading, interval, resolved, style, tint
from harness.report.words import TOP1, Measure

Told = tuple[float, float, float, str]  # gain, low, high, verdict


@style()
def designs(study: str, tricks: Sequence[str], told: Mapping[str, Mapping[str, Told]], by: Measure = TOP1) -> Figure:
    """A row a trick, a panel a design: `told` has what it gave, in points of the score, by design and title.

    All panels have one axis, as wide as most gains need: what goes beyond it is an arrow, and its number stands there.
    """
    n, widest = len(tricks), limit([gain for own in told.values() for gain, *_ in own.values()])
    figure = Figure(figsize=(11, 1.2 + 0.42 * n), layout="constrained")
    axes = figure.subplots(1, len(told), sharex=True, sharey=True, squeeze=False)[0]
    for axis, (design, own) in zip(axes, told.items(), strict=True):
        axis.set_xlim(-widest, widest)
        axis.axvline(0, color="0.4", lw=1, zorder=1)
        for i, trick in enumerate(tricks):
            if trick not in own:
                continue
            gain, low, high, verdict = own[trick]
            if math.isnan(gain):
                continue
            hue, at = tint(verdict), min(max(gain, -widest), widest)
            between = "" if math.isnan(low) else f" [{by.gain(low)}, {by.gain(high)}]"
            said = f"{trick}, {design}: {by.gain(gain)} {by.points}{between}{', ' * bool(verdict)}{verdict}"
            if at == gain:
                interval(axis, i + 0.15, gain, low, high, hue, resolved(verdict), said=said)
            else:
                axis.plot([at], [i + 0.15], "<" if gain < 0 else ">", color=hue, ms=7, clip_on=False, url=said)
            inward = "left" if at < -0.7 * widest else "right" if at > 0.7 * widest else "center"
            axis.annotate(
                by.gain(gain),
                (at, i + 0.15),
                (0, 5),
                textcoords="offset points",
                ha=inward,
                bbox=CLEAR,
                va="bottom",
                fontsize=SMALL - 0.5,
                color=hue,
                fontweight="bold" if resolved(verdict) else "normal",
            )
        axis.set_title(design, fontsize=SMALL + 1, color=INK)
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(n), [one_line(trick, LONG) for trick in tricks], color=INK)
    axes[0].set_ylim(n - 0.4, -0.7)
    figure.supxlabel(f"gain ({by.of}); hollow: not resolved", fontsize=SMALL + 1, color=INK)
    heading(figure, study, "each trick by each design, with 95 % intervals")
    return figure


def limit(gains: Sequence[float]) -> float:
    """Half the width of the axis: for all `gains` where they are alike, else for three quarters of them, and half more.

    A trick that costs thirty points would leave those of one point no room.
    """
    sizes = np.abs([gain for gain in gains if not math.isnan(gain)])
    if not len(sizes) or not sizes.max():
        return 1.0
    most = float(np.quantile(sizes, 0.75)) * 1.5
    return 1.15 * float(sizes.max() if sizes.max() <= 2 * most else most)
