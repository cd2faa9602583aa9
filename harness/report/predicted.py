"""Pictures of what a detector or a segmenter answers, beside the truth: arrays in, a Figure out, as in `pictures`.

Images are uint8, H x W x 3. Boxes are as `stats.detection` has them: inclusive pixels, the first being 1. Masks are
integers H x W, of the image's size; -1 is not labelled. `names` are the classes': of label 1 first, of mask 0 first.
"""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm, hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from harness import one_line, stats
from harness.report.figures import HELPS, HURTS, INK, SEED, SMALL, heading, style
from harness.report.pictures import Image, show

Array = NDArray[np.float64]
Mask = NDArray[np.integer]

SHOWN = 20  # boxes: more of one image hide it
LEAST = 0.5  # the score from which on a detection is drawn
NAMED = 24  # classes in a legend
COUNTED = 25  # classes: of more, no percentages are written
LONG = 14  # letters of a class's name beside a box, or above a curve
MIXED = 0.65  # of a class's colour over the grey photo
DASHES = {"right": "-", "wrong": (0, (4, 2)), "difficult": (0, (1, 1.5))}

CAPTIONS = {  # name -> heading, what a reader must know to read it
    "boxes": (
        "Boxes",
        "Left: the boxes of the truth; dashed where no detection of the right picture has it, dotted where it is "
        "difficult, so that it does not count. Right: detections with their scores, the highest of an image alone; "
        "dashed: a false alarm, or one more of a box that a higher score has; dotted: of a difficult box.",
    ),
    "masks": (
        "Masks",
        "A row each image: the photo, its classes, those that were answered, and where these differ. Pixels that are "
        "not labelled are black, and do not count.",
    ),
    "recalls": (
        "Precision and recall",
        "A panel each class. Grey: precision and recall as detections are added, by falling score. Blue: the "
        "greatest precision at that recall or above; the area below it is the AP in brackets. Dots: that precision at "
        "eleven recalls, whose mean is VOC07's AP, the first number.",
    ),
    "pixels": (
        "Confusion of pixels",
        "A row each class: how its pixels were answered, in percent of the row where there are numbers. The diagonal "
        "is right. Shades go by the root of the share, so that small ones are seen. In brackets: the class's share of "
        "all labelled pixels.",
    ),
}


