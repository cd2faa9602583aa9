"""Detection: boxes around objects; the losses of Faster R-CNN, VOC's average precision.

What the loop asks stands first. What the evidence asks is a second writing of it, and shares no code with the first.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.parts.models.faster_rcnn import HEADER, FasterRCNN, boxed, lengths
from harness.spec import Check, Loss, Spec, Task
from harness.stats.detection import curves, mean_ap
from harness.tasks import again

BETA = 1 / 9  # px of an offset, in units of its anchor: below it a gap is squared (Girshick 2015; torchvision)


class Found(Loss):
    """The losses of Faster R-CNN, of a training answer N x M (`harness.parts.models.faster_rcnn.lengths`).

    Cross-entropy of the sampled anchors and of the sampled regions, each a mean over them; smooth L1 of the offsets of
    those that are objects, a sum over these by the number of all that were sampled. Source: Ren et al. 2015, equation
    1, with the weights that torchvision gives the four: 1.
    """

    truth: ClassVar[str] = "boxes"

    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        anchors, regions = _pieces(z)
        logits, labels, offsets, due = anchors
        some = labels >= 0
        loss = nn.functional.binary_cross_entropy_with_logits(logits[some], labels[some], reduction="sum")
        loss = (loss + _smooth(offsets[labels == 1], due[labels == 1])) / some.sum().clamp(min=1)
        logits, labels, offsets, due = regions
        some, label = labels >= 0, labels.long()
        second = nn.functional.cross_entropy(logits[some], label[some], reduction="sum")
        objects = label > 0
        own = offsets[objects].gather(1, label[objects][:, None, None].expand(-1, 1, 4))[:, 0]
        return loss + (second + _smooth(own, due[objects])) / some.sum().clamp(min=1)

    def reference(self, y: np.ndarray, z: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient by the answer, number by number from the formulas, in float64."""
        slope, (a, r, k) = np.zeros_like(z), z[0, :3].astype(int)
        ends = np.cumsum((HEADER, a, a, 4 * a, 4 * a, r * k, r, 4 * r * k, 4 * r))
        total = 0.0
        drawn = z[:, ends[0] + a : ends[1] + a]
        n = max(1, int((drawn >= 0).sum()))
        for image, row in enumerate(z):
            for place in np.flatnonzero(drawn[image] >= 0):
                score, label = row[ends[0] + place], drawn[image, place]
                total += (max(score, 0.0) - score * label + np.log1p(np.exp(-abs(score)))) / n
                slope[image, ends[0] + place] = (1 / (1 + np.exp(-score)) - label) / n
                if label == 1:
                    at = ends[2] + 4 * place
                    value, by = _smoothly(row[at : at + 4] - row[ends[3] + 4 * place : ends[3] + 4 * place + 4])
                    total += value / n
                    slope[image, at : at + 4] = by / n
        drawn = z[:, ends[5] : ends[5] + r].astype(int)
        n = max(1, int((drawn >= 0).sum()))
        for image, row in enumerate(z):
            for place in np.flatnonzero(drawn[image] >= 0):
                label, at = drawn[image, place], ends[4] + k * place
                scores = row[at : at + k] - row[at : at + k].max()
                shares = np.exp(scores) / np.exp(scores).sum()
                total -= (scores[label] - np.log(np.exp(scores).sum())) / n
                slope[image, at : at + k] = shares / n
                slope[image, at + label] -= 1 / n
                if label > 0:
                    at = ends[6] + 4 * (k * place + label)
                    value, by = _smoothly(row[at : at + 4] - row[ends[7] + 4 * place : ends[7] + 4 * place + 4])
                    total += value / n
                    slope[image, at : at + 4] = by / n
        return float(total), slope


