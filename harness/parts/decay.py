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

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        decayed, exempt = decayed_names(trace)
        every = len(decayed) + len(exempt)
        expected = every if self.weight else 0
        yield Check("parameters decayed", f"{expected}", f"{len(decayed)} of {every}", len(decayed) == expected)


def decayed_names(trace: Trace) -> tuple[set[str], set[str]]:
    """Names of the parameters that the live optimizer decays, and of those it does not."""
    assert trace.model is not None
    assert trace.optimizer is not None
    names = {id(p): name for name, p in trace.model.named_parameters()}
    decayed, exempt = set[str](), set[str]()
    for group in trace.optimizer.param_groups:
        (decayed if group["weight_decay"] > 0 else exempt).update(names[id(p)] for p in group["params"])
    return decayed, exempt
