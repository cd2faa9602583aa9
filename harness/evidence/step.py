"""What the live objects showed at one step, and how far it was from what was due."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from harness.evidence.numbers import Named

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
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    handed: bool = True  # weights and the optimizer's state came as the step before left them
    decays: dict[str, float] = field(default_factory=dict)  # of each parameter, as the optimizer has them
    taught: list[float] = field(default_factory=list)  # `weighed` of each teacher
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # the optimizer's state of each, before
    clipped: Named = field(default_factory=dict)  # the gradients after clipping, without a loss scale
    averaged: list[Named] = field(default_factory=list)  # the averages before it
    averages: list[Named] = field(default_factory=list)  # and after
    after: Named | None = None
    left: dict[str, dict[str, Any]] = field(default_factory=dict)  # its state after
