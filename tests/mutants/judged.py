"""C: how detectors and segmenters are tested, and what is reported of it."""

from typing import Any

import numpy as np
from torch import Tensor

from harness.parts.data.scenes import Scenes
from harness.stats import detection, segmentation
from harness.tasks import detect, segment
from tests.kit.dense import DETECTOR, SEGMENTER
from tests.mutants.breaking import Broken, Inject, Patch, edited, method, text
from tests.mutants.tested import MADE, REPORTED, SERVED, reported, served

HELD = DETECTOR.but(data=DETECTOR.data.but(held=(("2007", "val"),)))
ADD, SEG = detect.Marking, segment.Marking


def of_training(taken: str) -> Inject:
    return served(taken.replace("THEM", SERVED.replace("split)", '"train")')))


def decoded(change: str) -> Inject:
    """The images of test batches as they are served."""
    return edited(Scenes, "test", "self.normalised(x.float())", f"self.normalised({change})")


def image_by_image(patch: Patch) -> None:
    """mIoU as the mean over images."""
    right = segment.Marking.add

    def add(self: Any, z: Tensor, frames: Tensor) -> None:
        for cells, frame in zip(z, frames, strict=True):
            before = self.matrix.copy()
            right(self, cells[None], frame[None])
            self.each = [*getattr(self, "each", []), segmentation.mean_iou(self.matrix - before)]

    scores = segment.Marking.scores

    def mean(self: Any, split: str) -> Any:
        found, kept = scores(self, split)
        return found | {"mIoU": 100 * float(np.mean(self.each))}, kept

    patch.setattr(segment.Marking, "add", add)
    patch.setattr(segment.Marking, "scores", mean)


def by_floats(self: Any) -> float:
    at = np.arange(0, 1.1, 0.1)
    return float(np.mean([self.precision[self.recall >= t].max(initial=0) for t in at])) if self.n else np.nan


SMALLER = edited(Scenes, "test", "batch_size), self, split)", "batch_size), self.resized(32), split)")

