"""Optimizers."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from pydantic import Field

from harness.evidence import Check, Trace, carried
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
        reached = abs(peak - wanted) <= 1e-9 * wanted or (trace.diverged and peak < wanted)  # as in a warmup
        yield Check("highest rate used", f"{wanted:.5g}", f"{peak:.5g}", reached)
        groups = {(group["momentum"], group["nesterov"]) for group in trace.optimizer.param_groups}
        expected = (self.momentum, self.momentum > 0)
        yield Check("momentum, and whether Nesterov's", f"{expected}", f"{sorted(groups)}", groups == {expected})
        if trace.moves:
            off, taken = self.gap(spec, trace)
            what = f"first {len(trace.moves)} steps of the last parameter: gap from its unscaled gradients' steps"
            yield Check(what, "0", f"{off:.1g}, {taken} taken", off < 1e-2)

    def gap(self, spec: Spec, trace: Trace) -> tuple[float, int]:
        """How far the last parameter moved from where these steps take it, relative to each; and how many were taken.

        Its gradients carry the loss scale that step 1 showed; a step that overflowed moves nothing, and halves it.
        """
        scale, _ = carried(spec, trace)
        last = list(trace.model.parameters())[-1]
        decays = [g["weight_decay"] for g in trace.optimizer.param_groups if any(p is last for p in g["params"])]
        off, taken, velocity = 0.0, 0, np.zeros(())
        with np.errstate(all="ignore"):  # of a run that diverges the finite numbers are compared
            for lr, move in zip(trace.lr, trace.steps_of_last(), strict=False):
                before, gradient, after = (np.asarray(t.detach().cpu(), dtype=np.float64) for t in move)
                if scale > 1.5 and (before == after).all():
                    scale /= 2
                    continue
                slope = gradient / scale + sum(decays) * before
                velocity = self.momentum * velocity + slope
                step = lr * (slope + self.momentum * velocity)
                gaps = np.abs(before - step - after) - 1e-6 * np.abs(before).max()  # float32 cannot say it any closer
                size = np.abs(step[np.isfinite(step)]).max(initial=1e-30)
                off = max(off, float(gaps[np.isfinite(gaps)].max(initial=0) / size))
                taken += 1
        return off, taken

    def build(self, groups: list[dict[str, Any]], batch_size: int) -> torch.optim.SGD:
        fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
        optimizer = torch.optim.SGD(
            groups, lr=self.rate(batch_size), momentum=self.momentum, nesterov=self.momentum > 0, fused=fused
        )
        if self.momentum > 0:  # else fused SGD fills it with raw memory, and keeps that where step 1 overflows in FP16
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer
