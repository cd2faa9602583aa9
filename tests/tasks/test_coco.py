"""COCO's average precision, by cases small enough for the hand."""

import sys

import numpy as np
import pytest

from harness import Problem
from harness.tasks.coco import coco_scores
from tests.kit.scored import DETECTION, A, B, boxes, said


def test_without_pycocotools_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(Problem, match=r"pycocotools is not installed, .* pip install \"ablation-harness\[coco\]\""):
        coco_scores([boxes(A)], [said((0.9, A))], 1)


@pytest.fixture
def installed():
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")


@pytest.mark.usefixtures("installed")
class TestInstalled:
    def test_recalls_are_101(self):
        """Boxes A, B, C; a hit, a false alarm, a hit: precision 1 at 0, .01, .., .33, and 2/3 at .34, .., .66."""
        truth, found, *_ = DETECTION["a miss, a false alarm"]
        due = (34 + 33 * 2 / 3) / 101
        assert coco_scores(truth, found, 1) == {name: pytest.approx(due) for name in ("AP", "AP50", "AP75")}

    def test_a_detection_goes_on_to_the_next_box(self):
        truth, found, *_ = DETECTION["the best box is taken"]
        assert coco_scores(truth, found, 1)["AP50"] == pytest.approx(1), "VOC has a half"

    @pytest.mark.parametrize(("bottom", "thresholds"), [(81, 7), (74, 6), (50, 1), (98, 10), (48, 0)])
    def test_ap_is_the_mean_over_ten_ious(self, bottom, thresholds):
        """Rows 0 to `bottom` of 100: IoU .82, .75, .51, .99, .49, where pixels are inclusive."""
        scores = coco_scores([boxes(A)], [said((0.9, (0, 0, 99, bottom)))], 1)
        assert scores == pytest.approx({"AP": thresholds / 10, "AP50": float(bottom > 48), "AP75": float(bottom >= 74)})

    def test_pixels_are_inclusive(self):
        truth, found, *_ = DETECTION["IoU exactly a half"]
        assert coco_scores(truth, found, 1)["AP50"] == pytest.approx(1)

    def test_difficult_boxes_do_not_count(self):
        truth, found = [boxes(A, B, difficult=(B,))], [said((0.9, B), (0.8, B), (0.7, A))]
        assert coco_scores(truth, found, 1)["AP"] == pytest.approx(1)

    def test_the_mean_is_over_classes_that_have_boxes(self):
        two = np.array([[2, *B, 0]])
        assert coco_scores([np.r_[boxes(A), two]], [said((0.9, A), (0.1, B))], 3)["AP"] == pytest.approx(1 / 2)

    def test_nothing_found_is_0_and_nothing_to_find_no_number(self, capsys):
        assert coco_scores([boxes(A)], [said()], 1) == {"AP": 0, "AP50": 0, "AP75": 0}
        for truth in ([boxes()], [boxes(A, difficult=(A,))], []):
            assert np.isnan([*coco_scores(truth, [said()] * len(truth), 1).values()]).all()
        coco_scores([boxes(A)], [said((0.9, A))], 1)
        assert capsys.readouterr().out == ""
