"""Segmentation: the class of each pixel; cross-entropy of pixels, mean IoU and pixel accuracy.

What the loop asks stands first. What the evidence asks is a second writing of it, and shares no code with the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from harness.parts.models.fcn import FCN
from harness.spec import Check, Loss, Spec, Task
from harness.stats.segmentation import confusion, ious, mean_iou, pixel_accuracy
from harness.tasks import again
from harness.tasks.detect import needs, reported

NEAR = 1e-2  # percent: two writings may round the two greatest logits of a pixel apart
CONFUSED = 40  # classes: of so many a record keeps the whole matrix


class PixelCrossEntropy(Loss):
    """Cross-entropy of pixels, and `aux` times that of the auxiliary head (gluon-cv: .5).

    Of logits of cells N x 2K x h x w, brought to the masks' size bilinearly, and masks N x H x W. It is the mean over
    the pixels of a pass that are labelled; where none is, 0.
    """

    truth: ClassVar[str] = "mask"
    aux: float = Field(0.5, ge=0)

    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        main, aux = z.chunk(2, 1)
        return self._of(main, y) + self.aux * self._of(aux, y)

    def _of(self, z: Tensor, y: Tensor) -> Tensor:
        grown = nn.functional.interpolate(z, y.shape[1:], mode="bilinear", align_corners=False)
        rows = grown.permute(0, 2, 3, 1).reshape(-1, z.shape[1])  # as rows it has a deterministic kernel on CUDA
        loss = nn.functional.cross_entropy(rows, y.reshape(-1), ignore_index=-1, reduction="sum")
        return loss / (y >= 0).sum().clamp(min=1)

    def reference(self, y: np.ndarray, z: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient by the cells' logits, image by image, in float64: pixels are sums over cells."""
        slope, total = np.zeros_like(z), 0.0
        classes, labelled = z.shape[1] // 2, max(1, int((y >= 0).sum()))
        down, across = (cells(small, large) for small, large in zip(z.shape[2:], y.shape[1:], strict=True))
        for image, mask in enumerate(y.astype(int)):
            known = mask >= 0
            for first, weight in ((0, 1.0), (classes, self.aux)):
                own = z[image, first : first + classes]
                pixels = down @ own @ across.T
                pixels = pixels - pixels.max(0)
                log_p = pixels - np.log(np.exp(pixels).sum(0))
                total -= weight * log_p[mask[known], *np.nonzero(known)].sum() / labelled
                by = np.where(known, np.exp(log_p), 0.0)
                by[mask[known], *np.nonzero(known)] -= 1
                slope[image, first : first + classes] = weight * (down.T @ by @ across) / labelled
        return float(total), slope


@lru_cache(maxsize=64)
def cells(small: int, large: int) -> np.ndarray:
    """How much each of `small` cells gives to each of `large` pixels, large x small: linear between their middles."""
    weights = np.zeros((large, small))
    for pixel in range(large):
        middle = min(max((pixel + 0.5) * small / large - 0.5, 0.0), small - 1.0)
        left = min(int(middle), small - 1)
        right = min(left + 1, small - 1)
        weights[pixel, left] += 1 - (middle - left)
        weights[pixel, right] += middle - left
    return weights


