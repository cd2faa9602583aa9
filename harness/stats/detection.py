"""Average precision of object detection, by the rules of Pascal VOC's devkit (Everingham et al. 2010, section 4.2).

A box is inclusive pixels: it is xmax - xmin + 1 wide. Images are in the order of the set. `truth` has for each image
B x 6 numbers (label 1..K, xmin, ymin, xmax, ymax, difficult 0 or 1), `found` D x 6 (label 1..K, score, xmin, ymin,
xmax, ymax).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.stats.tests import Array


@dataclass(frozen=True)
class Curve:
    """One class over a whole set: its detections by score, descending, without those of difficult boxes."""

    n: int  # boxes that are to be found: those not difficult
    scores: Array  # D
    hits: NDArray[np.bool_]  # D: the first of a box; all others are false positives

    @property
    def tp(self) -> NDArray[np.int64]:
        """True positives among the first 1, 2, .., D detections."""
        return np.cumsum(self.hits, dtype=np.int64)

    @property
    def precision(self) -> Array:
        """Share of the first 1, 2, .., D detections that are hits."""
        return self.tp / np.arange(1, len(self.hits) + 1)

    @property
    def recall(self) -> Array:
        """Share of the n boxes that the first 1, 2, .., D detections find; nan where there is no box."""
        return self.tp / (self.n or math.nan)

    @property
    def eleven(self) -> float:
        """VOC07's average precision, share of 1: the mean over recalls t of 0, .1, .., 1 of the greatest precision.

        That is of all detections whose recall is t or more; 0 where there is none. nan where there is no box.

        Recall is compared in integers, 10 · tp >= j · n. `np.arange(0, 1.1, 0.1)` has .30000000000000004 for .3, and
        likewise for .6 and .7: a port that compares with it takes a recall of exactly 3/10 to be below .3. Numbers by
        such ports, gluon-cv's among them, may be lower for it, by up to 1/11 a class.
        """
        if not self.n:
            return math.nan
        tp, precision = self.tp, self.precision
        return math.fsum(precision[10 * tp >= j * self.n].max(initial=0) for j in range(11)) / 11

    @property
    def area(self) -> float:
        """Average precision since VOC10, share of 1: the area below the curve, precision never rising with recall.

        At each recall the curve is the greatest precision at that recall or above. nan where there is no box.
        """
        if not self.n:
            return math.nan
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return math.fsum(envelope[self.hits]) / self.n  # each hit adds 1/n to recall


def curves(truth: Sequence[ArrayLike], found: Sequence[ArrayLike], classes: int) -> list[Curve]:
    """The curve of each class, 1 to `classes`, in this order.

    A detection belongs to the box that `claims` gives it. Of a difficult box it does not count at all. Of another it is
    a hit if no detection of a higher score has this box, else a false positive. Equal scores are in the order of their
    images, then of their places in `found`. A score that is nan comes last.

    ValueError where the numbers of images differ, or a label is not in 1..`classes`.
    """
    if len(truth) != len(found):
        raise ValueError(f"boxes of {len(truth)} images, and detections of {len(found)}")
    boxes, detections = [_rows(rows) for rows in truth], [_rows(rows) for rows in found]
    first = np.cumsum([0, *map(len, boxes)])  # the place of an image's first box among all
    own = [claims(b, d) for b, d in zip(boxes, detections, strict=True)]
    claimed = np.concatenate([_none(), *(np.where(c < 0, -1, c + at) for c, at in zip(own, first, strict=False))])
    every, said = np.concatenate([_rows([]), *boxes]), np.concatenate([_rows([]), *detections])
    for labels in (every[:, 0], said[:, 0]):
        if not np.isin(labels, np.arange(1, classes + 1)).all():
            raise ValueError(f"a label is not in 1 to {classes}")
    return [_curve(every, said, claimed, label) for label in range(1, classes + 1)]


def _curve(every: Array, said: Array, claimed: NDArray[np.int64], label: int) -> Curve:
    easy = every[:, 5] == 0
    mine = np.flatnonzero(said[:, 0] == label)
    mine = mine[np.argsort(-said[mine, 1], kind="stable")]
    box = claimed[mine]
    counts = box < 0
    counts[~counts] = easy[box[~counts]]
    mine, box = mine[counts], box[counts]
    hits = np.zeros(len(box), bool)
    hits[np.unique(box, return_index=True)[1]] = True  # the first of each box, whatever comes between
    hits[box < 0] = False
    return Curve(int((easy & (every[:, 0] == label)).sum()), said[mine, 1], hits)


@np.errstate(invalid="ignore", over="ignore")  # of boxes that are not finite: no overlap
def claims(boxes: ArrayLike, found: ArrayLike) -> NDArray[np.int64]:
    """The place in `boxes`, B x 6, of the box that each of `found`, D x 6, overlaps most in one image; -1 where none.

    That is the box of the same label with the greatest IoU, the first of equals, whether others claim it or not; and
    none where that IoU is below .5. COCO's rule would go on to the next box.

    Where coordinates are integers all is exact: 2 · intersection >= union is asked of integers, and two quotients of
    integers below 2^26 are equal as floats only where they are equal.
    """
    b, d = _rows(boxes), _rows(found)
    if not len(b) or not len(d):
        return np.full(len(d), -1)
    wide = np.minimum(d[:, None, 4], b[:, 3]) - np.maximum(d[:, None, 2], b[:, 1]) + 1
    tall = np.minimum(d[:, None, 5], b[:, 4]) - np.maximum(d[:, None, 3], b[:, 2]) + 1
    meet = (wide > 0) & (tall > 0) & (d[:, None, 0] == b[:, 0])
    inter = np.where(meet, wide * tall, 0)
    union = _area(d[:, 2:])[:, None] + _area(b[:, 1:5]) - inter
    iou = np.divide(inter, union, out=np.zeros_like(inter), where=meet)
    best = iou.argmax(1)
    each = np.arange(len(d))
    enough = meet[each, best] & (2 * inter[each, best] >= union[each, best])
    return np.where(enough, best, -1)


def mean_ap(found: Sequence[Curve], eleven: bool) -> float:
    """Mean average precision, share of 1, over the classes that have a box; nan where none has.

    `eleven`: as in VOC07, else by area.
    """
    own = [curve.eleven if eleven else curve.area for curve in found if curve.n]
    return math.fsum(own) / len(own) if own else math.nan


def _area(corners: Array) -> Array:
    """Pixels of inclusive boxes N x 4."""
    return (corners[:, 2] - corners[:, 0] + 1) * (corners[:, 3] - corners[:, 1] + 1)


def _rows(rows: ArrayLike) -> Array:
    return np.asarray(rows, float).reshape(-1, 6)


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)
