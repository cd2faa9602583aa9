"""How figures look, and how they are saved."""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import ArrayLike, NDArray

from harness import one_line, stats
from harness.paths import write_atomic
from harness.report.frames import Row, headline, marks

Array = NDArray[np.float64]
Seeds = Mapping[int, Sequence[tuple[int, float]]]  # place -> (seed, gain) of each pair
INK, SEED, HELPS, HURTS = "0.15", "0.55", "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion
TEN = ("#222222", "#332288", "#5aa9d6", "#2a9d8f", "#117733", "#8a8a1e", "#c9a227", "#cc6677", "#882255", "#aa4499")
LONG = 40  # letters of a name: the axes keep their room
BESIDE = 0.24  # of a row: seeds above their mean, not under it
MANY = 16  # rungs: points above that are not all named, for lines to their names would hide them
SMALL = 9  # points of the letters beside lines
CLEAR: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # behind a number that a line would cross


@contextmanager
def style() -> Iterator[None]:
    """What is drawn or saved under this looks the same everywhere: the font is matplotlib's own."""
    literal: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}  # a name is no formula
    plain: dict[Any, Any] = {"axes.edgecolor": "0.8", "grid.color": "0.9", "font.sans-serif": ["DejaVu Sans"]}
    with sns.axes_style("whitegrid"), mpl.rc_context(plain | literal | {"figure.titlesize": 11}):
        yield


PDF = True  # whether figures are written as PDF too, which takes as long as all else of them
SAID = re.compile(r'<a xlink:href="([^"]*)" target="_blank">')


@style()
def save(folder: Path, name: str, figure: Figure) -> str:
    """Write name.{png,svg,pdf}, the same bytes for the same figure; returns the SVG.

    The figure is laid out here, once. Its own `savefig` lays out and goes through all artists anew for each kind.
    What an artist has as its url says what it shows: in the SVG that is a title, which browsers show beside it.
    """
    svg, png = io.BytesIO(), io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    text = SAID.sub(r"<g><title>\1</title>", svg.getvalue().decode()).replace("</a>", "</g>")
    figure.set_layout_engine("none")
    if PDF:
        pdf = io.BytesIO()
        with mpl.rc_context({"pdf.fonttype": 42}):  # TrueType: publishers refuse Type 3
            FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None})
        write_atomic(folder / f"{name}.pdf", pdf.getvalue())
    figure.dpi = 160
    FigureCanvasAgg(figure).print_png(png)
    for kind, made in (("svg", text.encode()), ("png", png.getvalue())):
        write_atomic(folder / f"{name}.{kind}", made)
    return text


def names(table: pd.DataFrame) -> list[str]:
    return [f"{one_line(row['title'], LONG)} {marks(row)}".strip() for _, row in table.iterrows()]


def colors(n: int) -> list[Any]:
    """One a rung, in order: ten that colour-blind readers can tell apart, above that from dark to light."""
    return list(TEN[:n]) if n <= len(TEN) else [mpl.colormaps["viridis"](0.92 * i / (n - 1)) for i in range(n)]


def heading(figure: Figure, study: str, text: str) -> None:
    figure.suptitle(f"{one_line(study, LONG)}: {text}", color=INK)


def sizes(table: pd.DataFrame, of: str = "n") -> str:
    n = sorted(set(table[of]))
    return f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"


ALIKE = 0.01  # points: below a test image of 10,000


def frame(points: ArrayLike, bounds: ArrayLike) -> tuple[float, float]:
    """Limits of an axis: all `points`, and intervals up to twice as far beyond as the points spread.

    Of two seeds an interval is 12.7 times the spread: whole, it would leave no room to see anything else.
    """
    inner, outer = (values[np.isfinite(values)] for values in (np.asarray(x, float) for x in (points, bounds)))
    low, high = inner.min(), inner.max()
    room = 2 * (high - low) or 1.0
    low, high = max(min([low, *outer]), low - room), min(max([high, *outer]), high + room)
    if high - low < ALIKE:  # an axis of equal values would be one of rounding errors
        low, high = low - 0.5, high + 0.5
    margin = 0.05 * (high - low)
    return float(low - margin), float(high + margin)


def percent(low: float, high: float, unit: str = "%") -> tuple[float, float]:
    """Limits within 0 and 100 %, and a margin; of another unit as they are."""
    return (max(low, -2), min(high, 102)) if unit == "%" else (low, high)


def interval(
    axis: Axes, y: float, at: float, low: float, high: float, color: Any, filled: bool, said: str | None = None
) -> None:
    """A mean and its interval at height `y`; cut by the frame it ends in an arrow; the mean alone without one.

    On a page the mean says `said`.
    """
    left, right = axis.get_xlim()
    if not math.isnan(low):
        axis.plot([max(low, left), min(high, right)], [y, y], color=color, lw=1.6, solid_capstyle="butt", zorder=3)
        for end, mark in ((low, "|"), (high, "|")):
            if left <= end <= right:
                axis.plot([end], [y], mark, color=color, ms=7, zorder=3)
        if low < left:
            axis.plot([left], [y], "<", color=color, ms=6, clip_on=False, zorder=3)
        if high > right:
            axis.plot([right], [y], ">", color=color, ms=6, clip_on=False, zorder=3)
    face = color if filled else "white"
    told = "resolved" if filled else "open"
    axis.plot([at], [y], "o", ms=6, color=color, mfc=face, mew=1.4, zorder=4, label=told, url=said)


def run_said(title: str, run: Row, value: str) -> str:
    """What a point says of its run: rung, seed, value, and the run's name in the store."""
    name = f", run {run['id']}/{run['seed']}" if "id" in run else ""
    return f"{title}, seed {run['seed']}: {value}{name}"


def resolved(verdict: str) -> bool:
    return verdict.startswith(("helps", "hurts"))


def tint(verdict: str) -> str:
    return HELPS if verdict.startswith("helps") else HURTS if verdict.startswith("hurts") else INK


def score_interval(runs: pd.DataFrame, place: int) -> tuple[float, float]:
    return stats.t_interval(runs.loc[runs["place"] == place, headline(runs)])


def decimal(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: its own powers are formulas, which no text here is."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def height(n: int, least: float) -> float:
    """Inches of a figure with `n` names beside one axis."""
    return max(least, 1.4 + n * 1.35 * SMALL / 72 / 0.77)  # 0.77: an axis' share before the layout


def sharing(rungs: Sequence[str]) -> str:
    """Names that share a line: all, or four and how many more."""
    kept = rungs if len(rungs) <= 5 else [*rungs[:4], f"and {len(rungs) - 4} more"]
    return "\n ".join(kept)