class Segment(Task):
    """The class of each pixel, with mean IoU, and pixel accuracy. Slot: `task`.

    Both are of the whole test set, at the masks' own size, each image once and whole. Published numbers of ADE20K are
    of several scales and mirrored images as a rule: a point or two more.
    """

    headline: ClassVar[str] = "mIoU"
    watched: ClassVar[tuple[str, ...]] = ("val_loss", "val_mIoU", "val_pixAcc")
    learned: ClassVar[str] = "train_pixAcc"  # cells answered with the label of the pixel in their middle, in percent
    loss: ClassVar[Loss] = PixelCrossEntropy()
    brief: ClassVar[bool] = False
    steady: ClassVar[bool] = False  # the backward of bilinear growing adds in no fixed order on CUDA

    def check(self, spec: Spec) -> None:
        if not isinstance(spec.model, FCN):
            raise ValueError("task=Segment answers each pixel: set model=FCN")
        needs(spec, "mask")

    @staticmethod
    def named(score: str, split: str) -> str:
        return f"val_{score}" if split == "val" else f"test_{score}" if score == "loss" else score

    @staticmethod
    def at_once(device: str, side: int) -> int:
        return 8

    @property
    def scores(self) -> tuple[str, ...]:
        return ("test_loss", "mIoU", "pixAcc", *self.watched)

    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """The masks themselves, N x H x W."""
        return labels

    def given(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return x, y

    def hits(self, z: Tensor, labels: Tensor) -> Tensor:
        said = z.chunk(2, 1)[0].argmax(1)
        due = middles(labels, said.shape[1:])
        known = due >= 0
        return (((said == due) & known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)).sum()

    def marking(self, images: Any, split: str) -> "Marking":
        return Marking(self, images, split)

    def noise(self, n: int, classes: int, height: int, width: int) -> Tensor:
        return torch.arange(height * width).remainder(classes).view(1, height, width).repeat(n, 1, 1)

    # --- the second writing ------------------------------------------------------------------------------------------

    def targets_again(self, labels: np.ndarray, classes: int) -> np.ndarray:
        return labels

    def order(self, labels: Tensor) -> None:
        return None  # masks are augmented: audits tell

    def ordered(self, images: Any) -> np.ndarray:
        return np.arange(images.counts["train"])

    def guesses(self, z: Tensor) -> Tensor:
        """The class answered to each cell, N x h x w."""
        return z[:, : z.shape[1] // 2].max(1).indices

    def right(self, guesses: Tensor, labels: Tensor) -> Tensor:
        rows, columns = (
            ((torch.arange(few, device=labels.device) * 2 + 1) * many) // (2 * few)
            for few, many in zip(guesses.shape[1:], labels.shape[1:], strict=True)
        )
        due = labels[:, rows][:, :, columns]
        return sum(
            ((said == own).sum() / (own != -1).sum().clamp(min=1) for said, own in zip(guesses, due, strict=True)),
            torch.zeros((), device=labels.device),
        )

    def examiner(self, images: Any) -> "Examiner":
        return Examiner(images)


def middles(labels: Tensor, cells: torch.Size) -> Tensor:
    """Labels N x H x W of the pixels in the middle of each of h x w cells."""
    picked: Tensor = nn.functional.interpolate(labels[:, None].double(), tuple(cells), mode="nearest-exact")
    return picked[:, 0].long()


def at_size(cells: Tensor, canvas: Sequence[int], frame: Sequence[float]) -> Tensor:
    """Logits 1 x K x H x W at the size of the file, of cells K x h x w on a padded `canvas`, by the image's frame."""
    height, width, tall, wide = (int(side) for side in frame[:4])
    grown = nn.functional.interpolate(cells[None], tuple(canvas), mode="bilinear", align_corners=False)
    grown = grown[:, :, :height, :width]
    if (tall, wide) != (height, width):
        grown = nn.functional.interpolate(grown, (tall, wide), mode="bilinear", align_corners=False)
    return grown


class Marking:
    """Marks an evaluation, batch by batch, on the device; a matrix of pixels is all that it keeps."""

    def __init__(self, task: Segment, images: Any, split: str) -> None:
        self.task, self.images, self.split = task, images, split
        self.matrix = np.zeros((len(images.classes),) * 2, dtype=np.int64)
        self.loss, self.place = 0.0, 0

    def add(self, z: Tensor, frames: Tensor) -> None:
        """Of a batch: logits of cells N x K x h x w, of images padded to its greatest, and frames N x 6."""
        canvas = [int(frames[:, axis].max()) for axis in (0, 1)]
        for cells, frame in zip(z, frames.tolist(), strict=True):
            grown = at_size(cells, canvas, frame)
            mask = torch.from_numpy(self.images.truth(self.split, self.place)).to(z.device).long()
            self.loss += float(nn.functional.cross_entropy(grown, mask[None], ignore_index=-1, reduction="sum"))
            said = grown[0].argmax(0)
            self.matrix += confusion(mask.cpu().numpy(), said.cpu().numpy(), len(self.matrix))
            self.place += 1

    def scores(self, split: str) -> tuple[dict[str, float], dict[str, Any]]:
        """Loss, mIoU and pixel accuracy in percent; and what a record keeps: IoU of each class, the matrix of few."""
        found = {
            "loss": self.loss / max(1, int(self.matrix.sum())),
            "mIoU": 100 * mean_iou(self.matrix),
            "pixAcc": 100 * pixel_accuracy(self.matrix),
        }
        each = ious(self.matrix)
        kept: dict[str, Any] = {
            name: {"IoU": 100 * float(each[place]), "n": int(self.matrix[place].sum())}  # nan of one that is nowhere
            for place, name in enumerate(self.images.classes)
        }
        more = {"confusion": self.matrix.tolist()} if len(self.matrix) <= CONFUSED else {}
        named = {self.task.named(name, split): value for name, value in found.items()}
        return named, {"correct": "", "gaps": [], "by_class": kept, **more}


class Examiner:
    """Marks an evaluation again, from the cells' logits as they left the network and the masks as the data has them.

    Of an image nothing is kept but counts, since 2,000 images of 150 classes would be 100 GB. Which split it is of is
    told at the end, so that they are made of each split that has an image of that place and size.
    """

    def __init__(self, images: Any) -> None:
        self.images = images
        self.scores: dict[str, float] = {}  # of the test images, the last time
        self.by_class: dict[str, Any] = {}  # and of each class
        self.matrix: list[list[int]] = []  # of its pixels: those answered right, answered or labelled so, labelled so
        self.clear()

    def clear(self) -> None:
        splits = [split for split in self.images.counts if split != "train"]
        self._counts = {split: np.zeros((len(self.images.classes), 3), np.int64) for split in splits}
        self._loss = dict.fromkeys(splits, 0.0)
        self._frames: list[np.ndarray] = []

    def saw(self, given: tuple[Tensor, ...], z: Tensor) -> None:
        frames = given[1].tolist()
        most = [max(int(frame[axis]) for frame in frames) for axis in (0, 1)]
        for cells_of, frame in zip(z, frames, strict=True):
            down, across = (
                torch.from_numpy(
                    cells(side, file) @ cells(few, canvas)[:side] if side != file else cells(few, canvas)[:side]
                ).to(z)
                for few, canvas, side, file in zip(
                    z.shape[2:], most, map(int, frame[:2]), map(int, frame[2:4]), strict=True
                )
            )
            pixels = down @ cells_of @ across.T
            for split in self._counts:
                self._count(split, len(self._frames), pixels)
            self._frames.append(np.array(frame, dtype=np.float64))

    def _count(self, split: str, place: int, pixels: Tensor) -> None:
        if place >= self.images.counts[split]:
            return
        mask = self.images.truth(split, place)
        if mask.shape != pixels.shape[1:]:
            return
        answers = pixels.max(0).indices.cpu().numpy()
        self._counts[split] += again.pixels(mask, answers, len(self.images.classes))
        rows, columns = np.nonzero(mask >= 0)
        at = torch.from_numpy(mask[rows, columns].astype(np.int64)).to(pixels.device)
        own = pixels[at, torch.from_numpy(rows).to(at), torch.from_numpy(columns).to(at)]
        every = pixels.logsumexp(0)[torch.from_numpy(rows).to(at), torch.from_numpy(columns).to(at)]
        self._loss[split] += float((every - own).double().sum())

    def over(self, split: str) -> None:
        self.clear()

    def marked(self, split: str, kept: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        counts = self._counts[split]
        accuracy, mean, each = again.segmented(counts)
        prefix = "val_" if split == "val" else ""
        loss = self._loss[split] / max(1, int(counts[:, 2].sum()))
        due = {f"{prefix or 'test_'}loss": loss, f"{prefix}mIoU": 100 * mean, f"{prefix}pixAcc": 100 * accuracy}
        by_class = {
            name: {"IoU": 100 * iou, "n": int(n)}
            for name, n, iou in zip(self.images.classes, counts[:, 2], each, strict=True)
        }
        if split == "test":
            self.scores, self.by_class, self.matrix = due, by_class, counts.tolist()
        amiss = again.unlike(kept.get("by_class", {}), by_class, NEAR)
        amiss += again.unframed(self.images, split, self._frames) + unsummed(kept, counts)
        return due, float(amiss)

    def state(self) -> dict[str, Any]:
        return {"scores": self.scores, "by_class": self.by_class, "matrix": self.matrix}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.scores, self.by_class, self.matrix = state["scores"], state["by_class"], state["matrix"]

    def record(self) -> dict[str, Any]:
        return {"correct": "", "answers": ""}

    def confirmed(self, result: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[Check]:
        yield reported(result, self.by_class, NEAR)
        if "confusion" in result:
            off = unsummed(result, np.array(self.matrix).reshape(-1, 3))
            yield Check(
                "rows and columns of the matrix of pixels with other sums than the answers", "0", f"{off}", not off
            )

    def checks(self, metrics: Mapping[str, float], kept: Mapping[str, Any]) -> Iterator[Check]:
        due, seen = self.scores.get("mIoU", np.nan), metrics.get("mIoU", np.nan)
        what = "mIoU that is reported, from the answers: gap"
        yield Check(what, f"{due:.6g}", f"{seen:.6g}", near(seen, due))


def unsummed(told: Mapping[str, Any], counts: np.ndarray) -> int:
    """How many classes of a record's matrix have other sums of their row, their column or on the diagonal."""
    if "confusion" not in told:
        return 0
    matrix, (both, either, own) = np.array(told["confusion"]), counts.T
    slack = 1e-4 * max(1, int(own.sum()))  # pixels whose two greatest logits are one number
    sums = ((np.diag(matrix), both), (matrix.sum(1), own), (matrix.sum(0), either - own + both))
    return int((np.abs(np.array([a - b for a, b in sums])) > slack).any(0).sum())


def near(seen: float | None, due: float) -> bool:
    return seen is not None and (abs(seen - due) < NEAR or (seen != seen and due != due))
