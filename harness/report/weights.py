"""Weights that others trained, beside each other: accuracy on one test set, and differences paired by its images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import harness.report.figures as figures
from harness import Problem, metrics, one_line, stats
from harness.paths import write_atomic
from harness.report import tables
from harness.report.figures.style import CLEAR, INK, LONG, SMALL, frame, interval, percent, resolved, style, tint
from harness.report.words import METRICS, count, together
from harness.stats.tests import Array

Answer = Mapping[str, Any]
LEVEL = 0.05
WORDS = {"helps": "better", "hurts": "worse"}  # of two files, of which neither is a trick


@dataclass(frozen=True)
class Row:
    """A file of weights: top-1 with Wilson's interval and, over the first of `over`, what is paired by image.

    Percent and points. `right` and `wrong` are the images that it alone, or the other alone, has right; `p` is
    McNemar's, exact, `adjusted` by Holm over all rows. nan, and no verdict, of the one that others are set against.
    """

    name: str
    top1: float
    low: float
    high: float
    top5: float
    params: int
    file: str
    right: int = 0
    wrong: int = 0
    gain: float = math.nan
    gain_low: float = math.nan
    gain_high: float = math.nan
    p: float = math.nan
    adjusted: float = math.nan
    verdict: str = ""


def compared(found: Mapping[str, Answer], over: str | None = None) -> list[Row]:
    """A row a file, in order; gains are over `over`, the first where none is named. Raises Problem on no such name."""
    over = next(iter(found)) if over is None else over
    if over not in found:
        raise Problem(f"--against {one_line(over)}: no such weights; there are: {one_line(', '.join(found), 300)}")
    hits = {name: metrics.answers(own["logits"]) == own["labels"] for name, own in found.items()}
    n = len(hits[over])
    pairs = {name: stats.discordant(own, hits[over]) for name, own in hits.items() if name != over}
    raw = [stats.mcnemar(*pair) for pair in pairs.values()]
    adjusted = dict(zip(pairs, stats.holm(raw), strict=True))
    rows = []
    for (name, own), right in zip(found.items(), hits.values(), strict=True):
        low, high = stats.wilson(int(right.sum()), n)
        told: dict[str, Any] = {"name": name, "top1": 100 * float(right.mean()), "low": 100 * low, "high": 100 * high}
        told |= {"top5": math.nan if own["top5"] is None else own["top5"], "params": own["params"], "file": own["file"]}
        if name in pairs:
            b, c = pairs[name]
            ends = stats.discordant_interval(b, c, n)
            told |= {"right": b, "wrong": c, "gain": 100 * (b - c) / n, "p": stats.mcnemar(b, c)}
            told |= {"gain_low": 100 * ends[0], "gain_high": 100 * ends[1], "adjusted": float(adjusted[name])}
            told["verdict"] = "not resolved" if adjusted[name] >= LEVEL else "helps" if b > c else "hurts"
            told["verdict"] = told["verdict"] if b + c else "same answers"
        rows.append(Row(**told))
    return rows


def shown(rows: list[Row], over: str) -> pd.DataFrame:
    """One row a file, as text."""
    made = pd.DataFrame(
        {
            "weights": row.name,
            f"{METRICS['top1']}, 95 % interval": f"{row.top1:.2f} [{row.low:.2f}, {row.high:.2f}]",
            METRICS["top5"]: "–" if math.isnan(row.top5) else f"{row.top5:.2f}",
            f"over {over}": tables.gain(row.gain, row.gain_low, row.gain_high),
            "verdict": WORDS.get(row.verdict, row.verdict) or "–",
            "right alone": "–" if math.isnan(row.gain) else f"{row.right:,}",
            "wrong alone": "–" if math.isnan(row.gain) else f"{row.wrong:,}",
            "p (Holm)": "–" if math.isnan(row.p) else f"{row.adjusted:.2g}",
            "params": f"{row.params / 1e6:.2f} M" if row.params >= 1e5 else f"{row.params:,}",
            "sha256": row.file[:12],
        }
        for row in rows
    )
    return made.drop(columns=METRICS["top5"]) if all(math.isnan(row.top5) for row in rows) else made


def notes(found: Mapping[str, Answer], rows: list[Row], over: str) -> list[str]:
    """What a reader has to know."""
    first = next(iter(found.values()))
    n, classes = len(first["labels"]), len(first["names"])
    lines = [
        "One pass each over the same test images; nothing was trained. How these weights were trained is unknown here, "
        "and so is why one is better: a difference is of two files, not of two recipes. Another training by the same "
        "recipe is another file.",
        f"{count(n, 'test image')} of {classes} classes. Intervals of top-1 are Wilson's; of differences a paired "
        "bootstrap over images, 95 % each. Verdicts by McNemar's exact test at .05, after Holm.",
    ]
    if any(row.right + row.wrong for row in rows):
        lines.append(f"Right alone: images that it has right and {over} has not. Wrong alone: the other way round.")
    lost = [row.name for row in rows if row.low <= 100 / classes]
    if lost:
        lines.append(
            f"{together(lost)}: no better than chance. Are the classes in the order of this test set? Answer k is "
            "taken for its class k, by name."
        )
    alike: dict[str, list[str]] = {}
    for row in rows:
        alike.setdefault(str(found[row.name]["network"]), []).append(row.name)
    lines += [f"{together(names)} are the same network, to the bit." for names in alike.values() if len(names) > 1]
    sizes = sorted({own["size"] for own in found.values()})
    if len(sizes) > 1:
        lines.append(f"Images are tested at {together(map(str, sizes))} px, as each was asked for.")
    counts = np.bincount(first["labels"], minlength=classes)
    if metrics.uneven(counts):
        lines.append(f"Classes have {counts.min()} to {counts.max()} test images: top-1 tells mostly of the largest.")
    return lines


@style()
def figure(rows: list[Row], over: str, n: int) -> Figure:
    """Left the accuracies, right the differences from one of them; a row a file."""
    made = Figure(figsize=(11, 1.9 + 0.5 * len(rows)), layout="constrained")
    left, right = made.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    ends: Array = np.array([(row.low, row.high) for row in rows])
    left.set_xlim(*percent(*frame([row.top1 for row in rows], ends)))
    for i, row in enumerate(rows):
        interval(left, i, row.top1, row.low, row.high, INK, True, f"{row.name}: {row.top1:.2f} %")
    gains = [row.gain for row in rows if not math.isnan(row.gain)]
    right.set_xlim(*frame([0.0, *gains], [(row.gain_low, row.gain_high) for row in rows]))
    right.axvline(0, color="0.4", lw=1, zorder=1)
    for i, row in enumerate(rows):
        if math.isnan(row.gain):
            continue
        hue = tint(row.verdict)
        interval(right, i, row.gain, row.gain_low, row.gain_high, hue, resolved(row.verdict))
        where: dict[str, Any] = {"xytext": (0, -8), "textcoords": "offset points", "ha": "center", "va": "top"}
        told = f"{round(row.gain, 2) + 0.0:+.2f}, {WORDS.get(row.verdict, row.verdict)}"
        right.annotate(told, (row.gain, i), **where, fontsize=SMALL, color=hue, bbox=CLEAR)
    left.set_yticks(range(len(rows)), [one_line(row.name, LONG) for row in rows], color=INK)
    left.set_ylim(len(rows) - 0.35, -0.65)
    left.set_xlabel(f"{METRICS['top1']} (%)\nof {n:,} images, with Wilson's 95 % interval")
    hollow = "" if all(resolved(row.verdict) for row in rows if row.verdict) else "\nhollow: not resolved"
    right.set_xlabel(f"less {one_line(over, LONG)} (points)\npaired by image, with 95 % interval{hollow}")
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    return made


def write(title: str, found: Mapping[str, Answer], over: str | None, folder: Path) -> tuple[str, list[Row]]:
    """Write weights.md, weights.csv and the picture, weights.{png,svg,pdf}; returns the text, and the rows."""
    over = next(iter(found)) if over is None else over
    rows = compared(found, over)
    table = tables.markdown(shown(rows, over), ["weights", "verdict"])
    text = tables.document(f"{title}: weights, on one test set", [table], notes(found, rows, over))
    write_atomic(folder / "weights.md", text.encode())
    plain = pd.DataFrame([vars(row) | {"verdict": WORDS.get(row.verdict, row.verdict)} for row in rows])
    write_atomic(folder / "weights.csv", tables.comma_separated(plain).encode())
    figures.save(folder, "weights", figure(rows, over, len(next(iter(found.values()))["labels"])))
    return text, rows
