"""COCO's average precision, from its authors' own program, beside VOC's."""

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import installed

SCORES = ("AP", "AP50", "AP75")  # over IoU of .5, .55, .., .95; at .5; at .75


def coco_scores(truth: Sequence[NDArray], found: Sequence[NDArray], classes: int) -> dict[str, float]:
    """AP, AP50 and AP75 of pycocotools, shares of 1, over all sizes and at most 100 detections a class and image.

    `truth`, for each image B x 6: label 1..`classes`, xmin, ymin, xmax, ymax, difficult. `found`, for each image D x 6:
    label, score, xmin, ymin, xmax, ymax. Boxes are inclusive pixels, so they are xmax - xmin + 1 wide, as VOC has them.

    COCO's rules are others than VOC's: 101 recalls, and a detection whose best box is taken goes on to the next one. A
    difficult box is passed as a crowd, the only kind that COCO leaves out: at an IoU of t, a detection does not count
    where a share t of its own area lies in one. nan where no class has a box. Raises Problem where pycocotools is not
    installed.
    """
    installed("pycocotools", extra="coco")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    boxes = [_box(i, row, row[1:5]) | {"iscrowd": int(row[5])} for i, rows in enumerate(truth) for row in rows]
    for number, box in enumerate(boxes, 1):  # from 1: there 0 means "no box"
        box |= {"id": number, "area": box["bbox"][2] * box["bbox"][3]}
    said = [_box(i, row, row[2:6]) | {"score": float(row[1])} for i, rows in enumerate(found) for row in rows]
    if not any(not box["iscrowd"] for box in boxes):
        return dict.fromkeys(SCORES, math.nan)
    if not said:
        return dict.fromkeys(SCORES, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(truth))],
            "categories": [{"id": label} for label in range(1, classes + 1)],
            "annotations": boxes,
        }
        known.createIndex()
        judged = COCOeval(known, known.loadRes(said), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return dict(zip(SCORES, map(float, judged.stats[:3]), strict=True))


def _box(image: int, row: NDArray, corners: NDArray) -> dict[str, Any]:
    """An inclusive, 1-based box as COCO has it: left, top, width, height, continuous from 0."""
    xmin, ymin, xmax, ymax = np.asarray(corners, float).tolist()
    bbox = [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]
    return {"image_id": image, "category_id": int(row[0]), "bbox": bbox}
