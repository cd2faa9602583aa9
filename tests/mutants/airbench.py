"""airbench's network and what its layers begin as, where they do not do what they say."""

from functools import partial

from harness.parts.models import Airbench, airbench
from harness.tricks import dirac as dirac_room
from harness.tricks import whitening as whitening_room
from harness.tricks.dirac import Dirac, dirac
from harness.tricks.whitening import Whitening, whitening
from tests.mutants.breaking import LONG, NUMBER, TINY, Broken, edited, method, text

AIR = TINY.but(model=Airbench(widths=(8, 8)))
WHITE = AIR.but(init=(*AIR.init, Whitening(layer="first", images=300)))
SAME, STEM = dirac(AIR.but(model=Airbench(widths=(8, 12)))), dirac(TINY)
LONGER = whitening(LONG.but(model=AIR.model))
LEARN = "[p.requires_grad_(True) for n, p in run.model.named_parameters() if n == 'first.weight']"

filters = partial(edited, whitening_room, "whitening_filters")
identity, chosen = partial(edited, dirac_room, "identity_"), partial(edited, dirac_room, "partial_identities")

BROKEN: Broken = {
    "whitening": [
        ("does nothing", WHITE, method(Whitening, "__call__", lambda self, model, rng: None)),
        ("it learns", WHITE, method(Whitening, "frozen", lambda self, name: False)),
        ("without eps", WHITE, filters("(values + eps)", "values")),
        ("not over the root", WHITE, filters("(values + eps).sqrt()", "(values + eps)")),
        ("twice for their negatives", WHITE, filters("-rows]", "rows]")),
        ("the smallest first", WHITE, filters(".flip(0)", "")),
        ("eigenvectors the other way", WHITE, filters(".T.flip(0)", ".flip(0)")),
        ("of images as they are stored", WHITE, edited(Whitening, "__call__", "- mean) / std", "- 0 * mean) / 1")),
        ("of test images", WHITE, edited(Whitening, "__call__", '"train")', '"test")')),
        ("of the first images", WHITE, edited(whitening_room, "places", "* count // number", "")),
        ("of other images", WHITE, edited(Whitening, "__call__", "self.images)", "self.images // 2)")),
        (
            "rows for columns",
            WHITE,
            edited(Whitening, "__call__", "*weight.shape[1:])", "*weight.shape[1:]).transpose(2, 3)"),
        ),
        ("another layer is frozen", WHITE, method(Whitening, "frozen", lambda self, name: name == "fc.weight")),
        ("it learns from the second epoch on", LONGER, text(NUMBER, f"{NUMBER}; {LEARN} if run.epoch else None")),
    ],
    "dirac": [
        ("does nothing", SAME, method(Dirac, "__call__", lambda self, model, rng: None)),
        ("beside what was drawn", SAME, identity("weight[:channels] = 0", "weight[:channels] *= 1")),
        ("nothing but the identity", STEM, identity("weight[:channels] = 0", "weight[:] = 0")),
        ("in a corner", SAME, identity("high // 2, wide // 2", "0, 0")),
        ("a half", SAME, identity("wide // 2] = 1", "wide // 2] = 0.5")),
        ("channels in another order", SAME, identity("places, places", "places, places.flip(0)")),
        ("the first convolution too", STEM, chosen("every[1:]", "every")),
        ("one is left out", SAME, chosen("every[1:]", "every[2:]")),
        ("of squares alone", SAME, chosen("_channels >= layer", "_channels == layer")),
    ],
}
NETWORK: Broken = {
    "Airbench": [
        ("does nothing", AIR, method(Airbench, "build", lambda self, *sizes: TINY.model.build(*sizes))),
        ("ReLU", AIR, edited(Airbench, "_block", "nn.GELU()", "nn.ReLU()")),
        ("an approximate GELU", AIR, edited(Airbench, "_block", "nn.GELU()", 'nn.GELU(approximate="tanh")')),
        ("mean pools", AIR, edited(Airbench, "_block", "nn.MaxPool2d(2)", "nn.AvgPool2d(2)")),
        ("a mean at the end", AIR, edited(Airbench, "build", "nn.AdaptiveMaxPool2d(1)", "nn.AdaptiveAvgPool2d(1)")),
        ("logits as they are", AIR, edited(airbench.Times, "forward", "x * self.scale", "x")),
        ("statistics the other way round", AIR, edited(Airbench, "_block", "1 - self.momentum", "self.momentum")),
        ("a larger eps", AIR, edited(Airbench, "_block", "eps=EPS", "eps=1e-3")),
        ("γ learn", AIR, method(Airbench, "frozen", lambda self, name: False)),
        ("β do not learn", AIR, method(Airbench, "frozen", lambda self, name: ".norm" in name)),
    ],
}


def kind(name: str) -> str:
    """Of `KINDS`."""
    if name == "does nothing":
        return "0"
    return "A" if "epoch" in name else "B"


BY_KIND = {
    each: {part: [m for m in mutants if kind(m[0]) == each] for part, mutants in (BROKEN | NETWORK).items()}
    for each in "0AB"
}
