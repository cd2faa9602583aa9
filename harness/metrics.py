"""What runs may be compared by: of what a record tells, or worked out from the logits that it keeps of its test images.

    python -m harness.report digits --metric balanced_accuracy

A study may have its own, in its file: `METRICS = {"cost": Metric(cost, unit="EUR", better="lower")}`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness import Problem, one_line

Labels = NDArray[np.int64]
Logits = NDArray[np.floating[Any]]
UNEVEN = 1.5  # times the smallest class of a test set: above that, top-1 tells mostly of the largest
BINS = 15  # of confidence, as Guo et al. 2017 have them


@dataclass(frozen=True)
class Metric:
    """`of(labels N, logits N x K) -> float`, in `unit`: of "%" it is 0 to 100, and gains are in points.

    Which is `better`, higher or lower values, decides whether a gain helps. Logits come as float64.
    """

    of: Callable[[Labels, Logits], float]
    unit: str = "%"
    better: Literal["higher", "lower"] = "higher"
    title: str = ""  # in tables; its name where that is empty


@dataclass(frozen=True)
class Told:
    """A metric that each record tells: no logits are needed."""

    of: Callable[[Mapping[str, Any]], float]
    unit: str = "%"
    better: Literal["higher", "lower"] = "higher"
    title: str = ""


def answers(logits: Logits) -> Labels:
    """The class answered to each image, N, from logits N x K."""
    made: Labels = logits.argmax(1)
    return made


def recalls(labels: Labels, said: Labels) -> NDArray[np.float64]:
    """Of each class that has test images, the share of them that is answered right, from 0 to 1."""
    from sklearn.metrics import recall_score

    made: NDArray[np.float64] = recall_score(labels, said, labels=np.unique(labels), average=None, zero_division=0)
    return made


def balanced(labels: Labels, said: Labels) -> float:
    """The mean of `recalls`, in percent: scikit-learn's balanced accuracy, which warns where a class has no image."""
    return 100 * float(recalls(labels, said).mean())


def balanced_accuracy(labels: Labels, logits: Logits) -> float:
    """Balanced accuracy: the mean over classes of the share of a class's test images that is answered right."""
    return balanced(labels, answers(logits))


def worst_class(labels: Labels, logits: Logits) -> float:
    """Accuracy of the worst class: the least share of a class's test images that is answered right."""
    return 100 * float(recalls(labels, answers(logits)).min())


def macro_f1(labels: Labels, logits: Logits) -> float:
    """Macro F1: the mean over classes of the harmonic mean of precision and recall."""
    from sklearn.metrics import f1_score

    return 100 * float(f1_score(labels, answers(logits), average="macro", zero_division=0))


def ece(labels: Labels, logits: Logits) -> float:
    """Calibration error: the mean gap of confidence and accuracy over 15 even bins of confidence (Guo et al. 2017).

    Each bin counts by its images. nan where a logit is not finite, as of a run that diverged.
    """
    if not np.isfinite(logits).all():
        return math.nan
    p = np.exp(logits - logits.max(1, keepdims=True))
    sure = p.max(1) / p.sum(1)
    right = answers(logits) == labels
    which = np.ceil(sure * BINS).astype(int)  # a bin has its upper end
    gaps = np.bincount(which, right - sure, BINS + 1)
    return 100 * float(np.abs(gaps).sum() / len(labels))


METRICS: dict[str, Metric | Told] = {
    "top1": Told(lambda record: float(record["metrics"]["top1"]), title="top-1"),
    "top5": Told(lambda record: float(record["metrics"]["top5"]), title="top-5"),
    "loss": Told(lambda record: float(record["metrics"]["test_loss"]), "nats", "lower", "test loss"),
    "balanced_accuracy": Metric(balanced_accuracy, title="balanced accuracy"),
    "macro_f1": Metric(macro_f1, title="macro F1"),
    "worst_class": Metric(worst_class, title="accuracy of the worst class"),
    "ece": Metric(ece, better="lower", title="calibration error"),
    "seconds": Told(lambda record: float(record["seconds"]), "s", "lower", "seconds"),
}


def chosen(name: str, own: Mapping[str, Metric] | None = None) -> Metric | Told:
    """The metric of that name, of these here or a study's `own`. Raises Problem where there is none."""
    every = METRICS | dict(own or {})
    if name not in every:
        raise Problem(f"--metric {one_line(name)}: no such metric; there are: {', '.join(every)}")
    return every[name]


HEADLINES = ("top1", "mAP", "mIoU")  # what records are about, each of its task


def labelled(label: str, name: str) -> str:
    """What a report is called that goes by a metric: none overwrites another. One by a headline has no more words."""
    return label if name in ("", *HEADLINES) else f"{label}{'-' if '@' in label else '@'}{name}"


def unlabelled(label: str, name: str) -> str:
    """The other way round: what a report of that label is called without its metric."""
    return label.removesuffix(f"-{name}").removesuffix(f"@{name}") if labelled("", name) else label


def named_well(name: object) -> bool:
    """Whether a study may call a metric of its own so: a word, as a file may be called, that none here has."""
    return isinstance(name, str) and name.isascii() and name.isidentifier() and name not in METRICS


def uneven(counts: NDArray[np.int64]) -> bool:
    """Whether the largest class of a test set has more than 1.5 times the images of the smallest; `counts` are K."""
    return len(counts) > 1 and int(counts.max()) > UNEVEN * int(counts.min())
