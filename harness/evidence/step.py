"""What the live objects showed at one step, and how far it was from what was due."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from harness.evidence.numbers import Named, on_cpu, same, told
from harness.ranks import Alone

Gaps = dict[str, float]


@dataclass
class Step:
    """What the live objects showed at one step."""

    number: int
    weights: Named  # before it, with the buffers
    asleep: int  # modules that were not in training mode
    frozen: int  # parameters that ask for no gradient
    inputs: list[Tensor] = field(default_factory=list)  # of each pass
    logits: list[Tensor] = field(default_factory=list)
    slopes: list[Tensor] = field(default_factory=list)  # by the logits
    loss: float = 0.0
    labels: Tensor | None = None
    fed: Tensor | None = None  # the targets, mixed
    aways: list[Named] = field(default_factory=list)  # where the weights were for each further gradient
    unrounded: int = 0  # outputs of conv and linear layers that float16 cannot hold
    outputs: int = 0
    products: Counter[str] = field(default_factory=Counter)  # of which numbers, as `Products` counts them
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    handed: bool = True  # weights and the optimizer's state came as the step before left them
    decays: dict[str, float] = field(default_factory=dict)  # of each parameter, as the optimizer has them
    taught: list[float] = field(default_factory=list)  # `weighed` of each teacher
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # the optimizer's state of each, before
    clipped: Named = field(default_factory=dict)  # the gradients after clipping, without a loss scale
    averaged: list[Named] = field(default_factory=list)  # the averages before it
    averages: list[Named] = field(default_factory=list)  # and after
    returned: Named = field(default_factory=dict)  # what training goes on from, after averages
    after: Named | None = None
    left: dict[str, dict[str, Any]] = field(default_factory=dict)  # its state after
    apart: int = 0  # ranks whose weights, gradients or teachers were others, or whose passes were more or fewer


ROWS = ("inputs", "logits", "slopes")  # by pass, of a rank's share


def whole(step: Step, ranks: Alone) -> Step:
    """A step as all ranks had it: of each pass the share of each, in order; what else they saw, together."""
    if ranks.size == 1:
        return step
    assert step.after is not None
    moved = [step.weights, {n: g for n, g in step.gradients.items() if g is not None}, step.after, *step.aways]
    sums = [*(told(list(tensors.values())) for tensors in moved), *step.taught]
    counts = step.asleep, step.frozen, step.unrounded, step.outputs, not step.handed
    rows_told = [[on_cpu(x) for x in getattr(step, name)] for name in ROWS]
    every = ranks.told((rows_told, counts, sums, dict(step.products)))
    device = next(iter(step.weights.values()), torch.zeros(())).device
    rows: dict[str, Any] = {
        name: [x.to(device) for shares in zip(*(of[0][place] for of in every), strict=False) for x in shares]
        for place, name in enumerate(ROWS)
    }
    passes = [[len(shares) for shares in of[0]] for of in every]
    alike = [
        passes[0] == n and len(sums) == len(of[2]) and all(map(same, of[2], sums))
        for n, of in zip(passes, every, strict=True)
    ]
    asleep, frozen, unrounded, outputs, lost = (sum(each) for each in zip(*(of[1] for of in every), strict=True))
    return replace(
        step,
        **rows,
        asleep=asleep,
        frozen=frozen,
        unrounded=unrounded,
        outputs=outputs,
        products=sum((Counter(of[3]) for of in every), Counter[str]()),
        handed=not lost,
        apart=alike.count(False),
    )
