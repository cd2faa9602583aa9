"""The second writing of the scores of detection and segmentation: by hand, exactly, and beside the first."""

import math
from fractions import Fraction

import numpy as np
import pytest

from harness import stats
from harness.tasks import again
from tests.kit import imports
from tests.kit.scored import DETECTION, SEGMENTATION, A, B, boxes, random_set, said
from tests.mutants import Patch, edited


def mean_over(truth, found, classes):
    each = [again.average_precision(truth, found, label) for label in range(1, classes + 1)]
    return again.mean_average_precision(each)


@pytest.mark.parametrize("case", DETECTION)
def test_detection_by_hand(case):
    truth, found, area, eleven = DETECTION[case]
    boxes_to_find = sum((rows[:, 5] == 0).sum() for rows in truth)
    assert again.average_precision(truth, found, 1) == (boxes_to_find, eleven, area)
    assert mean_over(truth, found, 3) == (float(eleven), float(area))


@pytest.mark.parametrize("case", SEGMENTATION)
def test_segmentation_by_hand(case):
    k, truth, answers, right, mean = SEGMENTATION[case]
    counts = sum(again.pixels(t, a, k) for t, a in zip(truth, answers, strict=True))
    assert again.segmented(counts)[:2] == (float(right), float(mean))


def test_pixels_by_hand():
    """Labels 1 1 2 - and answers 1 2 2 2, of three classes."""
    counts = again.pixels(np.array([0, 0, 1, -1]), np.array([0, 1, 1, 1]), 3)
    assert counts.tolist() == [[1, 2, 2], [1, 2, 1], [0, 0, 0]]
    assert again.segmented(counts)[2] == pytest.approx([0.5, 0.5, math.nan], nan_ok=True)


