"""ResNet-9, and what Page's rungs make of it, where they do not do what they say."""

from functools import partial

from torch import nn

from experiments import page
from harness.parts.decay import DecayAll
from harness.parts.models import ResNet9
from harness.parts.models.airbench import Times
from harness.parts.models.resnet9 import Added
from harness.spec import stack
from harness.tricks.whitening import Whitening, whitening
from tests.mutants.breaking import LONG, NUMBER, TINY, Broken, edited, method, text

PLAIN = TINY.but(model=ResNet9(widths=(4, 4, 8, 8)))
POOLED, SMOOTH = page.max_pool_moved(PLAIN), page.celu(PLAIN)
FROZEN = page.frozen_scales(SMOOTH.but(decay=TINY.decay.but(weight=0.1)))
PATCHES = PLAIN.but(model=PLAIN.model.but(patch_features=True))
WHITE = whitening(PATCHES, eps=0.01, negatives=False)
BETAS = TINY.but(decay=DecayAll(weight=0.1, betas=0.2))
LAST = stack(LONG.but(model=PLAIN.model), (page.max_pool_moved, page.celu, page.frozen_scales))
THAW = "[p.requires_grad_(True) for n, p in run.model.named_parameters() if n.endswith('norm.weight')]"

LATE = 'not self.early_pool:\n        block.add_module("pool", nn.MaxPool2d(2))'

build, finish, conv = (partial(edited, ResNet9, name) for name in ("build", "_finish", "_conv"))

BROKEN: Broken = {
    "ResNet9": [
        ("does nothing", PLAIN, method(ResNet9, "build", lambda self, *sizes: TINY.model.build(*sizes))),
        ("residuals are not added", PLAIN, method(Added, "forward", nn.Sequential.forward)),
        ("residuals are left out", PLAIN, method(Added, "forward", lambda self, x: x)),
        ("a residual in the second layer", PLAIN, build("(1, 3)", "(2, 3)")),
        ("a mean at the end", PLAIN, build("nn.AdaptiveMaxPool2d(1)", "nn.AdaptiveAvgPool2d(1)")),
        ("logits as they are", PLAIN, edited(Times, "forward", "x * self.scale", "x")),
        ("a bias before norms", PLAIN, conv("bias=False", "bias=True")),
        ("a larger eps", PLAIN, finish("nn.BatchNorm2d(width)", "nn.BatchNorm2d(width, eps=1e-3)")),
        ("the pool is not moved", POOLED, conv("pooled and self.early_pool", "False", "not self.early_pool", "True")),
        ("mean pools", PLAIN, conv(LATE, LATE.replace("Max", "Avg"))),
        ("ReLU", SMOOTH, finish("if self.celu else", "if False else")),
        ("torch's own α", SMOOTH, finish("nn.CELU(self.celu / (self.frozen_scale or 1.0))", "nn.CELU()")),
        ("γ learn", FROZEN, method(ResNet9, "frozen", lambda self, name: False)),
        ("β do not learn", FROZEN, method(ResNet9, "frozen", lambda self, name: ".norm." in name)),
        ("α is not made up for", FROZEN, finish("self.celu / (self.frozen_scale or 1.0)", "self.celu")),
        ("logits are not made up for", FROZEN, build("self.scale * (self.frozen_scale or 1.0)", "self.scale")),
        ("γ learn from the second epoch on", LAST, text(NUMBER, f"{NUMBER}; {THAW} if run.epoch else None")),
        ("no patch features", PATCHES, build("if self.patch_features", "if False")),
        (
            "an activation between",
            WHITE,
            build("self._finish(prep", 'prep.add_module("a", nn.ReLU()); self._finish(prep'),
        ),
    ],
    "decay of β": [
        (
            "does nothing",
            BETAS,
            edited(DecayAll, "groups", '"weight_decay": self.betas', '"weight_decay": self.weight'),
        ),
        ("of γ", BETAS, edited(DecayAll, "groups", '"bias"', '"weight"')),
        ("of all biases", BETAS, edited(DecayAll, "groups", "not isinstance(m, nn.Conv2d | nn.Linear)", "True")),
        (
            "not for all else",
            BETAS,
            edited(DecayAll, "groups", '"weight_decay": self.weight},', '"weight_decay": 0.0},'),
        ),
    ],
    "whitening without negatives": [
        ("does nothing", WHITE, method(Whitening, "__call__", lambda self, model, rng: None)),
        (
            "the other half",
            WHITE,
            edited(Whitening, "__call__", "filters[: len(filters) // 2]", "filters[len(filters) // 2 :]"),
        ),
        ("a few", WHITE, edited(Whitening, "__call__", "filters[: len(filters) // 2]", "filters[: len(filters) // 4]")),
        ("it learns", WHITE, method(Whitening, "frozen", lambda self, name: False)),
    ],
}


def kind(name: str) -> str:
    """Of `KINDS`."""
    if name == "does nothing":
        return "0"
    return "A" if "epoch" in name else "B"


BY_KIND = {
    each: {part: [m for m in mutants if kind(m[0]) == each] for part, mutants in BROKEN.items()} for each in "0AB"
}
