"""Which images are for training and which for test: by the names of the splits, or set apart here."""

from collections.abc import Collection, Sequence

import numpy as np
from pydantic import Field

from harness import Problem
from harness.parts.data.holdout import held_out
from harness.rng import stream
from harness.spec import Part

TRAIN = ("train", "training")
TEST = ("val", "valid", "validation", "dev", "test", "testing")  # the first that is there is the test set


class Split(Part):
    """Of data without a test set: `share` of each class becomes it, drawn by `seed`, and is never trained on.

    The same images for the same content and seed, wherever and in whatever order they lie. Images of the same content,
    to the byte or the pixel, stay on one side. Another seed is other data, and so another id. Raises Problem where a
    class is left without an image on one of the sides.
    """

    share: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    def apart(
        self, content: Sequence[str], labels: np.ndarray, classes: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The places, of N images with these digests and labels, of those for training and for test, in order."""
        order = np.lexsort((labels, np.array(content)))  # by content: it is drawn from an order that is always the same
        alike = [content[place] for place in order]
        rest, out = (
            order[part] for part in held_out(alike, labels[order], set(), self.share, stream(self.seed, "split"))
        )
        for name, places in (("training", rest), ("test", out)):
            lacking = sorted(set(labels.tolist()) - set(labels[places].tolist()))
            if lacking:
                raise Problem(
                    f"data.split.share={self.share:g}: no image of {classes[lacking[0]]} is left for {name}; "
                    "take another share, or more images"
                )
        return np.sort(rest), np.sort(out)


def chosen(
    found: Collection[str], train: str | None, test: str | None, where: str
) -> tuple[str | None, str | None, list[str]]:
    """Which of the names `found` are the training and the test set, as told or by what they are called; and notes.

    None of one that is not told, and not there. A test set that is not called "val" was guessed, and a note says so.
    Raises Problem where one is told and not there.
    """
    for field, told in (("train", train), ("test", test)):
        if told is not None and told not in found:
            raise Problem(
                f"data.{field}={told}: no such split in {where}; there are: {', '.join(sorted(found)) or 'none'}"
            )
    if train is not None and train == test:
        raise Problem(f"data.test={test} is data.train too: name another split")
    trained = train or _first(found, TRAIN, {test})
    tested = test or _first(found, TEST, {trained})
    notes = []
    others = sorted(name for name in found if is_known(name) and name not in (trained, tested))
    if tested and test is None and (tested != "val" or others):
        unread = f"; not read: {', '.join(others)}" if others else ""
        notes.append(f"the test set is {tested}, by its name{unread}; data.test names another")
    return trained, tested, notes


def is_known(name: str) -> bool:
    """Whether it is what a split is usually called."""
    return name.lower() in (*TRAIN, *TEST)


def lacking(where: str, split: Split | None, test: str | None, there: str) -> None:
    """Raise Problem where there is neither a test set nor a `split` that makes one, or both."""
    if split is None and test is None:
        raise Problem(
            f"{where}: there is no test set ({there}): name it in data.test, or set data.split=Split, "
            "which sets a fifth of each class apart"
        )
    if split is not None and test is not None:
        raise Problem(f"{where}: data.split is for data without a test set, and there is {test}: leave one of them out")


def _first(found: Collection[str], usual: Sequence[str], taken: Collection[str | None]) -> str | None:
    own = {name.lower(): name for name in sorted(found, reverse=True) if name not in taken}
    return next((own[name] for name in usual if name in own), None)
