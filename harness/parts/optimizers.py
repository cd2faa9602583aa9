"""Optimizers."""

from collections.abc import Iterable
from typing import Any

import torch
from pydantic import Field

from harness.evidence import Check, Trace
from harness.spec import Optimizer, Spec


class NAG(Optimizer):
    """SGD with Nesterov momentum (He et al. 2019, section 2.1). Slot: `optimizer`.

    `lr` is the learning rate at a batch of `per` images, scaled linearly to the batch in use: 0.1 · b / 256.
    `per=None` takes `lr` as it is.
    """

    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    per: int | None = Field(256, ge=1)

    def rate(self, batch_size: int) -> float:
        return self.lr if self.per is None else self.lr * batch_size / self.per

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        wanted = self.lr * spec.batch_size / self.per if self.per else self.lr
        peak = max(trace.lr)
        yield Check("highest rate used", f"{wanted:.5g}", f"{peak:.5g}", abs(peak - wanted) <= 1e-9 * wanted)
        groups = {(group["momentum"], group["nesterov"]) for group in trace.optimizer.param_groups}
        expected = (self.momentum, self.momentum > 0)
        yield Check("momentum, and whether Nesterov's", f"{expected}", f"{sorted(groups)}", groups == {expected})

    def build(self, groups: list[dict[str, Any]], batch_size: int) -> torch.optim.SGD:
        fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
        optimizer = torch.optim.SGD(
            groups, lr=self.rate(batch_size), momentum=self.momentum, nesterov=self.momentum > 0, fused=fused
        )
        if self.momentum > 0:  # else fused SGD fills it with raw memory, and keeps that where step 1 overflows in FP16
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer
