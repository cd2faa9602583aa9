"""Adaptive gradient clipping (Brock et al. 2021, "High-Performance Large-Scale Image Recognition…")."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from harness.evidence import Check, Trace
from harness.spec import Clip, Spec, declares

TINY = 1e-6  # of a gradient's norm, which is divided by


class AdaptiveClip(Clip):
    """The gradient of each unit is no longer than `most` of its weights. Slot: `clip`, neutral absent.

    A unit is all that leads to one output of a layer; a bias, or a γ, is one by itself, all its numbers. Weights count
    for `least` at the least, so that what is 0 can move. As in the source the last layer is left out, unless `head`.
    """

    weighs: ClassVar[bool] = True
    most: float = Field(0.01, gt=0)
    least: float = Field(1e-3, gt=0)
    head: bool = False

    def __call__(self, parameters: Sequence[nn.Parameter]) -> None:
        last = max((i for i, p in enumerate(parameters) if p.ndim > 1), default=len(parameters))
        for parameter in parameters if self.head else parameters[:last]:
            if parameter.grad is None:
                continue
            weight, gradient = parameter.detach(), parameter.grad.detach()
            each = tuple(range(1, weight.ndim)) or (0,)
            longest = torch.linalg.vector_norm(weight, dim=each, keepdim=True).clamp(min=self.least) * self.most
            norm = torch.linalg.vector_norm(gradient, dim=each, keepdim=True)
            shorter = gradient * (longest / norm.clamp(min=TINY))
            gradient.copy_(torch.where(norm < longest, gradient, shorter))

    def reference(self, gradients: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Equation 3, a unit at a time: λ·max(‖W‖, ε)/‖G‖·G where ‖G‖/max(‖W‖, ε) is more than λ."""
        made = {}
        matrices = [name for name, w in weights.items() if w.ndim > 1]
        head = matrices[-1].rpartition(".")[0] if matrices and not self.head else None
        for name, gradient in gradients.items():
            made[name] = gradient.copy()
            if name.rpartition(".")[0] == head:
                continue
            units = [np.s_[:]] if gradient.ndim == 1 else list(range(len(gradient)))
            for unit in units:
                long = float(np.sqrt(np.sum(gradient[unit] ** 2)))
                size = max(float(np.sqrt(np.sum(weights[name][unit] ** 2))), self.least)
                if long / size > self.most:
                    made[name][unit] = self.most * size / max(long, TINY) * gradient[unit]
        return made

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        if trace.auditor:
            taken = [gaps for gaps in trace.auditor.found if not gaps.get("overflowed")]
            found = [gaps for gaps in taken if "clipped" in gaps]
            what = "audited steps whose gradients were held against their clipped values"
            yield Check(what, f"{len(taken)}", f"{len(found)}", len(found) == len(taken))
            cut = sum(gaps["cut"] for gaps in found)
            fine = cut > 0 or trace.diverged or not taken
            yield Check("numbers of gradients that they made smaller", "some", f"{cut:,.0f}", fine)


@declares("clip")
def adaptive_clipping(spec: Spec, most: float = 0.01) -> Spec:
    """adaptive clipping: the gradient of a unit is no longer than 1 % of its weights.

    Hurts: where `most` is too small for the rate: then all units move alike, however steep the loss is for them.

    Cost: two norms of each unit a step.
    """
    return spec.alone("clip", AdaptiveClip(most=most))
