"""What today's recipes have: orders of images, averages of weights, sizes by epoch, views of test images."""

import numpy as np

from harness.parts.data import Cached
from harness.parts.data.images import Images
from harness.tricks.alternating_flip import AlternatingFlip, alternating_flip
from harness.tricks.one_order import OneOrder, one_order
from harness.tricks.repeated_augmentation import Repeated, repeated_augmentation
from tests.mutants.breaking import LONG, Broken, augmenting_when, edited, method

REPEATED, ONCE = repeated_augmentation(LONG), one_order(LONG)
TURNING = alternating_flip(LONG)
ORDER, FIRST_ALONE = "self.order(epoch, batch_size, rng)", "(self if epoch == 0 else replace(self, sampler=None))"
COINS = 'streams("augment", "AlternatingFlip").random(int(places.max()) + 1)'


def shuffled(self: object, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(labels))


BROKEN: Broken = {
    "repeated_augmentation": [
        ("does nothing", REPEATED, method(Repeated, "order", shuffled)),
        ("twice each", REPEATED, edited(Repeated, "order", "self.repeats", "2")),
        ("one epoch in three", REPEATED, edited(Repeated, "order", "np.repeat(", "np.tile(")),
        (
            "copies in different batches",
            REPEATED,
            edited(Repeated, "order", "return np", "return rng.permutation(np", "[: len(labels)]", "[: len(labels)])"),
        ),
        ("the same images each epoch", REPEATED, edited(Images, "order", "self.sampler.anew", "not self.sampler.anew")),
        ("off after the first epoch", REPEATED, edited(Cached, "train", ORDER, ORDER.replace("self", FIRST_ALONE))),
    ],
    "one_order": [
        ("does nothing", ONCE, edited(Images, "order", "self.sampler.anew", "True")),
        ("it says that it shuffles anew", ONCE, method(OneOrder, "anew", True)),
        ("as the images are stored", ONCE, method(OneOrder, "order", lambda self, labels, rng: np.arange(len(labels)))),
        ("batches in another order, later", ONCE, edited(Cached, "train", ORDER, f"{ORDER}[:: 1 - 2 * (epoch > 2)]")),
        ("that of the second epoch", ONCE, edited(Images, "order", 'rng("order", 0)', 'rng("order", 1)')),
    ],
    "alternating_flip": [
        ("does nothing", TURNING, method(AlternatingFlip, "__call__", lambda self, x, rng: x)),
        ("by coins", TURNING, edited(AlternatingFlip, "__call__", f"{COINS}[places]", "rng.random(len(x))")),
        (
            "never the other way, at each epoch",
            TURNING,
            edited(AlternatingFlip, "__call__", "epoch % 2", "0 * epoch % 2"),
        ),
        ("all at once", TURNING, edited(AlternatingFlip, "__call__", "[places] < 0.5", "[places] < 2")),
        (
            "by the place in the batch",
            TURNING,
            edited(
                AlternatingFlip,
                "__call__",
                "[places]",
                "[: len(x)]",
                "int(places.max()) + 1",
                "int(places.max()) + len(x)",
            ),
        ),
        ("upside down", TURNING, edited(AlternatingFlip, "__call__", "x.flip(3)", "x.flip(2)")),
        ("off after the first epoch", TURNING, augmenting_when("run.epoch == 0")),
    ],
}


def kind(name: str) -> str:
    """Of `KINDS`."""
    if name == "does nothing":
        return "0"
    return "A" if "later" in name or "epoch" in name else "B"


BY_KIND = {
    each: {part: [m for m in mutants if kind(m[0]) == each] for part, mutants in BROKEN.items()} for each in "0AB"
}
