"""Batch norm's statistics of an average, worked out anew: one pass of each renewal, drawn, is done once more."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from harness.evidence.numbers import Named, array, copies, distance, of_statistics
from harness.evidence.replay import Replay, emulated, precisely
from harness.evidence.served import served
from harness.evidence.step import Gaps
from harness.spec import Spec


class Renewal:
    """Watches the passes of one renewal, after the training of `epoch`."""

    def __init__(self, spec: Spec, replay: Replay, epoch: int) -> None:
        self.spec, self.replay, self.epoch = spec, replay, epoch
        batches = sum(min(part.renewing(epoch, spec.epochs), replay.trace.steps_per_epoch) for part in spec.average)
        self.due = batches * spec.passes
        self.drawn = int(replay.trace.rng("audit", "renewed", epoch).integers(self.due)) if self.due else -1
        self.passes = 0
        self.asleep = 0  # modules that were not in training mode
        self.seen: tuple[Named, Tensor] | None = None
        self.left: Named | None = None

    def before(self, model: nn.Module, x: Tensor) -> None:
        self.asleep += sum(not module.training for module in model.modules())
        if self.passes == self.drawn:
            self.seen = copies(model), x.detach().clone()

    def after(self, model: nn.Module) -> None:
        if self.passes == self.drawn:
            self.left = copies(model)
        self.passes += 1

    def judged(self) -> Gaps:
        """How many passes were too many or too few; how far the drawn one's images and what it left are from those due.

        k passes before it have 1 - 1/(k + 1) of the statistics, and it has the rest.
        """
        gaps = {"passes": float(abs(self.passes - self.due)), "asleep": float(self.asleep)}
        if self.seen is None or self.left is None:
            return gaps | {"images": math.inf, "statistics": math.inf}
        (weights, x), trace, spec = self.seen, self.replay.trace, self.spec
        batch, place = divmod(self.drawn, spec.passes)
        size = spec.microbatch or spec.batch_size
        images = self.replay.images
        made = served(spec, trace.task, images, trace.classes, trace.rng, self.epoch, batch).x
        gaps["images"] = distance(array(x), made[place * size : (place + 1) * size])
        norms = {name: m for name, m in trace.model.named_modules() if hasattr(m, "running_mean")}
        stats = {f"{name}.{kind}": name for name in norms for kind in ("running_mean", "running_var")}
        fresh = {n: torch.zeros_like(t) if n in stats else t.clone() for n, t in weights.items()}
        told = spec.model.told((self.epoch + 1) * trace.steps_per_epoch - 1, trace.steps_per_epoch * spec.epochs)
        torch.manual_seed(int(trace.rng("torch", "renewed", self.epoch, self.drawn).integers(2**63)))
        with torch.no_grad(), precisely(self.replay):
            self.replay.network(fresh | told, (x,), True, emulated(self.replay))
        renewed, wanted, moved = dict[str, np.ndarray](), dict[str, np.ndarray](), 0
        for name, tensor in self.left.items():
            was, now = array(weights[name]), array(tensor)
            if name in stats:
                own = array(fresh[name]) / (norms[stats[name]].momentum or math.nan)
                renewed[name], wanted[name] = now, was + (own - was) / (self.drawn + 1) if self.drawn else own
            elif tensor.is_floating_point():
                moved += not np.array_equal(was, now, equal_nan=True)
        return gaps | {"statistics": of_statistics(renewed, wanted), "moved": float(moved)}