JUDGED: Broken = {
    "their tests": [
        (
            "images scaled otherwise",
            DETECTOR,
            SMALLER,
        ),
        (
            "masks' images scaled otherwise",
            SEGMENTER,
            SMALLER,
        ),
        ("one image left out", DETECTOR, served("[(x[: 5 - 4 * i], y[: 5 - 4 * i]) for i, (x, y) in enumerate(THEM)]")),
        ("images mirrored", SEGMENTER, decoded("x.float().flip(3)")),
        (
            "training images",
            DETECTOR,
            of_training("[(x[: 4 - 2 * i], y[: 4 - 2 * i]) for i, (x, y) in enumerate(THEM)]"),
        ),
        (
            "training images of a segmenter",
            SEGMENTER,
            of_training("[(x[:6], y[:6]) for x, y in THEM]"),
        ),
        (
            "the first image twice",
            DETECTOR,
            served("[(torch.cat([x[:1], x[:-1]]), torch.cat([y[:1], y[:-1]])) for x, y in THEM]"),
        ),
        ("frames of other images", DETECTOR, served("[(x, y.flip(0)) for x, y in THEM]")),
    ],
    "their scores": [
        (
            "boxes not brought back to the file's pixels",
            DETECTOR,
            edited(ADD, "add", "z[:, :, 2:] * shares", "z[:, :, 2:]"),
        ),
        ("boxes counted from 0", DETECTOR, edited(ADD, "add", "torch.tensor([1, 1, 0, 0], device=z.device)", "0")),
        (
            "only their widths brought back",
            DETECTOR,
            edited(
                ADD,
                "add",
                "[wide / width, tall / height, wide / width, tall / height]",
                "[wide / width, wide ** 0, wide / width, wide ** 0]",
            ),
        ),
        (
            "eleven points as floats",
            DETECTOR,
            method(detection.Curve, "eleven", property(by_floats)),
            5,
        ),
        (
            "the area reported as eleven points",
            DETECTOR,
            edited(ADD, "scores", "mean_ap(each, eleven=True)", "mean_ap(each, eleven=False)"),
        ),
        (
            "difficult boxes to be found",
            DETECTOR,
            edited(detection, "_curve", "easy = every[:, 5] == 0", "easy = every[:, 5] >= 0"),
        ),
        (
            "a second hit of a box is a hit",
            DETECTOR,
            edited(detection, "_curve", "hits[np.unique(box, return_index=True)[1]] = True", "hits[:] = True"),
        ),
        (
            "hits from an IoU of .3 on",
            DETECTOR,
            edited(
                detection,
                "claims",
                "2 * inter[each, best] >= union[each, best]",
                "inter[each, best] >= 0.3 * union[each, best]",
            ),
        ),
        ("boxes of any class hit", DETECTOR, edited(detection, "claims", " & (d[:, None, 0] == b[:, 0])", "")),
        (
            "the last class left out of the mean",
            DETECTOR,
            edited(detect, "mean_ap", "for curve in found if", "for curve in found[:-1] if"),
        ),
        (
            "another class's AP in the record",
            DETECTOR,
            edited(ADD, "scores", "zip(classes, each, strict=True)", "zip(classes, each[::-1], strict=True)"),
        ),
        (
            "another area's AP in the record",
            DETECTOR,
            edited(ADD, "scores", '"AP_area": 100 * curve.area', '"AP_area": 100 * curve.eleven'),
        ),
        ("the record's boxes counted twice", DETECTOR, edited(ADD, "scores", '"n": curve.n}', '"n": 2 * curve.n}')),
        (
            "mAP 1 point too high once proven",
            DETECTOR,
            text(MADE, f"{MADE}    made['metrics'] = made['metrics'] | {{'mAP': made['metrics']['mAP'] + 1}}\n"),
        ),
        (
            "a class's AP 1 point too high once proven",
            DETECTOR,
            text(MADE, f"{MADE}    made['by_class']['cat']['AP'] += 1\n"),
        ),
        (
            "the best epoch's scores",
            SEGMENTER,
            text(REPORTED, REPORTED.replace("run.history[-1]", "max(run.history[:-1], key=lambda e: e['mIoU'])")),
        ),
        (
            "held-out mAP for the test's",
            HELD,
            text(
                'metrics = metrics | test(spec, run, images, "test")',
                'metrics = metrics | test(spec, run, images, "test") | {"mAP": metrics["val_mAP"]}',
            ),
        ),
        (
            "by classes of the held-out images",
            HELD,
            text(
                'metrics = metrics | test(spec, run, images, "test")',
                'old = run.answered; metrics = metrics | test(spec, run, images, "test"); run.answered = old',
            ),
        ),
        (
            "masks at the network's size",
            SEGMENTER,
            edited(
                SEG,
                "add",
                "grown = at_size(cells, canvas, frame)",
                "height, width = map(int, frame[:2]); grown = at_size(cells, canvas, frame[:2] * 2)",
                "mask = torch.from_numpy(self.images.truth(self.split, self.place)).to(z.device).long()",
                "mask = torch.from_numpy(self.images.truth(self.split, self.place))[None, None].float()"
                "; mask = nn.functional.interpolate(mask, (height, width))[0, 0].long()",
            ),
        ),
        ("mIoU the mean over images", SEGMENTER, image_by_image),
        (
            "padding not cut off",
            SEGMENTER,
            edited(
                segment,
                "at_size",
                "grown = grown[:, :, :height, :width]",
                "pass",
                "if (tall, wide) != (height, width):",
                "if True:",
            ),
        ),
        (
            "logits cut to integers",
            SEGMENTER,
            edited(SEG, "add", "said = grown[0].argmax(0)", "said = (4 * grown[0]).long().argmax(0)"),
        ),
        (
            "cells grown to the nearest",
            SEGMENTER,
            edited(
                segment,
                "at_size",
                'tuple(canvas), mode="bilinear", align_corners=False',
                'tuple(canvas), mode="nearest"',
            ),
        ),
        (
            "what is not labelled is class 1",
            SEGMENTER,
            edited(
                segment,
                "confusion",
                "labelled = truth != -1",
                "truth = np.maximum(truth, 0); labelled = truth >= 0",
            ),
        ),
        (
            "a class left out of the mean IoU",
            SEGMENTER,
            edited(segment, "mean_iou", "found = ious(matrix)\n", "found = ious(matrix)[1:]\n"),
        ),
        (
            "frequency-weighted IoU",
            SEGMENTER,
            edited(segment, "mean_iou", "float(found.mean())", "float((found * matrix.sum(1) / matrix.sum()).sum())"),
        ),
        (
            "accuracy of a class, the mean over them",
            SEGMENTER,
            edited(
                segment,
                "pixel_accuracy",
                "np.trace(matrix) / (matrix.sum() or math.nan)",
                "np.mean(np.diag(matrix) / matrix.sum(1))",
            ),
        ),
        (
            "the test's loss the mean over all pixels",
            SEGMENTER,
            edited(SEG, "scores", "max(1, int(self.matrix.sum()))", "(1.2 * max(1, int(self.matrix.sum())))"),
        ),
        (
            "another class's IoU in the record",
            SEGMENTER,
            edited(SEG, "scores", "100 * float(each[place])", "100 * float(each[-1 - place])"),
        ),
        (
            "another matrix in the record",
            SEGMENTER,
            edited(SEG, "scores", "self.matrix.tolist()", "self.matrix.T.tolist()"),
        ),
        ("mIoU for pixel accuracy", SEGMENTER, reported("metrics['pixAcc'] = metrics['mIoU']")),
    ],
}
BY_KIND = {"C": JUDGED}
