"""What is pasted over images, and between them: CutMix, one mixer of several, what is erased, drawn operations."""

import sys

from torch import Tensor

from harness.parts import batched
from harness.parts.erasing import NONE, Erase
from harness.parts.operations import Operations
from harness.tricks.augmix import AugMix, augmix
from harness.tricks.cutmix import Box, CutMix, cutmix, cutmix_batch
from harness.tricks.cutout import Cutout, cutout
from harness.tricks.mixup import Mixup, mixup
from harness.tricks.one_of import OneOf, one_of
from harness.tricks.randaugment import RandAugment, randaugment
from harness.tricks.random_erasing import RandomErasing, random_erasing
from harness.tricks.trivial_augment import TrivialAugment, trivial_augment
from tests.mutants.breaking import LONG, Broken, Inject, Patch, augmenting_when, edited, method, text

PASTED, EITHER = cutmix(LONG), one_of(LONG)
STACKED = cutmix(mixup(LONG, epochs=1))
TRIVIAL, RAND, CHAINED = trivial_augment(LONG), randaugment(LONG), augmix(LONG)
ERASED, CUT = random_erasing(LONG), cutout(LONG)
BEFORE_OTHERS = LONG.but(augment=(RandomErasing(), *LONG.augment))
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


RIGHT = dict(batched.OPERATIONS)


def operation(name: str, other: batched.Batched) -> Inject:
    """One operation otherwise."""

    def inject(patch: Patch) -> None:
        patch.setitem(batched.OPERATIONS, name, other)

    return inject


def sheared_about_the_middle(x: Tensor, by: Tensor) -> Tensor:
    return RIGHT["TranslateX"](RIGHT["ShearX"](x, by), by * x.shape[2] / 2)


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
        ("a larger box", PASTED, edited(CutMix, "draws", "0.5 * math.sqrt", "0.7 * math.sqrt")),
        ("a box of λ of the area", PASTED, edited(CutMix, "draws", "1 - rng.beta", "rng.beta")),
        ("never at the border", PASTED, edited(CutMix, "draws", "rng.integers(height)", "height // 2")),
        (
            "another law of λ",
            PASTED,
            edited(CutMix, "draws", "rng.beta(self.alpha, self.alpha)", "rng.beta(0.2, 0.2)"),
        ),
        ("off after the first epoch", PASTED, text(MIXED, "x, y = mix(x, y, draw) if run.epoch == 0 else (x, y)")),
        ("at every second step, later", PASTED, text(MIXED, "x, y = (x, y) if run.batch % 2 else mix(x, y, draw)")),
        ("beside mixup it does nothing", STACKED, method(CutMix, "__call__", lambda self, x, y, rng: (x, y))),
        ("beside it mixup does nothing", STACKED, method(Mixup, "__call__", lambda self, x, y, rng: (x, y))),
        ("before mixup", STACKED, text("_: spec.mix,", "_: spec.mix[::-1],")),
    ],
    "random_erasing": [
        ("does nothing", ERASED, method(RandomErasing, "hole", lambda self, h, w, rng: NONE)),
        ("of every image", ERASED, edited(RandomErasing, "hole", ">= self.p", ">= 1")),
        (
            "larger rectangles",
            ERASED,
            edited(RandomErasing, "hole", "rng.uniform(*self.scale)", "rng.uniform(0.1, 0.6)"),
        ),
        ("always square", ERASED, edited(RandomErasing, "hole", "area * ratio", "area", "area / ratio", "area")),
        ("wide where it should be tall", ERASED, edited(RandomErasing, "hole", "h, w = round", "w, h = round")),
        ("never at the bottom", ERASED, edited(RandomErasing, "hole", "height - h + 1", "max(1, height - h)")),
        (
            "ratios not log-uniform",
            ERASED,
            edited(
                RandomErasing,
                "hole",
                "math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))",
                "rng.uniform(*self.ratio)",
            ),
        ),
        ("white", ERASED, edited(Erase, "__call__", "value.to(x.dtype)", "x.new_tensor([255.0])")),
        (
            "one hole a batch",
            ERASED,
            edited(
                Erase,
                "draws",
                "[self.hole(height, width, rng) for _ in range(n)]",
                "[self.hole(height, width, rng)] * n",
            ),
        ),
        ("a column less", ERASED, edited(Erase, "__call__", "(column < right)", "(column < right - 1)")),
        ("before the shift", ERASED, text("spec.augment, rng", "spec.augment[::-1], rng")),
        (
            "before the shift it does nothing",
            BEFORE_OTHERS,
            method(RandomErasing, "hole", lambda self, h, w, rng: NONE),
        ),
        ("off after the first epoch", ERASED, augmenting_when("epoch == 0")),
    ],
    "cutout": [
        ("does nothing", CUT, method(Cutout, "hole", lambda self, h, w, rng: NONE)),
        ("a pixel larger", CUT, edited(Cutout, "hole", "// 2", "// 2 + 1")),
        (
            "never at the edge",
            CUT,
            edited(Cutout, "hole", "int(rng.integers(height))", "half + int(rng.integers(height - 2 * half + 1))"),
        ),
        (
            "the centre for the corner",
            CUT,
            edited(Cutout, "hole", "max(row - half, 0), max(column - half, 0)", "row, column"),
        ),
        (
            "images with one draw",
            CUT,
            edited(
                Erase,
                "draws",
                "[self.hole(height, width, rng) for _ in range(n)]",
                "[self.hole(height, width, rng)] * n",
            ),
        ),
        ("all but the square", CUT, edited(Erase, "__call__", "torch.where(inside", "torch.where(~inside")),
        ("off after the first epoch", CUT, augmenting_when("epoch == 0")),
    ],
    "trivial_augment": [
        ("does nothing", TRIVIAL, method(TrivialAugment, "drawn", lambda self, h, w, rng: [])),
        ("an operation is never drawn", TRIVIAL, edited(TrivialAugment, "drawn", "len(MOST))", "len(MOST) - 1)")),
        ("to one side alone", TRIVIAL, edited(TrivialAugment, "drawn", "<= 0.5", "<= 2")),
        (
            "the greatest strength",
            TRIVIAL,
            edited(TrivialAugment, "drawn", "place = rng", "place = self.bins - 1 - 0 * rng"),
        ),
        ("one draw a batch", TRIVIAL, edited(Operations, "together", "rng)", "np.random.default_rng(0))")),
        ("brightness squared", TRIVIAL, operation("Brightness", lambda x, m: RIGHT["Brightness"](x, (1 + m) ** 2 - 1))),
        ("turned clockwise", TRIVIAL, operation("Rotate", lambda x, m: RIGHT["Rotate"](x, -m))),
        (
            "shear by the tangent of a tangent",
            TRIVIAL,
            operation("ShearX", lambda x, m: RIGHT["ShearX"](x, m.tan())),
        ),
        (
            "sheared about the middle",
            TRIVIAL,
            operation("ShearX", sheared_about_the_middle),
        ),
        (
            "equalised twice, stretched never",
            TRIVIAL,
            operation("AutoContrast", RIGHT["Equalize"]),
        ),
        ("off after the first epoch", TRIVIAL, augmenting_when("epoch == 0")),
    ],
    "randaugment": [
        ("does nothing", RAND, method(RandAugment, "drawn", lambda self, h, w, rng: [])),
        ("one operation", RAND, edited(RandAugment, "drawn", "range(self.operations)", "range(1)")),
        (
            "the same one twice",
            RAND,
            edited(
                RandAugment,
                "drawn",
                "[self._operation(height, width, rng) for _ in range(self.operations)]",
                "[self._operation(height, width, rng)] * self.operations",
            ),
        ),
        (
            "a magnitude further",
            RAND,
            edited(RandAugment, "_operation", "[self.magnitude] * (", "[self.magnitude + 1] * ("),
        ),
        (
            "moved too far",
            RAND,
            edited(RandAugment, "_operation", ".get(name, 1.0)", ".get(name, 1.0) ** 2"),
        ),
        (
            "solarised the other way",
            RAND,
            edited(RandAugment, "_operation", "steps(1.0, 0.0, self.bins)", "steps(0.0, 1.0, self.bins)"),
        ),
        ("off after the first epoch", RAND, augmenting_when("epoch == 0")),
    ],
    "augmix": [
        ("does nothing", CHAINED, method(AugMix, "together", lambda self, x, rng: x)),
        (
            "the chains alone",
            CHAINED,
            edited(AugMix, "mixture", "float(own)", "0.0", "rest * share", "share"),
        ),
        ("all chains alike", CHAINED, edited(AugMix, "mixture", "rest * share", "rest / self.chains")),
        (
            "each chain goes on from the last",
            CHAINED,
            edited(AugMix, "together", "carried_out(x,", "(x := carried_out(x,", "drawn)", "drawn))"),
        ),
        ("cut off, not rounded", CHAINED, edited(AugMix, "together", "mixed.round()", "mixed")),
        (
            "chains of two",
            CHAINED,
            edited(AugMix, "drawn", "int(rng.integers(1, 4))", "2 + 0 * int(rng.integers(1, 4))"),
        ),
        ("the paper's operations alone", CHAINED, edited(AugMix, "_operation", "self.all_operations", "False")),
        (
            "the greatest severity",
            CHAINED,
            edited(AugMix, "_operation", "rng.integers(self.severity)", "rng.integers(10)"),
        ),
        ("to one side alone", CHAINED, edited(AugMix, "_operation", "<= 0.5", "<= 2")),
        ("one draw a batch", CHAINED, edited(AugMix, "together", "rng) for", "np.random.default_rng(0)) for")),
        ("off after the first epoch", CHAINED, augmenting_when("epoch == 0")),
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
