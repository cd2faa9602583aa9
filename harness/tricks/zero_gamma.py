"""Zero γ: residual blocks start as the identity (He et al. 2019, section 3.1; Goyal et al. 2017)."""

from collections.abc import Iterable

import torch
from torch import nn

from harness.evidence import Check, Trace
from harness.parts.models import Residual
from harness.rng import Stream
from harness.spec import Init, Spec, declares


def last_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The batch norm at the end of each residual block, by name; not those inside it, nor the shortcut's."""
    ends = {id(module.last_norm) for module in model.modules() if isinstance(module, Residual)}
    return {name: m for name, m in model.named_modules() if id(m) in ends and isinstance(m, nn.BatchNorm2d)}


class ZeroGamma(Init):
    """γ = 0 in the last batch norm of every residual block. Slot: `init`, after the weights; neutral: absent."""

    @torch.no_grad()
    def __call__(self, model: nn.Module, rng: Stream) -> None:
        for norm in last_norms(model).values():
            norm.weight.zero_()

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        last = set()
        for name, block in trace.model.named_modules():
            if isinstance(block, Residual):
                last.add(
                    [f"{name}.body.{n}" for n, m in block.body.named_modules() if isinstance(m, nn.BatchNorm2d)][-1]
                )
        zero = {name for name, (low, high) in trace.first_gammas.items() if low == high == 0}
        yield Check(
            "last batch norms with γ = 0 before step 1",
            f"{len(last)}",
            f"{len(last & zero)}",
            last <= zero and bool(last),
        )
        yield Check("other batch norms with γ = 0", "0", f"{len(zero - last)}", not zero - last)


@declares("init")
def zero_gamma(spec: Spec) -> Spec:
    """zero γ: each residual block's last batch norm starts at γ = 0, so the block starts as the identity."""
    return spec.having("init", ZeroGamma())
