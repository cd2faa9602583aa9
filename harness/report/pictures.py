"""Pictures of a study's data and of what a network answers: arrays in, a Figure out, in the manner of `figures`.

Images are uint8, H x W x 1 or 3. A name is text, as there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from harness import one_line
from harness.report.figures import HELPS, HURTS, INK, SMALL, decimal, heading, style

Image = NDArray[np.uint8]
Counts = NDArray[np.int64]

LONG = 26  # letters of a class's name
COMMON = 0.1  # of the files: a size that so many have is told
NAMED = 40  # classes: of more, no names and no numbers are written
SPLITS = {"train": ("training", "0.35"), "val": ("held out", "#c9a227"), "test": ("test", HELPS)}  # as told, colour
HATCHES = {"train": "", "val": "////", "test": ""}

CAPTIONS = {  # name -> heading, what a reader must know to read it
    "labels": ("Labels", "Images of each class, by split."),
    "sizes": (
        "Sizes of images",
        "A dot each size of an image file as it is stored, its area as the root of how many have it. Both axes are "
        "logarithmic: what has the same shape is on a parallel of the lines.",
    ),
    "samples": (
        "Augmented images",
        "Left: training images as test images are prepared. The others: what the network gets of them in the first "
        "epochs, before it is normalised.",
    ),
    "answers": (
        "Answers",
        "Test images, drawn at random, the same for every run; below each what the network says, with its probability. "
        "✗ and a dashed frame: wrong.",
    ),
    "curves": (
        "Training",
        "Training accuracy is of images as they were trained on, augmented, by weights that moved meanwhile.",
    ),
    "confusion": (
        "Confusion",
        "Numbers are test images; the shade is their share of the row. The diagonal is right.",
    ),
}


def short(names: Sequence[str]) -> list[str]:
    return [one_line(name, LONG) for name in names]


@style()
def labels(study: str, names: Sequence[str], counts: Mapping[str, Counts]) -> Figure:
    """Images of each class in each split; `counts` has one number a class."""
    n, splits = len(names), list(counts)
    figure = Figure(figsize=(11, 1.3 + 0.42 * n if n <= NAMED else 8), layout="constrained")
    axis = figure.subplots()
    thick = 0.8 / len(splits)
    for i, split in enumerate(splits):
        told, hue = SPLITS[split]
        y = np.arange(n) + (i - (len(splits) - 1) / 2) * thick
        told = f"{told}: {counts[split].sum():,}"
        axis.barh(y, counts[split], thick, color=hue, hatch=HATCHES[split], ec="white", lw=0, label=told)
        if n <= NAMED:
            for at, count in zip(y, counts[split], strict=True):
                axis.text(count, at, f" {count}", va="center", fontsize=SMALL - 2, color=INK)
    if n <= NAMED:
        axis.set_yticks(range(n), short(names), color=INK)
    else:
        axis.set_ylabel("class")
    axis.set(xlabel="images", ylim=(n - 0.4, -0.6))
    axis.grid(axis="y", visible=False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize=SMALL)
    heading(figure, study, "images of each class")
    return figure


@style()
def sizes(study: str, found: Mapping[str, Counts]) -> Figure:
    """Width and height of every file, N x 2 px, a panel a split."""
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    every = np.concatenate(list(found.values()))
    low, high = every.min() / 1.15, every.max() * 1.15
    for axis, (split, own) in zip(axes, found.items(), strict=True):
        for ratio, dash, told in ((1, "-", "1 : 1"), (2, "--", "2 : 1, and 1 : 2"), (0.5, "--", None)):
            axis.plot([low, high], [low / ratio, high / ratio], color="0.6", lw=1, ls=dash, label=told, zorder=1)
        alike, count = np.unique(own, axis=0, return_counts=True)
        axis.scatter(*alike.T, s=9 * np.sqrt(count), color=SPLITS[split][1], alpha=0.45, lw=0, zorder=2)
        for (wide, tall), many in zip(alike, count, strict=True):
            if many >= COMMON * len(own):
                told = f"{many:,} of {wide} x {tall}"
                axis.annotate(told, (wide, tall), (14, -4), textcoords="offset points", fontsize=SMALL, color=INK)
        axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        axis.set(xlabel="width (px)", title=f"{SPLITS[split][0]}: {len(own):,} files")
        for side in (axis.xaxis, axis.yaxis):
            decimal(side)
        axis.legend(loc="upper left", fontsize=SMALL)
    axes[0].set_ylabel("height (px)")
    heading(figure, study, "sizes of the image files")
    return figure


def show(axis: Axes, image: Image) -> None:
    grey = image.shape[-1] == 1
    axis.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)


@style()
def samples(study: str, plain: Sequence[Image], drawn: Sequence[Sequence[Image]], names: Sequence[str]) -> Figure:
    """A row an image: not augmented, then each draw; `names` are the rows'."""
    rows, columns = len(plain), len(drawn) + 1
    figure = Figure(figsize=(1.35 * columns, 1.42 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for i, row in enumerate(axes):
        for j, axis in enumerate(row):
            show(axis, drawn[j - 1][i] if j else plain[i])
        row[0].set_title(one_line(names[i], LONG), fontsize=SMALL - 1, color=INK, loc="left", pad=3)
        row[0].spines[:].set(color=INK, lw=1.5)
    heading(figure, study, "not augmented (framed), and as the network got them")
    return figure


@style()
def answers(
    study: str,
    run: str,
    images: Sequence[Image],
    truth: Sequence[str],
    said: Sequence[str],
    sure: Sequence[float],
) -> Figure:
    """Images with the name of their class, the class answered and its probability."""
    columns = 4
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(11, 3.1 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, image, true, answer, p in zip(axes, images, truth, said, sure, strict=False):
        show(axis, image)
        right = true == answer
        hue = HELPS if right else HURTS
        axis.spines[:].set(color=hue, lw=2 if right else 3, ls="-" if right else (0, (3, 2)))
        axis.set_xlabel(
            f"{'✓' if right else '✗'} {one_line(answer, LONG)}, {100 * p:.0f} %", color=hue, fontsize=SMALL + 1
        )
        axis.set_title("" if right else f"is {one_line(true, LONG)}", color=INK, fontsize=SMALL + 1)
    for axis in axes[len(images) :]:
        axis.set_axis_off()
    count = sum(map(str.__eq__, truth, said))
    heading(figure, study, f"{one_line(run)}, {len(images)} test images: {count} right")
    return figure


@style()
def curves(study: str, run: str, epochs: Sequence[Mapping[str, Any]], kept: int | None) -> Figure:
    """Loss and accuracy of each epoch of one run, and the epoch, from 0, whose weights are `kept`."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    x = np.arange(1, len(epochs) + 1)
    watched = "val" if "val_loss" in epochs[0] else "test"
    pairs = (
        ("loss", "loss", f"{watched}_loss"),
        ("top-1 (%)", "train_top1", "val_top1" if watched == "val" else "top1"),
    )
    for axis, (told, trained, measured) in zip(figure.subplots(1, 2), pairs, strict=True):
        for split, name, dash in (("train", trained, "--"), (watched, measured, "-")):
            values = np.array([epoch.get(name, np.nan) for epoch in epochs], float)
            if np.isfinite(values).any():
                there = np.isfinite(values)  # the test set may be measured after some epochs alone
                mark = "o" if there.sum() == 1 else None
                axis.plot(
                    x[there],
                    values[there],
                    ls=dash,
                    lw=1.8,
                    marker=mark,
                    color=SPLITS[split][1],
                    label=SPLITS[split][0],
                )
        if kept is not None:
            axis.axvline(kept + 1, color=INK, lw=1, ls=":", label=f"weights kept: epoch {kept + 1}")
        axis.set(xlabel="epoch", ylabel=told)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=SMALL)
    heading(figure, study, f"{one_line(run)}, by epoch")
    return figure


@style()
def confusion(study: str, run: str, counts: Counts, names: Sequence[str]) -> Figure:
    """`counts[i, j]` test images of class i were taken for class j."""
    n = len(names)
    side = 2.6 + min(0.62 * n, 12) if n <= NAMED else 10.0
    figure = Figure(figsize=(max(side + 1.8, 6.5), max(side, 5.5)), layout="constrained")
    axis = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    drawn = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if n <= NAMED:
        for i, j in zip(*np.nonzero(counts), strict=True):
            hue = "white" if share[i, j] > 0.55 else INK
            axis.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=SMALL, color=hue)
        turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axis.set_xticks(range(n), short(names), color=INK, **(turned if max(map(len, names)) > 4 else {}))
        axis.set_yticks(
            range(n), [f"{name} ({m})" for name, m in zip(short(names), counts.sum(1), strict=True)], color=INK
        )
        axis.set_xticks(np.arange(n - 1) + 0.5, minor=True)
        axis.set_yticks(np.arange(n - 1) + 0.5, minor=True)
        axis.grid(visible=False)
        axis.grid(which="minor", color="0.92")
        axis.tick_params(which="minor", length=0)
    axis.set(xlabel="answer", ylabel="class (its test images)")
    figure.colorbar(drawn, ax=axis, shrink=0.7, label="share of the class")
    heading(figure, study, f"{one_line(run)}, {int(np.trace(counts)):,} of {int(counts.sum()):,} right")
    return figure
