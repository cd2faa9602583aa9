"""SAM: sharpness-aware minimisation (Foret et al. 2021, "Sharpness-Aware Minimization…", Algorithm 1)."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.spec import Ascent, Spec, declares

TINY = 1e-12  # added to the norm, as the authors do: where the gradient is zero the weights stay


def sam_offsets(gradients: list[Tensor], rho: float) -> list[Tensor]:
    """ρ·g/‖g‖, the norm over all tensors together: where the loss is greatest within ρ, to first order."""
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    return list(torch._foreach_mul(gradients, rho / (norm + TINY)))


@contextmanager
def paused_statistics(model: nn.Module) -> Iterator[None]:
    """Within it batch norm goes by its batch as ever, and its running mean and variance stay as they are."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


class SharpnessAware(Ascent):
    """The gradient that the optimizer steps by is taken at w + ρ·g/‖g‖. Slot: `ascent`, neutral absent.

    Any optimizer, schedule and precision: a loss scale falls out of g/‖g‖. A step takes two gradients, so twice the
    time. The second pass sees the same batch under the same dropout, and does not count in batch norm's running
    statistics, as in the authors' program. The weights come back bit for bit. The published ρ is 0.05; weight decay is
    not part of what is climbed, which in their program it is.
    """

    rho: float = Field(0.05, gt=0)

    @contextmanager
    @torch.no_grad()
    def away(self, model: nn.Module) -> Iterator[None]:
        moved: list[Tensor] = [p for p in model.parameters() if p.grad is not None]
        before = [p.clone() for p in moved]
        offsets = sam_offsets([p.grad for p in moved if p.grad is not None], self.rho)
        torch._foreach_add_(moved, offsets)
        model.zero_grad(set_to_none=True)
        with paused_statistics(model):
            yield
        torch._foreach_copy_(moved, before)

    def reference(self, gradients: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """ε̂(w) = ρ·∇L(w)/‖∇L(w)‖₂ over all weights (Foret et al. 2021, Eq. 2 at p = 2)."""
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
        return {name: self.rho / (norm + TINY) * g for name, g in gradients.items()}

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        n = len(trace.aways)
        seen = [(length, cosine) for length, cosine, *_ in trace.aways if length == length]  # not of FP16's overflows
        off = max((abs(length / self.rho - 1) for length, _ in seen), default=1.0)
        least = min((cosine for _, cosine in seen), default=0.0)
        what = f"of the first {n} steps, those with a second gradient at other weights"
        yield Check(what, "some", f"{len(seen)}", bool(seen) or trace.diverged)
        if seen:
            what = f"how far the weights went, in units of ρ = {self.rho:g}: largest gap from 1"
            yield Check(what, "0", f"{off:.1g}", off < 1e-2)
            yield Check("cosine of that way to the gradient, at least", "1", f"{least:.5f}", least > 0.999)
        left, amiss = (sum(away[place] for away in trace.aways) for place in (2, 3))
        yield Check("weights, and statistics of batch norm, that did not come back", "0", f"{left}", left == 0)
        yield Check("gradients that are not those taken there alone", "0", f"{amiss}", amiss == 0)


@declares("ascent")
def sam(spec: Spec, rho: float = 0.05) -> Spec:
    """SAM: each step by the gradient at the worst weights within ρ = 0.05.

    Hurts: where images are few and steps are dear: at equal time a longer run may be the better one.

    Cost: two gradients a step: twice the time.
    """
    return spec.having("ascent", SharpnessAware(rho=rho))
