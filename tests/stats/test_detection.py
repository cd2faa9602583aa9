"""VOC's average precision: by hand, by sets of pixels, and each wrong rule by the wrong number that it gives."""

import math
import os
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from harness import stats
from harness.stats import detection
from harness.stats.detection import Curve, claims, curves, mean_ap
from harness.tasks import again
from tests.kit.scored import DETECTION, A, B, boxes, random_set, said
from tests.mutants import Patch, edited


def scored(truth, found):
    """Area and eleven-point average precision of class 1."""
    (curve,) = detection.curves(truth, found, 1)  # by its module, where it may be broken
    return curve.area, curve.eleven


@pytest.mark.parametrize("case", DETECTION)
def test_by_hand(case):
    truth, found, area, eleven = DETECTION[case]
    assert scored(truth, found) == pytest.approx((float(area), float(eleven)), abs=1e-14)


# Another way: boxes as sets of pixels, and all detections above each score matched anew
def pixels(box):
    left, top, right, bottom = map(int, box)
    return {(x, y) for x in range(left, right + 1) for y in range(top, bottom + 1)}


def counts(truth, claimed, k):
    """(hits, false positives) of the first k detections, walked through from the start."""
    taken, hits, wrong = set(), 0, 0
    for image, label, box in claimed[:k]:
        own = [(i, row) for i, row in enumerate(truth[image]) if row[0] == label]
        shares = [(Fraction(len(pixels(r[1:5]) & box), len(pixels(r[1:5]) | box)), -i, r[5]) for i, r in own]
        share, place, difficult = max(shares, default=(0, 0, 0))
        if share < Fraction(1, 2):
            wrong += 1
        elif not difficult:
            wrong += (image, place) in taken
            hits += (image, place) not in taken
            taken.add((image, place))
    return hits, wrong


def brute(truth, found, label):
    """(boxes, area, eleven-point) in fractions, from the points (recall, precision) of every threshold."""
    n = sum(row[0] == label and not row[5] for rows in truth for row in rows)
    queue = [(-row[1], i, j) for i, rows in enumerate(found) for j, row in enumerate(rows) if row[0] == label]
    claimed = [(i, label, pixels(found[i][j][2:])) for _, i, j in sorted(queue)]
    points = [counts(truth, claimed, k) for k in range(1, len(claimed) + 1)]
    points = [(Fraction(hits, n), Fraction(hits, hits + wrong)) for hits, wrong in points if n and hits + wrong]

    def best(recall):
        return max((p for r, p in points if r >= recall), default=Fraction(0))

    if not n:
        return 0, None, None
    area = sum(best(Fraction(k, n)) for k in range(1, n + 1)) / n
    return n, area, sum(best(Fraction(j, 10)) for j in range(11)) / 11


@pytest.mark.parametrize("seed", range(40))
def test_by_brute_force(seed):
    truth, found = random_set(np.random.default_rng(seed))
    own = curves(truth, found, 2)
    due = [brute(truth, found, label) for label in (1, 2)]
    assert [curve.n for curve in own] == [n for n, _, _ in due]
    for curve, (n, area, eleven) in zip(own, due, strict=True):
        if n:
            assert (curve.area, curve.eleven) == pytest.approx((float(area), float(eleven)), abs=1e-12)
    for place, old in ((1, False), (2, True)):
        there = [row[place] for row in due if row[0]]
        seen = mean_ap(own, eleven=old)
        assert seen == pytest.approx(float(sum(there) / len(there)), abs=1e-12) if there else math.isnan(seen)


# Wrong rules
def next_box(rows, found):
    """COCO's: the best of those boxes that no better detection of this image has."""
    taken, mine = set(), np.full(len(found), -1)
    for i in np.argsort(-found[:, 1], kind="stable"):
        free = [j for j in range(len(rows)) if j not in taken]
        (best,) = claims(rows[free], found[i : i + 1])
        if best >= 0:
            mine[i] = free[best]
            taken.add(free[best])
    return mine


def by_floats(curve):
    best = [curve.precision[curve.recall >= t].max(initial=0) for t in np.arange(0, 1.1, 0.1)]
    return sum(best) / 11


NO_1 = (
    edited(detection, "claims", "b[:, 1]) + 1", "b[:, 1])", "b[:, 2]) + 1", "b[:, 2])"),
    edited(detection, "_area", "corners[:, 0] + 1", "corners[:, 0]", "corners[:, 1] + 1", "corners[:, 1]"),
)
EASY = "easy = every[:, 5] == 0"
ONCE = "hits | (box < 0)"
DROPPED = "[row for row in _rows(rows) if not row[5]]"
WRONG = {  # rule -> how it comes about, a case, the area and the eleven-point numbers it gives there
    "no + 1": (NO_1, "IoU exactly a half", 0, 0),
    "above a half": ([edited(detection, "claims", ">= union[each", "> union[each")], "IoU exactly a half", 0, 0),
    "COCO's next box": ([lambda patch: patch.setattr(detection, "claims", next_box)], "the best box is taken", 1, 1),
    "difficult ones counted": (
        [edited(detection, "_curve", EASY, "easy = every[:, 5] >= 0")],
        "difficult, hit twice",
        Fraction(34, 45),
        Fraction(42, 55),
    ),
    "difficult ones dropped": (
        [edited(detection, "curves", "_rows(rows) for rows in truth", f"_rows({DROPPED}) for rows in truth")],
        "difficult, hit twice",
        Fraction(2, 5),
        Fraction(2, 5),
    ),
    "thresholds as floats": (
        [lambda patch: patch.setattr(Curve, "eleven", property(by_floats))],
        "recall 3/10",
        Fraction(3, 10),
        Fraction(3, 11),
    ),
    "image by image": (
        [edited(detection, "_curve", 'mine[np.argsort(-said[mine, 1], kind="stable")]', "mine")],
        "the order of the set",
        Fraction(3, 4),
        Fraction(17, 22),
    ),
    "duplicates forgiven": (
        [edited(detection, "_curve", "said[mine, 1], hits", f"said[mine, 1][{ONCE}], hits[{ONCE}]")],
        "a duplicate",
        1,
        1,
    ),
    "no envelope": (
        [lambda patch: patch.setattr(Curve, "area", property(lambda c: c.precision[c.hits].sum() / c.n))],
        "precision rises",
        Fraction(23, 48),
        Fraction(6, 11),
    ),
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_rule_gives_another_number(rule):
    """The one that is told of it; so the two writings differ."""
    injects, case, area, eleven = WRONG[rule]
    truth, found, right, old = DETECTION[case]
    with Patch.context() as patch:
        for inject in injects:
            inject(patch)
        assert scored(truth, found) == pytest.approx((float(area), float(eleven)), abs=1e-12)
        _, *second = again.average_precision(truth, found, 1)
    assert [old, right] == second != [eleven, area]


# Single rules
def test_equal_scores_keep_the_order_of_images_and_places():
    truth = [boxes(A), boxes(A)]
    first = said((0.5, B), (0.5, A))
    assert curves(truth, [first, said()], 1)[0].hits.tolist() == [False, True]
    assert curves(truth, [said((0.5, A)), first], 1)[0].hits.tolist() == [True, False, True]
    assert curves(truth, [first, said((0.5, A))], 1)[0].hits.tolist() == [False, True, True]


def test_the_first_of_two_boxes_that_overlap_alike_is_claimed():
    left, right, between = (0, 0, 9, 9), (4, 0, 13, 9), (2, 0, 11, 9)
    found = said((0.9, between), (0.8, right))
    assert claims(boxes(left, right), found).tolist() == [0, 1]
    assert claims(boxes(right, left), found).tolist() == [0, 0]
    assert claims(boxes(left, right, difficult=(left,)), found).tolist() == [0, 1]


def test_another_class_and_another_image_are_no_match():
    truth, found = [boxes(A), boxes(B)], [said((0.9, B)), said((0.8, A))]
    assert curves(truth, found, 1)[0].hits.tolist() == [False, False]
    other = said((0.9, A))
    other[:, 0] = 2
    assert [curve.hits.tolist() for curve in curves([boxes(A)], [other], 2)] == [[], [False]]


def test_a_class_without_boxes_is_left_out_and_one_without_detections_is_0():
    found = said((0.9, A))
    one, two, three = curves([np.r_[boxes(A), [[3, *B, 0]]]], [np.r_[found, [[2, 0.5, *B]]]], 3)
    assert (one.n, two.n, three.n) == (1, 0, 1)
    assert math.isnan(two.area)
    assert math.isnan(two.eleven)
    assert np.isnan(two.recall).all()
    assert (three.area, three.eleven) == (0, 0)
    assert mean_ap([one, two, three], eleven=True) == mean_ap([one, two, three], eleven=False) == 0.5
    assert math.isnan(mean_ap([two], eleven=True))
    assert math.isnan(mean_ap(curves([boxes(A, difficult=(A,))], [found], 1), eleven=False))


def test_the_curve_has_a_point_a_detection():
    truth, found, _, _ = DETECTION["difficult, hit twice"]
    (curve,) = curves(truth, found, 1)
    assert curve.scores.tolist() == [0.8, 0.7, 0.6], "those of the difficult box are gone"
    assert curve.tp.tolist() == [1, 1, 2]
    assert curve.precision.tolist() == [1, 1 / 2, 2 / 3]
    assert curve.recall.tolist() == [1 / 2, 1 / 2, 1]


def test_coordinates_may_be_fractions():
    ten = boxes((1, 1, 10, 10))
    for bottom, hit in ((4.9, -1), (5, 0), (5.5, 0)):
        found = np.array([[1, 0.9, 1, 1, 10, bottom]])
        assert claims(ten, found).tolist() == [hit], "49, 50 and 55 of 100 px"
        moved = ten + np.array([0, 0.25, 0.25, 0.25, 0.25, 0])
        assert claims(moved, found + np.array([0, 0, 0.25, 0.25, 0.25, 0.25])).tolist() == [hit]


def test_a_box_of_one_pixel_and_boxes_that_are_none():
    one = boxes((504, 337, 504, 337))
    assert claims(one, said((0.9, (504, 337, 504, 337)))).tolist() == [0]
    turned = np.array([[1, 0.9, 520, 330, 500, 340], [1, 0.9, 520, 350, 500, 320], [1, 0.9, 504, 337, 503, 337]])
    assert claims(one, turned).tolist() == [-1, -1, -1]
    wild = np.array([[1, 0.9, 0, 0, math.nan, 9], [1, 0.9, -math.inf, 0, math.inf, 9], [1, 0.9, 504, 337, 504, 337.0]])
    assert claims(one, wild).tolist() == [-1, -1, 0]


def test_a_score_that_is_no_number_comes_last():
    (curve,) = curves([boxes(A, B)], [said((math.nan, A), (0.1, B), (0.2, A))], 1)
    assert curve.hits.tolist() == [True, True, False]


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="boxes of 1 images, and detections of 2"):
        curves([boxes(A)], [said(), said()], 1)
    for label in (0, 2, 1.5, math.nan):
        rows = said((0.9, A))
        rows[:, 0] = label
        with pytest.raises(ValueError, match="a label is not in 1 to 1"):
            curves([boxes(A)], [rows], 1)
        with pytest.raises(ValueError, match="a label is not in 1 to 1"):
            curves([rows], [said()], 1)


