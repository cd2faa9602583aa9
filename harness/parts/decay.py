"""Weight decay."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field
from torch import nn

from harness.evidence import Check, Trace
from harness.spec import Decay, Spec


class DecayAll(Decay):
    """`weight` on every parameter, biases and normalisation's γ and β included. The paper's baseline: 1e-4.

    With `betas`, neutral absent, that much on the β of norms.
    """

    betas: float | None = Field(None, ge=0)

    def check(self, spec: Spec) -> None:
        if self.betas == self.weight:
            raise ValueError(f"decay.betas={self.betas:g} is decay.weight: leave it out")

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        every = list(model.parameters())
        if self.betas is None:
            return [{"params": every, "weight_decay": self.weight}]
        others = [m for m in model.modules() if not isinstance(m, nn.Conv2d | nn.Linear)]
        own = {id(p) for m in others for name, p in m.named_parameters(recurse=False) if name == "bias"}
        return [
            {"params": [p for p in every if id(p) not in own], "weight_decay": self.weight},
            {"params": [p for p in every if id(p) in own], "weight_decay": self.betas},
        ]

    def reference(self, name: str, layer: nn.Module) -> float:
        if self.betas is None or name.rpartition(".")[2] != "bias":
            return self.weight
        kinds = {kind.__name__ for kind in type(layer).__mro__}  # timm's convolutions are kinds of torch's
        return self.weight if kinds & {"Conv2d", "Linear"} else self.betas

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        layers = dict(trace.model.named_modules())
        due = {n: self.reference(n, layers[n.rpartition(".")[0]]) for n, _ in trace.model.named_parameters()}
        for weight in (self.weight,) if self.betas is None else (self.weight, self.betas):
            decayed, _ = decayed_names(trace, weight)
            wanted = {name for name, each in due.items() if each == weight}
            yield Check(f"parameters decayed by {weight:g}", f"{len(wanted)}", f"{len(decayed)}", decayed == wanted)


def decayed_names(trace: Trace, weight: float) -> tuple[set[str], set[str]]:
    """Names of the parameters that the live optimizer decays by `weight`, and of those it decays at all."""
    names = {id(p): name for name, p in trace.model.named_parameters()}
    rates = {names[id(p)]: group["weight_decay"] for group in trace.optimizer.param_groups for p in group["params"]}
    return {name for name, rate in rates.items() if rate == weight}, {name for name, rate in rates.items() if rate}
