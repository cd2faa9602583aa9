"""The scores of detection and segmentation, written a second time for the evidence.

This shares no code with `harness.stats.detection` and `harness.stats.segmentation`. It goes another way: it walks
through the detections one by one, in exact integers and fractions, and counts pixels class by class as sets.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


def average_precision(
    truth: Sequence[NDArray], found: Sequence[NDArray], label: int
) -> tuple[int, Fraction, Fraction] | None:
    """(boxes to be found, eleven-point and area average precision) of one class by VOC's rules, shares of 1, exact.

    `truth`, for each image B x 6: label, xmin, ymin, xmax, ymax, difficult. `found`, for each image D x 6: label,
    score, xmin, ymin, xmax, ymax. Boxes are inclusive pixels. None where no box is to be found.
    """
    boxes = [[row for row in image.tolist() if row[0] == label] for image in truth]
    queue = [(-row[1], i, row[2:]) for i, image in enumerate(found) for row in image.tolist() if row[0] == label]
    queue.sort(key=lambda claim: (claim[0] != claim[0], claim[0]))  # nan last; the others stay in order
    wanted = sum(row[5] == 0 for image in boxes for row in image)
    taken: set[tuple[int, int]] = set()
    counted, ranks = 0, []  # ranks: after how many detections each hit came
    for _, image, corners in queue:
        best = _best([row[1:5] for row in boxes[image]], corners)
        if best is not None and boxes[image][best][5]:
            continue
        counted += 1
        if best is not None and (image, best) not in taken:
            taken.add((image, best))
            ranks.append(counted)
    return (wanted, *_averages(ranks, wanted)) if wanted else None


def _averages(ranks: Sequence[int], wanted: int) -> tuple[Fraction, Fraction]:
    """Eleven-point and area average precision of hits at `ranks`, ascending.

    Precision is greatest where a hit has just come: `best[k]` is the greatest with more than k hits.
    """
    best = [Fraction(k, rank) for k, rank in enumerate(ranks, 1)]
    for k in range(len(best) - 2, -1, -1):
        best[k] = max(best[k], best[k + 1])
    steps = [-(-j * wanted // 10) for j in range(11)]  # so many hits make a recall of j tenths
    eleven = sum((best[max(k, 1) - 1] for k in steps if k <= len(best) and best), Fraction())
    flat: dict[Fraction, int] = {}  # few values: sums of thousands of fractions would take seconds
    for value in best:
        flat[value] = flat.get(value, 0) + 1
    area = sum((value * many for value, many in flat.items()), Fraction())
    return eleven / 11, area / wanted


def _best(boxes: Sequence[Sequence[float]], corners: Sequence[float]) -> int | None:
    """The place of the first box with the greatest IoU with `corners`, if that is at least a half."""
    if not all(map(math.isfinite, corners)):
        return None
    whole, best, most, of = [corners, *boxes], None, 0, 1
    one = max(value.as_integer_ratio()[1] for box in whole for value in box)  # a pixel, in units that all are whole in
    (left, top, right, bottom), *others = [_scaled(box, one) for box in whole]
    own = (right - left + one) * (bottom - top + one)
    for place, (l, t, r, b) in enumerate(others):
        wide, tall = min(right, r) - max(left, l) + one, min(bottom, b) - max(top, t) + one
        if wide <= 0 or tall <= 0:
            continue
        shared = wide * tall
        union = own + (r - l + one) * (b - t + one) - shared
        if shared * of > most * union:
            best, most, of = place, shared, union
    return best if 2 * most >= of else None


def _scaled(box: Sequence[float], one: int) -> Box:
    l, t, r, b = (n * (one // d) for n, d in (value.as_integer_ratio() for value in box))
    return l, t, r, b


def mean_average_precision(each: Iterable[tuple[int, Fraction, Fraction] | None]) -> tuple[float, float]:
    """(eleven-point, area) mean over classes of their `average_precision`, shares of 1; nan where none has a box."""
    own = [found for found in each if found]
    if not own:
        return math.nan, math.nan
    return float(sum(found[1] for found in own) / len(own)), float(sum(found[2] for found in own) / len(own))


def pixels(labels: NDArray, answers: NDArray, classes: int) -> NDArray[np.int64]:
    """Of each class, K x 3: pixels that have it as label and answer, as either, and as label; those of images add up.

    Labels and answers, integers of one shape; where a label is below 0 nothing counts.
    """
    known = labels >= 0
    counts = np.zeros((classes, 3), np.int64)
    for k in set(np.unique(labels[known])) | set(np.unique(answers[known])):
        is_it, said = labels == k, (answers == k) & known
        counts[k] = (is_it & said).sum(), (is_it | said).sum(), is_it.sum()
    return counts


def segmented(counts: NDArray[np.int64]) -> tuple[float, float, list[float]]:
    """(pixel accuracy, mIoU, each class's IoU) of `pixels` of a whole set, shares of 1; nan of what is nowhere."""
    both, either, own = counts.T.tolist()
    shares = [Fraction(b, e) if e else None for b, e in zip(both, either, strict=True)]
    there = [share for share in shares if share is not None]
    total = sum(own)
    return (
        sum(both) / total if total else math.nan,
        float(sum(there) / len(there)) if there else math.nan,
        [math.nan if share is None else float(share) for share in shares],
    )


def unlike(told: Mapping[str, Any], due: Mapping[str, Any], within: float = 1e-6) -> int:
    """How many numbers of classes in a record are not those due, or are not there."""
    if told.keys() != due.keys():
        return len(due)
    pairs = [(told[name].get(key), value) for name, row in due.items() for key, value in row.items()]
    return sum(a is None or (abs(a - b) > within if a == a and b == b else (a == a) != (b == b)) for a, b in pairs)


def unframed(images: Any, split: str, frames: Sequence[NDArray]) -> int:
    """How many images of an evaluation were said to be of another size, or place, than the data has them."""
    return int((np.abs(images.frames(split) - np.array(frames).reshape(-1, 6)) > 1e-3).any(1).sum())


def beyond(rows: NDArray, height: float, width: float, classes: int) -> int:
    """Of an image's detections, D x 6, those beyond it or of no class, of no score, or after a lower one."""
    some = rows[rows[:, 0] != 0]
    label, score, left, top, right, bottom = some.T
    inside = (
        (left >= 0)
        & (top >= 0)
        & (right <= width + 1e-3)
        & (bottom <= height + 1e-3)
        & (left <= right)
        & (top <= bottom)
    )
    fine = inside & (label >= 1) & (label <= classes) & (score >= 0) & (score <= 1)
    return int((~fine).sum() + (np.diff(score) > 0).sum() + (rows[len(some) :, 0] != 0).sum())