def test_nothing_at_all():
    (curve,) = curves([], [], 1)
    assert (curve.n, len(curve.scores)) == (0, 0)
    (curve,) = curves([[]], [[]], 1)
    assert math.isnan(mean_ap([curve], eleven=True))
    assert stats.mean_ap is mean_ap


def test_neither_scores_stretched_nor_images_in_another_order_change_anything():
    rng = np.random.default_rng(1)
    truth, found = random_set(rng, images=30, least=1)
    scores = rng.permutation(sum(map(len, found))) / 7  # no two alike
    for rows, own in zip(found, np.split(scores, np.cumsum([*map(len, found)])[:-1]), strict=True):
        rows[:, 1] = own
    due = [(c.area, c.eleven) for c in curves(truth, found, 2)]
    stretched = [np.c_[rows[:, 0], rows[:, 1] ** 3, rows[:, 2:]] for rows in found]
    assert [(c.area, c.eleven) for c in curves(truth, stretched, 2)] == due
    order = rng.permutation(30)
    turned = curves([truth[i] for i in order], [found[i][::-1] for i in order], 2)
    assert [(c.area, c.eleven) for c in turned] == due


VOC = os.environ.get("HARNESS_VOC", "")


@pytest.mark.skipif(not VOC, reason="HARNESS_VOC names no folder of Pascal VOC's layout")
def test_boxes_of_real_files_found_at_their_own_place_are_all_hits():
    truth, names = [], {}
    for path in sorted(Path(VOC).glob("VOC*/Annotations/*.xml"))[:400]:
        objects = ElementTree.parse(path).iter("object")
        rows = [
            (
                names.setdefault(o.findtext("name"), len(names) + 1),
                *(float(o.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")),
                float(o.findtext("difficult") or 0),
            )
            for o in objects
        ]
        truth.append(np.unique(np.array(rows).reshape(-1, 6), axis=0))
    rng = np.random.default_rng(0)
    found = [np.c_[rows[:, 0], rng.random(len(rows)), rows[:, 1:5]] for rows in truth]
    own = curves(truth, found, len(names))
    assert [curve.area for curve in own] == [curve.eleven for curve in own] == [1] * len(names)
    assert sum(curve.n for curve in own) == sum((rows[:, 5] == 0).sum() for rows in truth) > 0
