"""No bias decay: weight decay on conv and linear weights alone (He et al. 2019, section 3.1; Jia et al. 2018)."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from harness.evidence import Check, Trace
from harness.parts.decay import decayed_names
from harness.spec import Decay, Spec, declares


class DecayWeights(Decay):
    """`weight` on the weights of conv and linear layers; biases *and* normalisation's γ and β are exempt.

    Slot: `decay`. A reader would expect "no bias" to spare biases only; the paper spares γ and β too.
    """

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        taken = {id(p) for p in weights}
        others = [p for p in model.parameters() if id(p) not in taken]
        return [{"params": weights, "weight_decay": self.weight}, {"params": others, "weight_decay": 0.0}]

    def reference(self, name: str, layer: nn.Module) -> float:
        return self.weight if name.endswith("weight") and layer.__class__.__name__ in ("Conv2d", "Linear") else 0.0

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        layers = {n for n, m in trace.model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        wanted = {f"{layer}.weight" for layer in layers}
        decayed, at_all = decayed_names(trace, self.weight)
        what, seen = f"conv and linear weights decayed by {self.weight:g}", wanted & decayed
        yield Check(what, f"{len(wanted)}", f"{len(seen)}", seen == wanted)
        yield Check("biases, γ and β decayed", "0", f"{len(at_all - wanted)}", not at_all - wanted)


@declares("decay")
def no_bias_decay(spec: Spec) -> Spec:
    """no bias decay: biases, γ and β are spared the weight decay.

    Hurts: not known; where `decay.weight` is 0 it does nothing.

    Cost: none.
    """
    return spec.but(decay=DecayWeights(weight=spec.decay.weight))