def palette(n: int) -> Array:
    """A colour a class, n x 3 of 0..1: twenty that are named by matplotlib, above that hues that are spread evenly."""
    if n <= 20:
        bright = [*range(0, 20, 2), *range(1, 20, 2)]  # tab20's dark ones first
        return np.array([mpl.colormaps["tab20"].colors[i] for i in bright[:n]])  # type: ignore[attr-defined]
    i = np.arange(n)
    hue = i * (math.sqrt(5) - 1) / 2 % 1  # steps of the golden ratio: neighbours are far apart
    strength, light = np.array([0.9, 0.55, 0.75])[i % 3], np.array([0.95, 0.8, 0.6])[i // 3 % 3]
    made: Array = hsv_to_rgb(np.stack([hue, strength, light], 1))
    return made


# --- detection -------------------------------------------------------------------------------------------------------


def _judged(truth: Array, found: Array, least: float) -> tuple[Array, list[str], list[str]]:
    """(detections of a score of `least` or more, by score; how each is, and how each box is) of one image."""
    above = found[found[:, 1] >= least]
    above = above[np.argsort(-above[:, 1], kind="stable")]
    boxes = ["difficult" if row[5] else "wrong" for row in truth]
    each = []
    for box in stats.claims(truth, above):
        if box >= 0 and boxes[box] == "wrong":
            boxes[box] = "right"
            each.append("right")
        else:
            each.append("difficult" if box >= 0 and truth[box, 5] else "wrong")
    return above, each, boxes


def _box(axis: Axes, corners: Sequence[float], text: str, hue: Any, how: str) -> None:
    """A box of inclusive pixels from 1, over an image whose first pixel has its middle at 0."""
    left, top, right, bottom = corners
    rim = [Stroke(linewidth=2.6, foreground="white", alpha=0.7), Normal()]
    axis.add_patch(
        Rectangle(
            (left - 1.5, top - 1.5),
            right - left + 1,
            bottom - top + 1,
            fill=False,
            ec=hue,
            lw=1.4,
            ls=DASHES[how],
            path_effects=rim if how == "right" else None,
        )
    )
    tag: dict[str, Any] = {"facecolor": hue, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    ink = "white" if np.dot(hue, (0.3, 0.59, 0.11)) < 0.6 else "black"
    y, side = (bottom - 1, "bottom") if how == "wrong" else (top - 1, "top")  # one more of a box hides no tag of it
    place = max(left - 1, 0), min(max(y, 0), axis.get_ylim()[0])  # a box may leave the image, its tag may not
    axis.text(*place, text, fontsize=5.5, color=ink, va=side, bbox=tag, clip_on=True)


@style()
def boxes(
    study: str,
    run: str,
    images: Sequence[Image],
    truth: Sequence[Array],
    found: Sequence[Array],
    names: Sequence[str],
    least: float = LEAST,
) -> Figure:
    """Photos with their boxes, B x 6, and with those found, D x 6: at most `SHOWN`, of a score of `least` or more."""
    tall = max(image.shape[0] / image.shape[1] for image in images)
    figure = Figure(figsize=(11, (5.4 * tall + 0.3) * len(images) + 0.8), layout="constrained")
    axes, hues = figure.subplots(len(images), 2, squeeze=False), palette(len(names))
    told = [one_line(name, LONG) for name in names]
    for (left, right), image, own, others in zip(axes, images, truth, found, strict=True):
        above, each, state = _judged(own, others, least)
        for axis in (left, right):
            show(axis, image)
            axis.set_autoscale_on(False)
        for row, how in zip(own, state, strict=True):
            _box(left, row[1:5].tolist(), told[int(row[0]) - 1], hues[int(row[0]) - 1], how)
        for row, how in reversed([*zip(above[:SHOWN], each[:SHOWN], strict=True)]):  # the surest on top
            if np.isfinite(row).all():
                text = f"{told[int(row[0]) - 1]} {row[1]:.2f}"
                _box(right, row[2:6].tolist(), text, hues[int(row[0]) - 1], how)
        wanted = len(own) - state.count("difficult")
        cut = f", the {SHOWN} surest drawn" if len(above) > SHOWN else ""
        left.set_title(f"{state.count('right')} of {wanted} boxes found", fontsize=SMALL, color=INK, loc="left")
        told_right = f"{len(above)} found with a score of {least:g} or more, {each.count('right')} right{cut}"
        right.set_title(told_right, fontsize=SMALL, color=INK, loc="left")
    lines = [
        Line2D([], [], color=INK, lw=1.4, ls=DASHES[how], label=text)
        for how, text in (
            ("right", "found, right"),
            ("wrong", "missed, wrong"),
            ("difficult", "difficult, not counted"),
        )
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    heading(figure, study, f"{one_line(run)}, boxes of the truth (left) and found (right)")
    return figure


@style()
def recalls(study: str, run: str, curves: Sequence[stats.Curve], names: Sequence[str]) -> Figure:
    """Precision against recall, a panel a class, and VOC07's eleven points."""
    columns = min(5, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(max(2.2 * columns, 5.5), 2.3 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, curve, name in zip(axes, curves, names, strict=False):
        axis.set_title(f"{one_line(name, LONG)}: no box", fontsize=SMALL, color=INK)
        if not curve.n:
            continue
        recall, precision = curve.recall, curve.precision
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        axis.plot(recall, precision, color=SEED, lw=0.8)
        if len(recall):
            axis.step([0, *recall], [envelope[0], *envelope], where="pre", color=HELPS, lw=1.5)
        dots = [envelope[10 * curve.tp >= j * curve.n].max(initial=0) for j in range(11)]
        axis.plot(np.arange(11) / 10, dots, "o", ms=3.5, color=INK, clip_on=False, zorder=3)
        told = f"{one_line(name, LONG)}\n{100 * curve.eleven:.1f} ({100 * curve.area:.1f}), n = {curve.n:,}"
        axis.set_title(told, fontsize=SMALL, color=INK)
    axes[0].set(xlim=(0, 1), ylim=(0, 1.03))
    axes[0].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for axis in axes[len(curves) :]:
        axis.set_axis_off()
    figure.supxlabel("recall", fontsize=SMALL + 1, color=INK)
    figure.supylabel("precision", fontsize=SMALL + 1, color=INK)
    mean = 100 * stats.mean_ap(curves, eleven=True), 100 * stats.mean_ap(curves, eleven=False)
    heading(figure, study, f"{one_line(run)}, mAP {mean[0]:.2f} (by area {mean[1]:.2f})")
    return figure


# --- segmentation ----------------------------------------------------------------------------------------------------


def _layers(image: Image, labels: Mask, answer: Mask, hues: Array) -> list[Image]:
    """The masks of the truth and of the answer over the grey photo, and where they differ."""
    known, grey = labels >= 0, image.mean(2, keepdims=True) / 255
    truth, said = ((1 - MIXED) * grey + MIXED * hues[np.maximum(mask, 0)] for mask in (labels, answer))
    red = 0.2 * grey + 0.8 * np.array(mpl.colors.to_rgb(HURTS))
    wrong = np.where((labels != answer)[..., None], red, 0.55 + 0.45 * grey)
    truth[~known] = wrong[~known] = 0
    return [(255 * layer).astype(np.uint8) for layer in (truth, said, wrong)]


@style()
def masks(
    study: str, run: str, images: Sequence[Image], truth: Sequence[Mask], answers: Sequence[Mask], names: Sequence[str]
) -> Figure:
    """Photos, their masks, those answered, and where they are wrong; a legend of the classes, the largest first."""
    hues, seen = palette(len(names)), np.zeros(len(names), np.int64)
    for mask in (*truth, *answers):
        seen += np.bincount(mask[mask >= 0], minlength=len(names))
    there = [int(k) for k in np.argsort(-seen, kind="stable") if seen[k]]
    told = [one_line(names[k], 2 * LONG) for k in there[:NAMED]]
    handles = [Patch(color=hues[k], label=name) for k, name in zip(there, told, strict=False)]
    if len(there) > NAMED:
        handles.append(Patch(color="white", label=f"and {len(there) - NAMED} more"))
    handles.append(Patch(color="black", label="not labelled"))
    wide = 4 if max(map(len, told), default=0) > LONG else 6
    tall = max(image.shape[0] / image.shape[1] for image in images)
    room = 0.7 + 0.2 * -(-len(handles) // wide)  # inches: heading, titles, legend
    figure = Figure(figsize=(11, (2.65 * tall + 0.3) * len(images) + room), layout="constrained")
    axes = figure.subplots(len(images), 4, squeeze=False)
    for row, image, labels, answer in zip(axes, images, truth, answers, strict=True):
        for axis, picture in zip(row, (image, *_layers(image, labels, answer, hues)), strict=True):
            show(axis, picture)
        right = 100 * stats.pixel_accuracy(stats.confusion(labels, answer, len(names)))
        share = "no pixel is labelled" if math.isnan(right) else f"{right:.1f} % of pixels right"
        row[3].set_xlabel(share, fontsize=SMALL, color=INK)
    for axis, title in zip(axes[0], ("photo", "truth", "answer", "wrong"), strict=True):
        axis.set_title(title, fontsize=SMALL + 1, color=INK)
    figure.legend(handles=handles, loc="outside lower center", ncols=wide, fontsize=SMALL, frameon=False)
    heading(figure, study, f"{one_line(run)}, classes of pixels")
    return figure


@style()
def pixels(study: str, run: str, matrix: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """`matrix[i, j]` labelled pixels of class i were answered j; each row as shares of its class."""
    n = len(names)
    side = min(max(0.55 * n, 3.5), 15)
    size = min(SMALL, 0.72 * 72 * side / n)  # points: letters of three quarters of a row
    layout = ConstrainedLayoutEngine(w_pad=0.2)  # inches: letters as small as these are measured too narrow
    figure = Figure(figsize=(side + 3.4, side + 2), layout=layout)
    axis = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    drawn = axis.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    if n <= COUNTED:
        for i, j in zip(*np.nonzero(share >= 0.005), strict=True):
            hue = "white" if share[i, j] > 0.3 else INK
            axis.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=size, color=hue)
    told = [one_line(name, 2 * LONG) for name in names]
    part = 100 * matrix.sum(1) / max(matrix.sum(), 1)
    axis.set_xticks(range(n), told, rotation=90, fontsize=size, color=INK)
    axis.set_yticks(range(n), [f"{a} ({b:.2g} %)" for a, b in zip(told, part, strict=True)], fontsize=size, color=INK)
    axis.grid(visible=False)
    axis.tick_params(length=0, pad=2)
    for at in np.arange(0, n + 1, 1 if n <= COUNTED else 5) - 0.5:  # lines for the eye to go along
        axis.axhline(at, color="0.88", lw=0.5)
        axis.axvline(at, color="0.88", lw=0.5)
    axis.set(xlabel="answer", ylabel="class (its share of all pixels)", xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    bar = figure.colorbar(drawn, ax=axis, shrink=0.6, label="share of the class", ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"], fontsize=SMALL)
    accuracy, mean = 100 * stats.pixel_accuracy(matrix), 100 * stats.mean_iou(matrix)
    heading(figure, study, f"{one_line(run)}, {accuracy:.1f} % of pixels right, mIoU {mean:.1f}")
    return figure
