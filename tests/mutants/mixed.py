"""What is pasted over images, and between them: CutMix, one mixer of several, what is erased, drawn operations."""

import sys

from torch import Tensor

from harness.tricks.cutmix import Box, CutMix, cutmix, cutmix_batch
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.one_of import OneOf, one_of
from tests.mutants.breaking import LONG, Broken, Inject, edited, method, text

PASTED, EITHER = cutmix(LONG), one_of(LONG)
STACKED = cutmix(mixup(LONG, epochs=1))
MIXED = "x, y = mix(x, y, draw)"
Pair = tuple[Tensor, Tensor]


def pasting(name: str) -> Inject:
    """Another `cutmix_batch`, by name."""

    def batch(x: Tensor, y: Tensor, box: Box, perm: Tensor) -> Pair:
        (mixed_x, mixed_y), (top, left, bottom, right) = cutmix_batch(x, y, box, perm), box
        if name == "images alone":
            return mixed_x, y
        if name == "targets alone":
            return x, mixed_y
        if name == "target from another partner":
            return mixed_x, cutmix_batch(x, y, box, perm.roll(1))[1]
        if name == "not the last column of the box":
            mixed_x[:, :, top:bottom, max(left, right - 1) : right] = x[:, :, top:bottom, max(left, right - 1) : right]
        if name == "the second half of the batch left out":
            mixed_x[len(x) // 2 :], mixed_y[len(x) // 2 :] = x[len(x) // 2 :], y[len(x) // 2 :]
        if name == "the complement of the box":
            return x[perm] + x - mixed_x, mixed_y
        return mixed_x, mixed_y

    return method(sys.modules[CutMix.__module__], "cutmix_batch", batch)


BROKEN: Broken = {
    "cutmix": [
        ("does nothing", PASTED, method(CutMix, "__call__", lambda self, x, y, rng: (x, y))),
        *(
            (name, PASTED, pasting(name))
            for name in (
                "images alone",
                "targets alone",
                "target from another partner",
                "not the last column of the box",
                "the second half of the batch left out",
                "the complement of the box",
            )
        ),
        ("a larger box", PASTED, edited(CutMix, "__call__", "0.5 * math.sqrt", "0.7 * math.sqrt")),
        ("a box of λ of the area", PASTED, edited(CutMix, "__call__", "1 - rng.beta", "rng.beta")),
        ("never at the border", PASTED, edited(CutMix, "__call__", "rng.integers(height)", "height // 2")),
        (
            "another law of λ",
            PASTED,
            edited(CutMix, "__call__", "rng.beta(self.alpha, self.alpha)", "rng.beta(0.2, 0.2)"),
        ),
        ("off after the first epoch", PASTED, text(MIXED, "x, y = mix(x, y, draw) if run.epoch == 0 else (x, y)")),
        ("at every second step, later", PASTED, text(MIXED, "x, y = (x, y) if run.batch % 2 else mix(x, y, draw)")),
        ("beside mixup it does nothing", STACKED, method(CutMix, "__call__", lambda self, x, y, rng: (x, y))),
        ("beside it mixup does nothing", STACKED, method(Mixup, "__call__", lambda self, x, y, rng: (x, y))),
        ("before mixup", STACKED, text("drawing(spec.mix,", "drawing(spec.mix[::-1],")),
    ],
    "one_of": [
        ("does nothing", EITHER, method(OneOf, "__call__", lambda self, x, y, rng: (x, y))),
        ("always the first", EITHER, edited(OneOf, "__call__", "self.parts[chosen]", "self.parts[0]")),
        ("always the last", EITHER, edited(OneOf, "__call__", "self.parts[chosen]", "self.parts[-1]")),
        ("the other one", EITHER, edited(OneOf, "__call__", "self.parts[chosen]", "self.parts[1 - chosen]")),
        ("the first as a rule", EITHER, edited(OneOf, "__call__", "rng.random()", "rng.random() / 1.6")),
        (
            "both",
            EITHER,
            edited(OneOf, "__call__", "(x, y, rng) if", "(*self.parts[1 - chosen](x, y, rng), rng) if"),
        ),
        ("one draw an epoch", EITHER, text(MIXED, 'x, y = mix(x, y, rng("mix", "OneOf", run.epoch, 0))')),
        ("off after the first epoch", EITHER, text(MIXED, "x, y = mix(x, y, draw) if run.epoch == 0 else (x, y)")),
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
