"""Pixels counted: by hand, beside scikit-learn, and each wrong rule by the wrong number that it gives."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from harness import stats
from harness.stats import confusion, ious, mean_iou, nowhere, pixel_accuracy, segmentation
from tests.kit.scored import SEGMENTATION, labels
from tests.mutants import Patch, edited


def matrix(case):
    k, truth, said, _, _ = SEGMENTATION[case]
    return sum(segmentation.confusion(t, s, k) for t, s in zip(truth, said, strict=True))


@pytest.mark.parametrize("case", SEGMENTATION)
def test_by_hand(case):
    *_, right, mean = SEGMENTATION[case]
    assert pixel_accuracy(matrix(case)) == pytest.approx(float(right), abs=1e-15)
    assert mean_iou(matrix(case)) == pytest.approx(float(mean), abs=1e-15)


def test_each_class_by_hand():
    assert ious(matrix("of the set, not of images")) == pytest.approx([4 / 7, 1 / 4])
    assert ious(matrix("one class nowhere, one answered alone")) == pytest.approx([1, 0.5, 0, math.nan], nan_ok=True)
    assert nowhere(matrix("one class nowhere, one answered alone")) == [3]
    assert nowhere(matrix("all wrong")) == [2], "a class that is answered alone is somewhere"
    assert nowhere(matrix("not labelled")) == []


@pytest.mark.parametrize(("classes", "kind"), [(2, np.int16), (11, np.int8), (150, np.int16), (200, np.int16)])
def test_beside_scikit_learn(classes, kind):
    """Of 200 classes the product of label and classes is above int16's 32,767."""
    rng = np.random.default_rng(classes)
    truth = rng.integers(-1, classes, (3, 70, 90)).astype(kind)
    said = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes, truth.shape)).astype(kind)
    said[truth == -1] = rng.integers(-1, 100, (truth == -1).sum())  # whatever stands there
    counted = confusion(truth, said, classes)
    there = truth != -1
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, confusion_matrix(truth[there], said[there], labels=range(classes)))
    due = jaccard_score(truth[there], said[there], average=None, labels=range(classes))
    np.testing.assert_allclose(ious(counted), due, rtol=1e-12)
    assert mean_iou(counted) == pytest.approx(due.mean())
    assert pixel_accuracy(counted) == pytest.approx(accuracy_score(truth[there], said[there]))


MEAN = "(np.diag(matrix) / matrix.sum(1)).mean()"
WRONG = {  # rule -> what is broken, a case, pixel accuracy and mIoU as they come out
    "absent as 0": (
        edited(segmentation, "ious", "math.nan", "0.0"),
        "one class nowhere, one answered alone",
        3 / 4,
        3 / 8,
    ),
    "one answered alone left out": (
        edited(segmentation, "ious", "where=union > 0", "where=matrix.sum(1) > 0"),
        "one class nowhere, one answered alone",
        3 / 4,
        3 / 4,
    ),
    "pixels not labelled are a class": (
        edited(segmentation, "confusion", "labelled = truth != -1", "truth = truth % classes; labelled = truth >= 0"),
        "not labelled",
        4 / 6,
        (1 / 3 + 3 / 5) / 2,
    ),
    "mean of classes' accuracies": (
        edited(segmentation, "pixel_accuracy", "np.trace(matrix) / (matrix.sum() or math.nan)", MEAN),
        "of the set, not of images",
        (4 / 5 + 1 / 3) / 2,
        23 / 56,
    ),
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_rule_gives_another_number(rule):
    inject, case, right, mean = WRONG[rule]
    with Patch.context() as patch:
        inject(patch)
        broken = [
            segmentation.confusion(t, s, SEGMENTATION[case][0]) for t, s in zip(*SEGMENTATION[case][1:3], strict=True)
        ]
        seen = segmentation.pixel_accuracy(sum(broken)), segmentation.mean_iou(sum(broken))
    assert seen == pytest.approx((right, mean))
    assert seen != pytest.approx(tuple(map(float, SEGMENTATION[case][3:])))


def test_the_mean_of_images_is_another_number():
    k, truth, said, _, _ = SEGMENTATION["of the set, not of images"]
    assert np.mean([mean_iou(confusion(t, s, k)) for t, s in zip(truth, said, strict=True)]) == 0.5625


def test_images_of_any_size_add_up_to_the_set():
    rng = np.random.default_rng(0)
    truth, said = rng.integers(-1, 5, 1000), rng.integers(0, 5, 1000)
    parts = [confusion(t, s, 5) for t, s in zip(np.split(truth, [7, 400]), np.split(said, [7, 400]), strict=True)]
    np.testing.assert_array_equal(sum(parts), confusion(truth.reshape(20, 50), said.reshape(20, 50), 5))


def test_nothing_labelled_is_no_number_and_no_warning():
    empty = confusion(np.full((2, 3), -1), np.zeros((2, 3), int), 4)
    assert empty.shape == (4, 4)
    assert not empty.any()
    assert math.isnan(pixel_accuracy(empty))
    assert math.isnan(mean_iou(empty))
    assert nowhere(empty) == [0, 1, 2, 3]
    assert stats.confusion is confusion


def test_what_does_not_fit_is_an_error():
    (truth,), (said,) = labels("1122"), labels("1123")
    with pytest.raises(ValueError, match=r"labels of shape \(1, 4\), and answers of shape \(4, 1\)"):
        confusion(truth, said.T, 4)
    with pytest.raises(ValueError, match="answers are in 0 to 2, and must be in 0 to 1"):
        confusion(truth, said, 2)
    with pytest.raises(ValueError, match="labels are in 0 to 1, and must be in 0 to 0"):
        confusion(truth, np.zeros_like(truth), 1)
    with pytest.raises(ValueError, match="labels are in -3 to -2, and"):
        confusion(truth - 3, said, 4)
    with pytest.raises(ValueError, match="answers are in -1 to 1"):
        confusion(truth, said - 1, 4)
