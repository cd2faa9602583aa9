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
from harness import metrics, one_line, stats
from harness.paths import write_atomic
from harness.report import tables
from harness.report.figures.style import CLEAR, INK, LONG, SMALL, frame, interval, percent, resolved, style, tint
from harness.report.words import METRICS, count, together
from harness.stats.tests import Array

Answer = Mapping[str, Any]
LEVEL = 0.05
NAMED, MOST = 5, 40  # names in a note; rows of a picture
WORDS = {"helps": "better", "hurts": "worse"}  # of two files, of which neither is a trick


@dataclass(frozen=True)
class Row:
    """A file of weights: top-1 with Wilson's interval and, over the first of `over`, what is paired by image.

    Percent and points. `right` and `wrong` are the images that it alone, or the other alone, has right; `p` is
    McNemar's, exact, `adjusted` by Holm over all networks. nan, and no verdict, of the one that others are set against.
    """

    name: str
    top1: float
    low: float
    high: float
    balanced: float
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
    """A row a file, in order; gains are over `over`, or the first. Copies of a network are one test."""
    over = next(iter(found)) if over is None else over
    said = {name: metrics.answers(own["logits"]) for name, own in found.items()}
    hits = {name: said[name] == own["labels"] for name, own in found.items()}
    n = len(hits[over])
    pairs = {name: stats.discordant(own, hits[over]) for name, own in hits.items() if name != over}
    first = {str(found[name]["network"]): name for name in reversed(pairs)}  # of each network
    tested = dict(zip(first, stats.holm([stats.mcnemar(*pairs[name]) for name in first.values()]), strict=True))
    adjusted = {name: tested[str(found[name]["network"])] for name in pairs}
    rows = []
    for (name, own), right in zip(found.items(), hits.values(), strict=True):
        low, high = stats.wilson(int(right.sum()), n)
        told: dict[str, Any] = {"name": name, "top1": 100 * float(right.mean()), "low": 100 * low, "high": 100 * high}
        told |= {"balanced": metrics.balanced(own["labels"], said[name])}
        told |= {"top5": math.nan if own["top5"] is None else own["top5"], "params": own["params"], "file": own["file"]}
        if name in pairs:
            b, c = pairs[name]
            ends = stats.discordant_interval(b, c, n)
            told |= {"right": b, "wrong": c, "gain": 100 * (b - c) / n, "p": stats.mcnemar(b, c)}
            told |= {"gain_low": 100 * ends[0], "gain_high": 100 * ends[1], "adjusted": float(adjusted[name])}
            told["verdict"] = "not resolved" if adjusted[name] >= LEVEL else "helps" if b > c else "hurts"
            if not b + c:
                same = np.array_equal(said[name], said[over])
                told["verdict"] = "same answers" if same else "right on the same images"
        rows.append(Row(**told))
    return rows


def shown(rows: list[Row], over: str, uneven: bool = False) -> pd.DataFrame:
    """One row a file, as text."""
    short = one_line(over, LONG)
    made = pd.DataFrame(
        {
            "weights": one_line(row.name, 200),
            f"{METRICS['top1']}, 95 % interval": f"{row.top1:.2f} [{row.low:.2f}, {row.high:.2f}]",
            METRICS["balanced_accuracy"]: f"{row.balanced:.2f}",
            METRICS["top5"]: "–" if math.isnan(row.top5) else f"{row.top5:.2f}",
            f"over {short}": tables.gain(row.gain, row.gain_low, row.gain_high),
            "verdict": WORDS.get(row.verdict, row.verdict) or "–",
            "only it right": "–" if math.isnan(row.gain) else f"{row.right:,}",
            f"only {short} right": "–" if math.isnan(row.gain) else f"{row.wrong:,}",
            "p (Holm)": "–" if math.isnan(row.p) else f"{row.adjusted:.2g}",
            "params": f"{row.params / 1e6:.2f} M" if row.params >= 1e5 else f"{row.params:,}",
            "sha256": row.file[:12],
        }
        for row in rows
    )
    no_top5 = all(math.isnan(row.top5) for row in rows)
    return made.drop(columns=[METRICS["top5"]] * no_top5 + [METRICS["balanced_accuracy"]] * (not uneven))


