"""What a classifier answers: test images, the confusion matrix, and its accuracy.

That is on all test images, on 200 of them, and on those that training has no other copy of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.gallery.anew import Record, answerable, evaluated, otherwise, told
from harness.gallery.data import chosen, class_names, of_data, prepared

if TYPE_CHECKING:  # torch and matplotlib take seconds, which --help need not wait for
    import pandas as pd
    from matplotlib.figure import Figure

    from harness.parts.data import Images
    from harness.spec import Spec
    from harness.store import Store

SHOWN = 16  # test images with their answers
DRAWN = 200  # test images of the second reading
INTERVALS = (
    "Intervals are of accuracy on new images like these, for this one network; another seed is another network. What "
    "chose the weights is told too well by as much as the choice gained."
)


@dataclass(frozen=True)
class Answers:
    """Of each test image, in order."""

    truth: np.ndarray
    said: np.ndarray
    sure: np.ndarray  # the probability of the class answered


def answers(spec: Spec, seed: int, store: Store) -> Answers:
    """What the weights of a finished run say of each test image. Raises Problem where its record says otherwise."""
    import torch

    from harness import tasks

    logits: list[torch.Tensor] = []
    evaluated(spec, seed, store, tasks.of(spec), lambda given, z: logits.append(z.float().cpu()))
    z = torch.cat(logits)
    said = z.argmax(1)  # not of the probabilities, which may be 1 more than once
    sure = z.softmax(1)[torch.arange(len(z)), said]
    answered = Answers(spec.data.load().labels("test"), said.numpy(), sure.numpy())
    check(answered, store.read(spec.id, seed))
    return answered


def check(answered: Answers, record: Record) -> None:
    """Raise Problem where other test images are right than a record says."""
    n = len(answered.truth)
    told = np.unpackbits(np.frombuffer(bytes.fromhex(record["correct"]), np.uint8), count=n).astype(bool)
    differ = int((told != (answered.said == answered.truth)).sum())
    if differ:
        raise otherwise(record, f"{differ} of {n} test images are answered otherwise")


def confusion(answered: Answers, classes: int) -> np.ndarray:
    """How many images of class i were taken for class j, `classes` x `classes`."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (answered.truth, answered.said), 1)
    return counts


def accuracies(answered: Answers, record: Record, near: np.ndarray) -> list[tuple[str, int, int]]:
    """(of what, right, images): all test images, 200 of them, those without twins `near` them, and those held out."""
    from harness.parts.data.twins import NEAR, SIDE

    right = answered.truth == answered.said
    n = len(right)
    few = chosen(n, DRAWN, "drawn")
    told = [(f"all {n:,} test images", int(right.sum()), n)]
    if len(few) < n:
        told.append((f"{len(few)} test images drawn at random", int(right[few].sum()), len(few)))
    if near.any():
        of = f"test images without a twin in training, by less than {NEAR} of 255 on average at {SIDE} px"
        told.append((of, int(right[~near].sum()), int((~near).sum())))
    if "val_top1" in record["metrics"]:
        held = record["images"]["val"]
        told.append(
            (
                "held-out images, by which the weights were chosen",
                round(record["metrics"]["val_top1"] / 100 * held),
                held,
            )
        )
    return told


def of_answers(
    study: str, run: str, images: Images, names: Sequence[str], answered: Answers
) -> Iterator[tuple[str, Figure]]:
    from harness.report import pictures

    few = chosen(len(answered.truth), SHOWN, "shown")
    truth, said = ([names[label] for label in labels[few]] for labels in (answered.truth, answered.said))
    sure = answered.sure[few].tolist()
    yield "answers", pictures.answers(study, run, prepared(images, "test", few), truth, said, sure)
    yield "confusion", pictures.confusion(study, run, confusion(answered, len(names)), names)


def table(told: Sequence[tuple[str, int, int]]) -> pd.DataFrame:
    """`accuracies` with their intervals."""
    import pandas as pd

    from harness.stats import wilson

    rows = []
    for of, right, n in told:
        if not n:  # a test set that is in training whole
            rows.append((f"{of}: there is none", "–", "0", "–", "–"))
            continue
        low, high = (100 * end for end in wilson(right, n))
        rows.append((of, f"{right:,}", f"{n:,}", f"{100 * right / n:.2f}", f"{low:.2f} to {high:.2f}"))
    return pd.DataFrame(rows, columns=["of", "right", "images", "top-1", "95 % Wilson interval"])


def gallery(
    study: str, run: str, spec: Spec, seed: int, store: Store
) -> tuple[dict[str, Figure], list[str | pd.DataFrame], str]:
    """(Figures by name, paragraphs and tables, how the run stands) of the data and, once it is finished, of a run."""
    from harness.parts.data import twins
    from harness.report import pictures

    images = spec.data.load()
    names = class_names(spec.data, images.classes)
    drawn = dict(of_data(study, spec, names))
    said: list[str | pd.DataFrame] = []
    if (spec.id, seed) not in store:
        return drawn, said, "no finished run yet"
    record = store.read(spec.id, seed)
    drawn["curves"] = pictures.curves(study, run, record["epochs"], record["kept"] if spec.stop else None)
    if answerable(record):
        answered = answers(spec, seed, store)
        found = twins.near(images)
        near = np.zeros(images.counts["test"], bool) if found is None else found
        said = [table(accuracies(answered, record, near)), INTERVALS]
        drawn |= of_answers(study, run, images, names, answered)
    return drawn, said, told(record)
