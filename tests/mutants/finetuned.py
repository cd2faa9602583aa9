"""Rates by depth, what is frozen, and what a file gives: layers at another share, or that begin elsewhere."""

import tempfile
from pathlib import Path

import torch

from harness.parts.depth import LayerRates
from harness.parts.init import Xavier
from harness.parts.pretrained import Pretrained
from harness.spec import File
from harness.tricks.freeze import freeze
from harness.tricks.layerwise_rates import layerwise_rates
from harness.tricks.linear_probe import linear_probe
from tests.mutants.breaking import BEFORE, LONG, STEP, Broken, both, edited, method, text

SHARED, FROZEN, PROBED = layerwise_rates(LONG), freeze(LONG), linear_probe(LONG)
FOLDER = tempfile.TemporaryDirectory(prefix="harness-weights-")
LOADED = LONG.but(init=(Xavier(), Pretrained(file=File(path=Path(FOLDER.name, "weights.pt")))))
COPY = "live[name].copy_(tensor)"
ASK = "if spec.frozen(name):"
DRIFT = "[p.data.mul_(0.999) for n, p in run.model.named_parameters() if n.startswith('stem')]"
AWAKE = both(
    method(LayerRates, "frozen", lambda self, name: False),
    edited(LayerRates, "factor", "if self.frozen(name):", "if False:"),
)

BROKEN: Broken = {
    "layerwise_rates": [
        ("does nothing", SHARED, method(LayerRates, "factor", lambda self, name, layer: 1.0)),
        ("one group too many", SHARED, edited(LayerRates, "factor", "len(self.groups) - 1", "len(self.groups)")),
        ("from the head down", SHARED, edited(LayerRates, "factor", "len(self.groups) - 1 - ", "")),
        (
            "in the first epoch alone",
            SHARED,
            text(
                "set_rate(run.optimizer, peak",
                "[g.update(factor=1.0) for g in run.optimizer.param_groups if run.epoch]; set_rate(run.optimizer, peak",
            ),
        ),
        (
            "a block by its gradient, which is doubled",
            SHARED,
            text(BEFORE, f"run.model.get_parameter('stage1.0.body.0.weight').grad.mul_(2); {BEFORE}"),
        ),
    ],
    "freeze": [
        ("does nothing", FROZEN, AWAKE),
        ("one group fewer", FROZEN, edited(LayerRates, "frozen", "self.place(name)", "1 + self.place(name)")),
        ("norms are left awake", FROZEN, text(ASK, "if spec.frozen(name) and model.get_parameter(name).ndim > 1:")),
        ("weights drift, though none asks for a gradient", FROZEN, text(STEP, f"{STEP}; {DRIFT}")),
        ("weights drift from the second epoch on", FROZEN, text(STEP, f"{STEP}; run.epoch and {DRIFT}")),
    ],
    "linear_probe": [
        ("does nothing", PROBED, AWAKE),
        ("the head's bias too", PROBED, edited(LayerRates, "frozen", "return ", "return name == 'fc.bias' or ")),
        ("the last stage learns", PROBED, edited(LayerRates, "frozen", "self.place(name)", "1 + self.place(name)")),
        ("gradients are asked for, and not gone by", PROBED, text(ASK, "if False:")),
        (
            "a stage begins elsewhere in the second epoch",
            PROBED,
            text(BEFORE, f"{BEFORE}; run.epoch == 1 and run.batch == 0 and {DRIFT}"),
        ),
    ],
}
FILES: Broken = {
    "Pretrained": [
        ("does nothing", LOADED, method(Pretrained, "__call__", lambda self, model, rng: None)),
        ("statistics stay as they were", LOADED, edited(Pretrained, "__call__", COPY, f"'running' in name or {COPY}")),
        ("the head is taken too", LOADED, edited(Pretrained, "_spared", "self.head == ", "False and ")),
        ("rounded through float16", LOADED, edited(Pretrained, "__call__", COPY, "live[name].copy_(tensor.half())")),
        ("one layer is left out", LOADED, edited(Pretrained, "__call__", COPY, f"name == 'stem.0.weight' or {COPY}")),
    ]
}


def weights() -> None:
    """What LOADED begins with."""
    torch.manual_seed(1)
    net = LONG.model.build(1, 10)
    torch.save(
        {n: t * 1.1 if t.is_floating_point() else t for n, t in net.state_dict().items()}, LOADED.init[1].file.path
    )  # type: ignore[attr-defined]


weights()


def kind(name: str) -> str:
    """Of `KINDS`."""
    if name == "does nothing":
        return "0"
    return "A" if "epoch" in name else "D" if "drift" in name or "gradient" in name else "B"


BY_KIND = {
    each: {part: [m for m in mutants if kind(m[0]) == each] for part, mutants in (BROKEN | FILES).items()}
    for each in "0ABD"
}