def notes(found: Mapping[str, Answer], rows: list[Row], over: str) -> list[str]:
    """What a reader has to know."""
    first = next(iter(found.values()))
    n, classes = len(first["labels"]), len(first["names"])
    lines = [
        "One pass each over the same test images; nothing was trained. How these weights were trained is unknown here, "
        "and so is why one is better: a difference is of two files, not of two recipes. Another training by the same "
        "recipe is another file. Whether any of them was trained on these test images is not known either.",
        f"{count(n, 'test image')} of {classes} classes. Intervals of top-1 are Wilson's; of differences a paired "
        "bootstrap over images, 95 % each. Verdicts by McNemar's exact test at .05, after Holm over all networks, so "
        "an interval may leave out 0 though its difference is not resolved.",
        f"All are set against {one_line(over, LONG)}. To set them against the best of this table is to choose by these "
        "images: it looks better than it is, and Holm does not know.",
    ]
    counts = np.bincount(first["labels"], minlength=classes)
    chance = 100 * max(1 / classes, float(counts.max()) / n)
    guess = "the largest class alone" if metrics.uneven(counts) else "guessing"
    shifted = [one_line(row.name, LONG) for row in rows if row.high < 100 / classes]
    if shifted:
        lines.append(
            f"Below guessing: {_some(shifted)}. Are the classes in the order of this test set? Output 0 is taken for "
            "the first class by name, output 1 for the second, and so on."
        )
    lost = [one_line(row.name, LONG) for row in rows if row.low <= chance and row.high >= 100 / classes]
    if lost:
        lines.append(f"Not told apart from {guess}, {chance:.2f} %: {_some(lost)}.")
    alike: dict[str, list[str]] = {}
    for row in rows:
        alike.setdefault(str(found[row.name]["network"]), []).append(one_line(row.name, LONG))
    lines += [f"{_some(names)} are the same network, to the bit." for names in alike.values() if len(names) > 1]
    sizes = sorted({own["size"] for own in found.values()})
    if len(sizes) > 1:
        lines.append(f"Images are tested at {together(map(str, sizes))} px, as each was asked for.")
    if metrics.uneven(counts):
        lines.append(f"Classes have {counts.min()} to {counts.max()} test images: top-1 tells mostly of the largest.")
    return lines


def _some(names: list[str]) -> str:
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return together([*names[:NAMED], *more])


@style()
def figure(rows: list[Row], over: str, n: int) -> Figure:
    """Left the accuracies, right the differences from one of them; a row a file, of many the best and the worst."""
    every = len(rows)
    if every > MOST:
        best = sorted((row for row in rows if row.name != over), key=lambda row: -row.top1)
        rows = [*(row for row in rows if row.name == over), *best[: MOST // 2], *best[-MOST // 2 + 1 :]]
    made = Figure(figsize=(11, 1.9 + 0.5 * len(rows)), layout="constrained")
    left, right = made.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    ends: Array = np.array([(row.low, row.high) for row in rows])
    left.set_xlim(*percent(*frame([row.top1 for row in rows], ends)))
    for i, row in enumerate(rows):
        interval(left, i, row.top1, row.low, row.high, INK, True, f"{row.name}: {row.top1:.2f} %")
    gains = [row.gain for row in rows if not math.isnan(row.gain)]
    low, high = frame([0.0, *gains], [(row.gain_low, row.gain_high) for row in rows])
    right.set_xlim(low - 0.12 * (high - low), high + 0.12 * (high - low))  # room for words
    right.axvline(0, color="0.4", lw=1, zorder=1)
    for i, row in enumerate(rows):
        if math.isnan(row.gain):
            continue
        hue = tint(row.verdict)
        interval(right, i, row.gain, row.gain_low, row.gain_high, hue, resolved(row.verdict))
        where: dict[str, Any] = {"xytext": (0, -8), "textcoords": "offset points", "ha": "center", "va": "top"}
        told = f"{round(row.gain, 2) + 0.0:+.2f}, {WORDS.get(row.verdict, row.verdict)}"
        right.annotate(told, (row.gain, i), **where, fontsize=SMALL, color=hue, bbox=CLEAR)
    left.set_yticks(range(len(rows)), [_short(row.name) for row in rows], color=INK)
    left.set_ylim(len(rows) - 0.35, -0.65)
    left_out = f"\nthe best and the worst of {every}" if every > len(rows) else ""
    left.set_xlabel(f"{METRICS['top1']} (%)\nof {n:,} images, with Wilson's 95 % interval{left_out}")
    hollow = "" if all(resolved(row.verdict) for row in rows if row.verdict) else "\nhollow: not resolved"
    right.set_xlabel(f"minus {_short(over)} (points)\npaired by image, with 95 % interval{hollow}")
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    return made


def _short(name: str) -> str:
    """A name of at most `LONG` letters, cut in its middle: names of a folder differ at their ends."""
    told = one_line(name, 400)
    return told if len(told) <= LONG else f"{told[: LONG // 2 - 1]}…{told[-LONG // 2 :]}"


def write(title: str, found: Mapping[str, Answer], over: str | None, folder: Path) -> tuple[str, list[Row]]:
    """Write weights.md, weights.csv and the picture, weights.{png,svg,pdf}; returns the text, and the rows."""
    over = next(iter(found)) if over is None else over
    rows = compared(found, over)
    first = next(iter(found.values()))
    uneven = metrics.uneven(np.bincount(first["labels"], minlength=len(first["names"])))
    table = shown(rows, over, uneven)
    table = tables.markdown(table.rename(columns=tables.literal), ["weights", "verdict"])
    text = tables.document(f"{one_line(title)}: weights, on one test set", [table], notes(found, rows, over))
    write_atomic(folder / "weights.md", text.encode())
    plain = pd.DataFrame([vars(row) | {"verdict": WORDS.get(row.verdict, row.verdict)} for row in rows])
    write_atomic(folder / "weights.csv", tables.comma_separated(plain).encode())
    figures.save(folder, "weights", figure(rows, over, len(next(iter(found.values()))["labels"])))
    return text, rows