def _pieces(z: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(logits, labels, offsets, offsets due) of anchors, N x A …, and of regions, N x R …; what is due has no slope."""
    a, r, k = (int(number) for number in z[0, :3].tolist())
    _, score, drawn, moved, due, told, label, shifts, aims, _ = z.split(lengths(a, r, k), 1)
    n = len(z)
    anchors = score, drawn.detach(), moved.view(n, a, 4), due.detach().view(n, a, 4)
    regions = told.view(n, r, k), label.detach(), shifts.view(n, r, k, 4), aims.detach().view(n, r, 4)
    return anchors, regions


def _smooth(offsets: Tensor, due: Tensor) -> Tensor:
    return nn.functional.smooth_l1_loss(offsets, due, beta=BETA, reduction="sum")


def _smoothly(gap: np.ndarray) -> tuple[float, np.ndarray]:
    near = np.abs(gap) < BETA
    value = np.where(near, gap**2 / (2 * BETA), np.abs(gap) - BETA / 2).sum()
    return float(value), np.where(near, gap / BETA, np.sign(gap))


class Detect(Task):
    """Boxes around objects, with VOC's mean average precision. Slot: `task`.

    `mAP` is that of VOC07, by eleven points, as the paper's Table 8 has it; `mAP_area` that of VOC10 and later.
    """

    headline: ClassVar[str] = "mAP"
    watched: ClassVar[tuple[str, ...]] = ("val_mAP", "val_mAP_area")
    learned: ClassVar[str] = "train_regions"  # sampled regions classified right, in percent
    loss: ClassVar[Loss] = Found()
    brief: ClassVar[bool] = False
    steady: ClassVar[bool] = False

    def check(self, spec: Spec) -> None:
        if not isinstance(spec.model, FasterRCNN):
            raise ValueError("task=Detect finds boxes: set model=FasterRCNN")
        needs(spec, "boxes")

    @staticmethod
    def named(score: str, split: str) -> str:
        return f"val_{score}" if split == "val" else score

    @staticmethod
    def at_once(device: str, side: int) -> int:
        return 4 if device == "cpu" else 8

    @property
    def scores(self) -> tuple[str, ...]:
        return ("mAP", "mAP_area", *self.watched)

    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """The boxes themselves, N x (1 + B) x 6."""
        return labels

    def given(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return x, y

    def hits(self, z: Tensor, labels: Tensor) -> Tensor:
        logits, drawn, *_ = _pieces(z)[1]
        right = (logits.argmax(2) == drawn) & (drawn >= 0)
        return (right.sum(1) / (drawn >= 0).sum(1).clamp(min=1)).sum()

    def marking(self, images: Any, split: str) -> "Marking":
        return Marking(self, images, split)

    def noise(self, n: int, classes: int, height: int, width: int) -> Tensor:
        return boxed(n, height, width)

    # --- the second writing ------------------------------------------------------------------------------------------

    def targets_again(self, labels: np.ndarray, classes: int) -> np.ndarray:
        return labels

    def order(self, labels: Tensor) -> Tensor:
        """Places in the split, as frames have them."""
        return labels[:, 0, 4].long()

    def ordered(self, images: Any) -> np.ndarray:
        return np.arange(images.counts["train"])

    def guesses(self, z: Tensor) -> Tensor:
        """Of each image the share of its sampled regions that are answered right."""
        a, r, k = (int(number) for number in z[0, :3].tolist())
        start = HEADER + 10 * a
        said = z[:, start : start + r * k].reshape(len(z), r, k).max(2).indices
        drawn = z[:, start + r * k : start + r * (k + 1)]
        return (said == drawn).sum(1) / (drawn != -1).sum(1).clamp(min=1)

    def right(self, guesses: Tensor, labels: Tensor) -> Tensor:
        return guesses.sum()

    def examiner(self, images: Any) -> "Examiner":
        return Examiner(images)


def needs(spec: Spec, truth: str) -> None:
    """Raise ValueError where data or another slot is of classification alone."""
    if spec.data.truth != truth:
        what = {"boxes": "boxes, as VOC has", "mask": "masks, as ADE20K has"}[truth]
        raise ValueError(f"data={type(spec.data).__name__}: this task needs images with {what}")
    for slot in ("targets", "mix", "teacher", "ascent", "sampler", "evaluation", "resolution"):
        if getattr(spec, slot):
            raise ValueError(f"{slot} is for images of one class each: leave it out, or set model.backbone.{slot}")


class Marking:
    """Marks an evaluation, batch by batch."""

    def __init__(self, task: Detect, images: Any, split: str) -> None:
        self.task, self.images, self.split = task, images, split
        self.found: list[np.ndarray] = []

    def add(self, z: Tensor, frames: Tensor) -> None:
        """Of a batch: detections N x D x 6 in px of the images as they came, and frames N x 6."""
        height, width, tall, wide = frames[:, :4].T[:, :, None]
        z = z.double()
        shares = torch.stack([wide / width, tall / height, wide / width, tall / height], 2)
        boxes = z[:, :, 2:] * shares + torch.tensor([1, 1, 0, 0], device=z.device)  # to the devkit's inclusive pixels
        for own in torch.cat([z[:, :, :2], boxes], 2).cpu().numpy():
            self.found.append(own[own[:, 0] > 0])

    def scores(self, split: str) -> tuple[dict[str, float], dict[str, Any]]:
        """Both mean average precisions in percent, and what a record keeps: those of each class."""
        truth = [self.images.truth(self.split, place) for place in range(len(self.found))]
        classes = self.images.classes
        each = curves(truth, self.found, len(classes))
        scores = {"mAP": 100 * mean_ap(each, eleven=True), "mAP_area": 100 * mean_ap(each, eleven=False)}
        kept = {
            name: {"AP": 100 * curve.eleven, "AP_area": 100 * curve.area, "n": curve.n}  # nan where there is no box
            for name, curve in zip(classes, each, strict=True)
        }
        named = {self.task.named(name, split): value for name, value in scores.items()}
        return named, {"correct": "", "gaps": [], "by_class": kept}


class Examiner:
    """Marks an evaluation again, from the answers as they left the network and the boxes as the data has them."""

    def __init__(self, images: Any) -> None:
        self.images = images
        self.scores: dict[str, float] = {}  # of the test images, the last time
        self.by_class: dict[str, Any] = {}  # and of each class
        self.clear()

    def clear(self) -> None:
        self._found: list[list[list[float]]] = []
        self._frames: list[np.ndarray] = []
        self._odd = 0  # detections that no detector may give

    def saw(self, given: tuple[Tensor, ...], z: Tensor) -> None:
        frames = given[1].double().cpu().numpy()
        self._frames += list(frames)
        for (height, width, tall, wide, *_), rows in zip(frames, z.double().cpu().numpy(), strict=True):
            down, across = tall / height, wide / width
            self._odd += again.beyond(rows, height, width, len(self.images.classes))
            self._found.append(
                [[c, s, l * across + 1, t * down + 1, r * across, b * down] for c, s, l, t, r, b in rows if c]
            )

    def over(self, split: str) -> None:
        self.clear()

    def marked(self, split: str, kept: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        truth = [self.images.truth(split, place) for place in range(len(self._found))]
        found = [np.array(rows, dtype=float).reshape(-1, 6) for rows in self._found]
        classes = self.images.classes
        each = [again.average_precision(truth, found, label) for label in range(1, len(classes) + 1)]
        eleven, area = again.mean_average_precision(each)
        prefix = "val_" if split == "val" else ""
        due = {f"{prefix}mAP": 100 * eleven, f"{prefix}mAP_area": 100 * area}
        by_class: dict[str, Any] = {}
        for name, own in zip(classes, each, strict=True):
            n, eleven_of, area_of = own or (0, np.nan, np.nan)
            by_class[name] = {"n": n, "AP": 100 * float(eleven_of), "AP_area": 100 * float(area_of)}
        if split == "test":
            self.scores, self.by_class = due, by_class
        amiss = again.unlike(kept.get("by_class", {}), by_class) + again.unframed(self.images, split, self._frames)
        return due, float(amiss + self._odd)

    def state(self) -> dict[str, Any]:
        return {"scores": self.scores, "by_class": self.by_class}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.scores, self.by_class = state["scores"], state["by_class"]

    def record(self) -> dict[str, Any]:
        return {"correct": "", "answers": ""}

    def confirmed(self, result: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[Check]:
        yield reported(result, self.by_class)

    def checks(self, metrics: Mapping[str, float], kept: Mapping[str, Any]) -> Iterator[Check]:
        due, seen = self.scores.get("mAP", np.nan), metrics.get("mAP", np.nan)
        what = "mAP that is reported, from the detections"
        yield Check(what, f"{due:.6g}", f"{seen:.6g}", abs(seen - due) < 1e-6 or (due != due and seen != seen))


def reported(result: Mapping[str, Any], due: Mapping[str, Any], within: float = 1e-6) -> Check:
    """Whether a result tells the scores of classes that its last test had."""
    others = again.unlike(result.get("by_class", {}), due, within)
    what = "scores of classes that are reported otherwise than the answers have them"
    return Check(what, "0", f"{others}", not others)
