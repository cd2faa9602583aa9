"""Classification: one label an image; its loss, its scores, what a record keeps of each test image.

What the loop asks stands first. What the evidence asks is a second writing of it, and shares no code with the first.
"""

import base64
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.evidence import digest
from harness.evidence.tested import apart
from harness.spec import Check, Loss, Task

SUMMED = 64  # losses, on a CPU: so many are added at once, so that batches of 64 and 128 have the same sum
GAPS = 201  # quantiles, from 0 to 100 %
KEEPS = 64_000_000  # bytes of logits in half precision that a record keeps, at most: 10,000 images of 3,200 classes
LARGEST = 65504.0  # of half precision
SCORES = ("loss", "top1", "top5")


class CrossEntropy(Loss):
    """Cross-entropy of target distributions: the loss where the slot `loss` is empty."""

    truth: ClassVar[str] = "class"

    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(z, y)

    def reference(self, y: np.ndarray, z: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean over N of -Σ y · log softmax(z), N x K, and its gradient by the logits, in float64."""
        z = z - z.max(1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        return float(-(y * log_p).sum(1).mean()), (np.exp(log_p) * y.sum(1, keepdims=True) - y) / len(y)


class Classify(Task):
    """One label an image, from logits N x K. Slot: `task`, and what an empty one means."""

    headline: ClassVar[str] = "top1"
    watched: ClassVar[tuple[str, ...]] = ("val_loss", "val_top1")
    learned: ClassVar[str] = "train_top1"  # the score of training images, as they were trained on, in percent
    loss: ClassVar[Loss] = CrossEntropy()
    brief: ClassVar[bool] = True

    @staticmethod
    def named(score: str, split: str) -> str:
        """What a score is called in a record: "test_loss", "top1", "val_loss", "val_top1", …"""
        return f"val_{score}" if split == "val" else f"test_{score}" if score == "loss" else score

    @staticmethod
    def at_once(device: str, side: int) -> int:
        if device != "cpu":
            return 512
        return 128 if side <= 16 else 64  # so many stay in a CPU's cache: up to 4 times as fast

    @property
    def scores(self) -> tuple[str, ...]:
        return tuple(self.named(score, split) for split in ("test", "val") for score in SCORES)

    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """Labels N as target distributions N x K."""
        return nn.functional.one_hot(labels, classes).float()

    def hits(self, z: Tensor, labels: Tensor) -> Tensor:
        """How many of a pass are answered with their own label."""
        return (z.argmax(1) == labels).sum()

    def marking(self, images: Any, split: str) -> "Marking":
        return Marking(self, len(images.classes), images.counts[split] if split == "test" else 0)

    def keeps(self, images: int, classes: int) -> tuple[int, str]:
        size = 2 * images * classes
        why = f"{images:,} test images x {classes:,} classes are {size / 1e6:.0f} MB, more than {KEEPS / 1e6:.0f} MB"
        return (size, "") if size <= KEEPS else (0, f"logits of {why}")

    def noise(self, n: int, classes: int, height: int, width: int) -> Tensor:
        return torch.full((n, classes), 1 / classes)

    # --- the second writing ------------------------------------------------------------------------------------------

    def targets_again(self, labels: np.ndarray, classes: int) -> np.ndarray:
        y = np.zeros((len(labels), classes))
        y[np.arange(len(labels)), labels] = 1
        return y

    def order(self, labels: Tensor) -> Tensor:
        return labels

    def ordered(self, images: Any) -> np.ndarray:
        return np.asarray(images.labels("train"))

    def guesses(self, z: Tensor) -> Tensor:
        """The class answered to each image: of equal logits, as half precision has them, the one that `hits` takes."""
        return z.max(1).indices

    def right(self, guesses: Tensor, labels: Tensor) -> Tensor:
        return (guesses == labels).sum() if guesses.shape == labels.shape else torch.zeros((), device=labels.device)

    def examiner(self, images: Any) -> "Examiner":
        return Examiner(self, images)


class Marking:
    """Marks an evaluation, batch by batch, on the device; of `tested` images, if any, logits are kept."""

    def __init__(self, task: Classify, classes: int, tested: int = 0) -> None:
        self.task, self.classes, self.tested = task, classes, tested
        self.told: list[tuple[Tensor, Tensor, Tensor]] = []  # of a batch, labels, answers, and logits in half precision
        self.losses: list[Tensor] = []
        self.hits: list[Tensor] = []
        self.gaps: list[Tensor] = []

    def add(self, z: Tensor, labels: Tensor) -> None:
        """Of a batch: logits N x K, in float32, and labels N."""
        most = SUMMED if z.device.type == "cpu" else len(z)
        for pair in zip(z.split(most), labels.split(most), strict=True):
            self.losses.append(nn.functional.cross_entropy(*pair, reduction="sum"))
        first = z.topk(min(5, self.classes), dim=1).indices
        self.hits.append(first == labels[:, None])
        if self.task.keeps(self.tested, self.classes)[0]:
            self.told.append((labels, first[:, 0], z.clamp(-LARGEST, LARGEST).half()))
        top = z.amax(1)
        self.gaps.append(top - (z.sum(1) - top) / (z.shape[1] - 1))

    def scores(self, split: str) -> tuple[dict[str, float], dict[str, Any]]:
        """The mean loss, top-1 and (above five classes) top-5 in percent; and what a record keeps.

        That is which images were right, in order, as bits, packed, in hexadecimal; and `GAPS` quantiles of the gap
        between an image's greatest logit and the mean of its others (He et al. 2019, section 5.2). Of the test set
        `labels` N and `logits` N x K, tensors, too, or in `no_logits` why not.
        """
        correct = torch.cat(self.hits).cpu().numpy()
        found = [float(torch.stack(self.losses).sum()) / len(correct), 100 * float(correct[:, 0].mean())]
        if self.classes > 5:
            found.append(100 * float(correct.any(1).mean()))
        with np.errstate(all="ignore"):  # of a run that diverges
            spread = np.quantile(torch.cat(self.gaps).double().cpu().numpy(), np.linspace(0, 1, GAPS))
        scores = {self.task.named(name, split): score for name, score in zip(SCORES, found, strict=False)}
        right = np.packbits(correct[:, 0]).tobytes().hex()
        return scores, {"correct": right, "gaps": [float(f"{gap:.5g}") for gap in spread], **self._kept()}

    def _kept(self) -> dict[str, Any]:
        if self.told:
            labels, answers, logits = (torch.cat(own).cpu() for own in zip(*self.told, strict=True))
            return {"labels": labels.int(), "logits": told_apart(logits, answers)}
        return {"no_logits": self.task.keeps(self.tested, self.classes)[1]} if self.tested else {}


class Examiner:
    """Marks an evaluation again, from the answers as they left the network and the labels as the data has them."""

    def __init__(self, task: Classify, images: Any) -> None:
        self.task, self.images = task, images
        self.answers = torch.zeros(0, dtype=torch.int32)  # to the test images, the last time
        self.gaps: list[float] = []  # quantiles of the last evaluation's gaps of logits
        self.off = math.inf  # of the logits kept of the test images, the last time, from those seen: see `_off`
        self.arrays = ""  # a digest of what was kept of the test images, the last time
        self.clear()

    def clear(self) -> None:
        self._ranks: list[Tensor] = []  # the five greatest, or as many as there are classes
        self._logits: list[Tensor] = []
        self._gaps: list[Tensor] = []  # greatest logit less the mean of the others, of each image

    def saw(self, given: tuple[Tensor, ...], z: Tensor) -> None:
        """What the network was called with, a batch, and its logits in float32."""
        top = z.amax(1)
        self._gaps.append(top - (z.sum(1) - top) / (z.shape[1] - 1))
        self._ranks.append(z.topk(min(5, z.shape[1]), dim=1).indices.int())
        self._logits.append(z)

    def over(self, split: str) -> None:
        """An evaluation is over, of whatever images."""
        if split == "test":
            first = [ranks[:, 0] for ranks in self._ranks]
            self.answers = (
                torch.cat([*first, torch.zeros(0, dtype=torch.int32, device=first[0].device)]).cpu()
                if (first)
                else torch.zeros(0, dtype=torch.int32)
            )
        self.clear()

    def marked(self, split: str, kept: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        """The scores due, and whether what was kept of single images is otherwise (1.0) than they were answered."""
        labels = np.asarray(self.images.labels(split))
        ranks, own = torch.cat(self._ranks).cpu().numpy(), labels[:, None]
        hits = ranks == own
        z = torch.cat(self._logits).double()
        loss = float((z.logsumexp(1) - z.gather(1, torch.from_numpy(labels).to(z.device)[:, None])[:, 0]).mean())
        name = "val_" if split == "val" else ""
        due = {f"{name or 'test_'}loss": loss, f"{name}top1": 100 * float(hits[:, 0].mean())}
        if len(self.images.classes) > 5:
            due[f"{name}top5"] = 100 * float(hits.any(1).mean())
        with np.errstate(all="ignore"):  # of a run that diverges
            spread = np.quantile(torch.cat(self._gaps).double().cpu().numpy(), np.linspace(0, 1, 201))
        self.gaps = [float(gap) for gap in spread]
        if "logits" in kept:
            self.off, self.arrays = self._off(kept["logits"].double().numpy(), z.cpu().numpy()), arrays_digest(kept)
        return due, float(kept["correct"] != np.packbits(hits[:, 0]).tobytes().hex())

    @staticmethod
    def _off(z: np.ndarray, seen: np.ndarray) -> float:
        """The greatest gap from what was seen, in steps of half precision, which has eleven bits.

        Rounding is half a step; a logit that would be equal to the answer's is a step lower. Rows that are not finite,
        of a run that diverges, tell nothing.
        """
        if z.shape != seen.shape:
            return math.inf
        finite = np.isfinite(seen).all(1) & (np.abs(seen).max(1) < LARGEST)
        z, seen = z[finite], seen[finite]
        return float(np.max(np.abs(z - seen) / (2.0**-10 * np.maximum(np.abs(seen), 2.0**-14)), initial=0.0))

    def state(self) -> dict[str, Any]:
        return {"answers": self.answers, "gaps": self.gaps, "off": self.off, "arrays": self.arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.answers, self.gaps, self.off = state["answers"], state["gaps"], state["off"]
        self.arrays = state["arrays"]

    def record(self) -> dict[str, Any]:
        """The fields of a result that tell of single test images, as they were seen."""
        labels = np.asarray(self.images.labels("test"))
        whole = len(self.answers) == len(labels)
        right = np.packbits(self.answers.numpy() == labels).tobytes().hex() if whole else ""
        return {"correct": right, "answers": packed(self.answers)}

    def confirmed(self, result: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[Check]:
        """That the quantiles of a finished result are those of the logits seen, and that its arrays are still those."""
        pairs = zip(result["gaps"], self.gaps, strict=False)
        off = max((apart(a, b) for a, b in pairs), default=math.inf)
        yield Check("gaps of logits that are reported: gap", "0", f"{off:.1g}", off < 1e-3)
        seen = arrays_digest(arrays) if arrays else ""
        yield Check(
            "labels and logits that are left: digest", self.arrays or "none", seen or "none", seen == self.arrays
        )

    def checks(self, metrics: Mapping[str, float], kept: Mapping[str, Any]) -> Iterator[Check]:
        """That the score that is reported, and which images are right, are those of the answers kept."""
        labels, answers = np.asarray(self.images.labels("test")), self.answers.numpy()
        hits = answers == labels if len(answers) == len(labels) else np.zeros(0, dtype=bool)
        top1 = 100 * float(hits.mean()) if len(hits) else math.nan
        seen = metrics.get("top1", math.nan)
        what = "top-1 that is reported, from the answers kept"
        yield Check(what, f"{top1:.6g}", f"{seen:.6g}", abs(seen - top1) < 1e-6)
        bits = kept["correct"] == np.packbits(hits).tobytes().hex()
        yield Check("images that are reported right are those answered right", "yes", "yes" if bits else "no", bits)
        if "logits" in kept:
            yield from self._of_logits(metrics, kept)

    def _of_logits(self, metrics: Mapping[str, float], kept: Mapping[str, Any]) -> Iterator[Check]:
        """That the labels and logits kept are the data's and the network's, and give the answers and top-1 told."""
        truth, own, z = np.asarray(self.images.labels("test")), kept["labels"].numpy(), kept["logits"].numpy()
        off = int((own != truth).sum()) if own.shape == truth.shape else len(truth)
        yield Check("labels kept with the logits that are not the data's", "0", f"{off}", off == 0)
        finite = np.isfinite(z).all(1)  # else the run diverged
        said, answers = z.argmax(1)[finite], self.answers.numpy()
        whole = len(z) == len(answers)
        off = int((said != answers[finite]).sum()) if whole else len(answers)
        yield Check("answers that the logits kept do not give", "0", f"{off}", off == 0)
        if finite.all():
            top1, seen = 100 * float((said == own).mean()) if whole else math.nan, metrics.get("top1", math.nan)
            yield Check(
                "top-1 that is reported, from the logits kept", f"{top1:.6g}", f"{seen:.6g}", abs(seen - top1) < 1e-6
            )
        what = "logits kept, from those seen: largest gap, in steps of half precision"
        yield Check(what, "at most 1.5", f"{self.off:.3g}", self.off < 1.51)


def arrays_digest(arrays: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the labels and logits kept, numpy's or torch's."""
    return digest((name, torch.as_tensor(arrays[name])) for name in ("labels", "logits"))


def told_apart(logits: Tensor, answers: Tensor) -> Tensor:
    """Logits N x K in half precision, of which each row's greatest is that of the class answered.

    Rounding makes logits equal that were not. Another that is equal to the answer's is put one step lower.
    """
    z, own = logits.numpy().copy(), np.arange(len(logits))
    top = z[own, answers.numpy()][:, None]
    tied = z >= top
    tied[own, answers.numpy()] = False
    z[tied] = np.broadcast_to(np.nextafter(top, np.float16(-np.inf)), z.shape)[tied]
    return torch.from_numpy(z)


def packed(answers: Tensor) -> str:
    """The class answered to each test image, in order: uint16, compressed, in base 85; `stats.unpacked` reads it."""
    return base64.b85encode(zlib.compress(answers.numpy().astype("<u2").tobytes(), 9)).decode()
