"""Held-out data: a part of the training images set apart, to stop by, or to choose hyper-parameters by.

The test set stays what it was, and nothing is chosen by it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from pydantic import Field

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.data.images import Images
from harness.rng import stream
from harness.spec import OfOther, Spec


class Holdout(OfOther):
    """`share` of the training images of `of`, even over the classes, held out of training. Slot: `data`.

    Images with boxes or masks have no class of their own: of them `share` is drawn of all.

    They are the split "val": measured each epoch, in the place of the test set, which is measured once, at the end.
    With `blind` they are the test set itself, and the true one is not there: what a search scores its trials by.
    The same images for the same data. Images of the same content, to the byte or the pixel, stay on one side, and of
    those that the test set has too none is held out; they stay in training, as they were. A photo that was saved anew
    is another: `harness.gallery` looks for those. Raises Problem where a class would be left without any on a side.
    """

    share: float = Field(0.2, gt=0, lt=1)
    blind: bool = False

    def check(self, spec: Spec) -> None:
        if any(part.spec.data != self for part in spec.teacher):
            raise ValueError("a teacher has learned images that are held out here: give it the same data")

    def load(self) -> Images:
        return _split(self)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        """Against the images it is made of: none is lost or on both sides, and each class gives its share."""
        whole, images = self.of.load(), self.load()
        out = "test" if self.blind else "val"
        served, held, due = (
            Counter(zip(there.content(split), there.strata(split).tolist(), strict=True))
            for there, split in ((images, "train"), (images, out), (whole, "train"))
        )
        amiss = sum(((served + held) - due).values()) + sum((due - (served + held)).values())
        yield Check("training images lost, or there twice, by holding out", "0", f"{amiss}", amiss == 0)
        tested = set(whole.content("test"))
        true = sum(image in tested for image, _ in held.elements())
        yield Check("held-out images that are of the true test set", "0", f"{true}", true == 0)
        there = 0 if self.blind else len(tested - set(images.content("test")))
        yield Check("test images that holding out took away", "0", f"{there}", there == 0)
        off, spare = 0.0, 1
        for label in sorted({label for _, label in due}):
            own = {image: n for (image, kind), n in due.items() if kind == label}
            count = sum(n for (_, kind), n in held.items() if kind == label)
            free = sum(n for image, n in own.items() if image not in tested)
            off = max(off, abs(count - min(self.share * sum(own.values()), free)))
            spare = max(spare, *own.values())
        what = f"images of a class held out, from {self.share:g} of it: largest gap"
        yield Check(what, f"at most {spare}", f"{off:.3g}", off <= spare)


@lru_cache
def _split(part: Holdout) -> Images:
    try:
        images: Images = part.of.load()
    except Problem as problem:
        raise Problem(re.sub(r"^data\.", "data.of.", str(problem))) from None
    if "val" in images.counts and not part.blind:
        raise Problem("data: of what is held out already nothing can be held out again, but blind")
    strata = images.strata("train")
    rest, out = held_out(images.content("train"), strata, set(images.content("test")), part.share)
    for name, places in (("training", rest), ("validation", out)):
        empty = set(strata.tolist()) - set(strata[places].tolist())
        if empty:
            of = images.classes[min(empty)] if np.ptp(strata) else "any class"
            raise Problem(_left(part, of, name))
    lost = images.present("train") - images.regrouped({"train": ("train", rest)}).present("train")
    if lost:
        raise Problem(_left(part, images.classes[min(lost)], "training"))
    told = f"{images.digest}, {part.share} held out" + (", blind" if part.blind else "")
    images = replace(images, digest=hashlib.sha256(told.encode()).hexdigest()[:16])
    kept = {"val": ("val", np.arange(images.counts["val"]))} if "val" in images.counts else {}
    if part.blind:
        return images.regrouped({"train": ("train", rest), **kept, "test": ("train", out)})
    every = np.arange(images.counts["test"])
    return images.regrouped({"train": ("train", rest), "val": ("train", out), "test": ("test", every)})


def _left(part: Holdout, of: str, side: str) -> str:
    return (
        f"data.share={part.share:g}: no image of {of} is left for {side}; hold out another share, or take more images"
    )


def held_out(content: list[str], labels: np.ndarray, tested: set[str], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Which of N images stay, and which are held out, by place, in order: about `share` of each class, or stratum.

    `content` are the images' digests: those alike stay together, and those among `tested` stay.
    """
    shuffled = stream(0, "holdout").permutation(len(labels))
    whole: dict[str, list[int]] = {}  # the places of each content, of one class as a rule
    for place in shuffled:
        whole.setdefault(content[place], []).append(int(place))
    due = {int(label): share * int((labels == label).sum()) for label in np.unique(labels)}
    out: list[int] = []
    for digest, places in whole.items():
        label = int(labels[places[0]])
        if digest not in tested and due[label] >= len(places) / 2:
            out += places
            due[label] -= len(places)
    chosen = np.sort(np.array(out, dtype=int))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def blinded(spec: Spec, share: float = 0.2) -> Spec:
    """`spec`, and the teachers it has, without the test set: `share` of the training images takes its place."""
    teachers = tuple(part.but(spec=blinded(part.spec, share)) for part in spec.teacher)
    return spec.but(data=Holdout(of=spec.data, share=share, blind=True), teacher=teachers)
