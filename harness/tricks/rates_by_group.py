"""Learning rates by group of parameters (Krizhevsky et al. 2012, by way of Caffe's `lr_mult`; Page 2018)."""

from collections.abc import Iterable

from pydantic import Field
from torch import nn

from harness.evidence import Check, Trace
from harness.parts.grouping import shares_check
from harness.spec import Rates, Spec, declares


class GroupRates(Rates):
    """The rate of each parameter times the factor of its group. Slot: `rates`, neutral absent.

    Groups: weights of convolutions; weights of linear layers, a ResNet's head; biases of both; γ and β of norms, and
    whatever else there is. With `betas` the β of norms are a group of their own.
    """

    conv: float = Field(1.0, gt=0)
    linear: float = Field(1.0, gt=0)
    biases: float = Field(1.0, gt=0)
    norms: float = Field(1.0, gt=0)
    betas: float | None = Field(None, gt=0)

    def factor(self, name: str, layer: nn.Module) -> float:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if name.endswith("bias"):
                return self.biases
            return self.conv if isinstance(layer, nn.Conv2d) else self.linear
        return self.betas if self.betas and name.endswith("bias") else self.norms

    def reference(self, name: str, layer: nn.Module) -> float:
        """By the layer's name and the parameter's, as Caffe's files say it, layer by layer."""
        by_kind = {"Conv2d": (self.conv, self.biases), "Linear": (self.linear, self.biases)}
        kinds = [kind.__name__ for kind in type(layer).__mro__]  # timm's convolutions are kinds of torch's
        others = self.norms, self.norms if self.betas is None else self.betas
        weight, bias = next((by_kind[kind] for kind in kinds if kind in by_kind), others)
        return bias if name.rpartition(".")[2] == "bias" else weight

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield shares_check(self, spec, trace)


@declares("rates")
def rates_by_group(spec: Spec, conv: float = 1.0, linear: float = 1.0, biases: float = 2.0, norms: float = 1.0) -> Spec:
    """rates by group: biases of convolutions and linear layers learn at twice the rate.

    Hurts: at rates near the largest that is stable: biases diverge first.

    Cost: none.
    """
    held = spec.rates if isinstance(spec.rates, GroupRates) else GroupRates()
    return spec.but(rates=held.but(conv=conv, linear=linear, biases=biases, norms=norms))
