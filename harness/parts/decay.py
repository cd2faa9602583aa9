"""Weight decay."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from harness.evidence import Check, Trace
from harness.spec import Decay, Spec


class DecayAll(Decay):
    """`weight` on every parameter, biases and normalisation's γ and β included. The paper's baseline: 1e-4."""

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return [{"params": list(model.parameters()), "weight_decay": self.weight}]

    def reference(self, name: str, layer: nn.Module) -> float:
        return self.weight

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        decayed, _ = decayed_names(trace, self.weight)
        every = sum(1 for _ in trace.model.parameters())
        yield Check(f"parameters decayed by {self.weight:g}", f"{every}", f"{len(decayed)}", len(decayed) == every)


def decayed_names(trace: Trace, weight: float) -> tuple[set[str], set[str]]:
    """Names of the parameters that the live optimizer decays by `weight`, and of those it decays at all."""
    names = {id(p): name for name, p in trace.model.named_parameters()}
    rates = {names[id(p)]: group["weight_decay"] for group in trace.optimizer.param_groups for p in group["params"]}
    return {name for name, rate in rates.items() if rate == weight}, {name for name, rate in rates.items() if rate}