def shifted(rows, first, by):
    """Boxes whose coordinates, four columns from `first` on, are moved and stretched by float32 numbers."""
    rows = rows.copy()
    rows[:, first : first + 4] = (rows[:, first : first + 4] * by + by / 3).astype(np.float32)
    return rows


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("by", [1, 1.37])
def test_both_writings_of_detection_agree(seed, by):
    truth, found = random_set(np.random.default_rng(100 + seed), images=6, classes=3)
    if by != 1:
        truth, found = [shifted(rows, 1, by) for rows in truth], [shifted(rows, 2, by) for rows in found]
    first = stats.curves(truth, found, 3)
    for label, curve in enumerate(first, 1):
        second = again.average_precision(truth, found, label)
        if second is None:
            assert curve.n == 0
        else:
            assert (curve.n, curve.eleven, curve.area) == pytest.approx(tuple(map(float, second)), abs=1e-12)
    due = [stats.mean_ap(first, eleven) for eleven in (True, False)]
    assert mean_over(truth, found, 3) == pytest.approx(due, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("classes", [2, 11, 150])
def test_both_writings_of_segmentation_agree(classes):
    rng = np.random.default_rng(classes)
    matrix, counts = np.zeros((classes, classes), np.int64), np.zeros((classes, 3), np.int64)
    for size in ((40, 50), (31, 7), (1, 1)):
        truth, answers = rng.integers(-1, classes - 1, size), rng.integers(0, classes, size)
        answers[answers == 0] = classes - 1
        matrix += stats.confusion(truth, answers, classes)
        counts += again.pixels(truth, answers, classes)
    right, mean, each = again.segmented(counts)
    assert right == pytest.approx(stats.pixel_accuracy(matrix), rel=1e-12)
    assert mean == pytest.approx(stats.mean_iou(matrix), rel=1e-12)
    assert each == pytest.approx(stats.ious(matrix), rel=1e-12, nan_ok=True)
    assert counts[:, 2].tolist() == matrix.sum(1).tolist()


def test_of_nothing_there_is_no_number():
    assert again.average_precision([boxes(A, difficult=(A,))], [said((0.9, A))], 1) is None
    assert np.isnan(mean_over([boxes()], [said((0.9, A))], 2)).all()
    right, mean, each = again.segmented(again.pixels(np.full(4, -1), np.zeros(4, int), 2))
    assert math.isnan(right)
    assert math.isnan(mean)
    assert np.isnan(each).all()


def test_boxes_and_scores_that_are_no_numbers():
    found = [said((math.nan, A), (0.2, A), (0.3, (0, 0, math.inf, 99)), (0.1, (99, 0, 0, 99)))]
    truth = [boxes(A, B)]
    assert again.average_precision(truth, found, 1) == (2, Fraction(3, 11), Fraction(1, 4)), "the second is the hit"
    (curve,) = stats.curves(truth, found, 1)
    assert curve.hits.tolist() == [False, True, False, False]


def test_many_hits_take_no_long_sums():
    """Of fractions with some thousand different denominators a plain sum would have as many digits."""
    rng = np.random.default_rng(0)
    ranks = np.flatnonzero(rng.random(9000) < np.linspace(1, 0.1, 9000)) + 1
    eleven, area = again._averages(ranks.tolist(), 5000)
    hits = np.isin(np.arange(1, 9001), ranks)
    curve = stats.Curve(5000, np.linspace(1, 0, 9000), hits)
    assert (float(eleven), float(area)) == pytest.approx((curve.eleven, curve.area), abs=1e-12)


WRONG = [
    ("_best", "max(left, l) + one, ", "max(left, l), ", "IoU exactly a half"),
    ("_best", "2 * most >= of", "2 * most > of", "IoU exactly a half"),
    ("_averages", "-(-j * wanted // 10)", "j * wanted // 10 + 1", "recall 3/10"),
    ("_averages", "best[k] = max(best[k], best[k + 1])", "pass", "precision rises"),
    ("average_precision", "counted += 1", "counted += best is None or (image, best) not in taken", "a duplicate"),
    ("average_precision", "[best][5]:", "[best][5] > 1:", "difficult, hit twice"),
    ("average_precision", "(image, best) not in taken", "best not in {b for _, b in taken}", "recall 3/10"),
]


@pytest.mark.parametrize(("name", "old", "new", "case"), WRONG, ids=[new for _, _, new, _ in WRONG])
def test_a_broken_second_writing_disagrees(name, old, new, case):
    truth, found, area, eleven = DETECTION[case]
    with Patch.context() as patch:
        edited(again, name, old, new)(patch)
        assert again.average_precision(truth, found, 1)[1:] != (eleven, area)


def test_it_shares_no_code_with_the_first():
    assert not imports.inner("harness.tasks.again")


def test_numbers_of_classes_that_differ_are_counted():
    due = {"a": {"AP": 50.0, "n": 2}, "b": {"AP": math.nan, "n": 0}}
    assert again.unlike(due, due) == 0
    assert again.unlike(due | {"a": {"AP": 51.0, "n": 2}}, due) == 1
    assert again.unlike(due | {"b": {"AP": 0.0, "n": 1}}, due) == 2
    assert again.unlike({"a": due["a"]}, due) == 2, "a class that is not told"


@pytest.mark.parametrize(
    ("row", "odd"),
    [
        ([1, 0.9, 0, 0, 40, 30], 0),
        ([1, 0.9, -1, 0, 40, 30], 1),
        ([1, 0.9, 0, 0, 41, 30], 1),
        ([1, 0.9, 0, 20, 40, 10], 1),
        ([3, 0.9, 0, 0, 40, 30], 1),
        ([1, 1.1, 0, 0, 40, 30], 1),
        ([1, 0.4, 0, 0, 40, 30], 1),
        ([0, 0, 0, 0, 0, 0], 1),
    ],
)
def test_a_detection_that_no_detector_may_give(row, odd):
    """Beyond the image, of no class or score, after one of a lower score, after one that pads."""
    assert again.beyond(np.array([row, [2, 0.5, 1, 1, 9, 9], [0, 0, 0, 0, 0, 0]]), 30, 40, 2) == odd
