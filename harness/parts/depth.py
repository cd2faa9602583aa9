"""Learning rates by depth: groups of a network's layers, from the images on, of which the first may stay frozen."""

from collections.abc import Iterable
from functools import cache

import torch
from pydantic import Field
from torch import nn

from harness import Problem
from harness.evidence import Check, Trace
from harness.parts.grouping import shares_check
from harness.parts.models.base import begun
from harness.spec import Model, Rates, Spec


class LayerRates(Rates):
    """The rate times `decay` for each group between a layer and the head; the first `frozen` groups learn nothing.

    Slot: `rates`, neutral absent. `groups` are the beginnings of parameters' names, from the images to the head, as
    `groups_of` finds them; a parameter under none of them counts to the first. What is frozen asks for no gradient;
    its batch norms still go by each batch, and their running statistics go on, as in all training here: the features
    of a linear probe move with them.
    """

    groups: tuple[str, ...] = Field(min_length=2)
    decay: float = Field(1.0, gt=0, le=1)
    frozen_groups: int = Field(0, ge=0)

    def place(self, name: str) -> int:
        """The number of the group of a parameter, from 0."""
        return next((i for i, group in enumerate(self.groups) if f"{name}.".startswith(f"{group}.")), 0)

    def frozen(self, name: str) -> bool:
        return self.place(name) < self.frozen_groups

    def factor(self, name: str, layer: nn.Module) -> float:
        if self.frozen(name):
            return 0.0
        return float(self.decay ** (len(self.groups) - 1 - self.place(name)))

    def reference(self, name: str, layer: nn.Module) -> float:
        """Group by group, from the head down."""
        rate, words = 1.0, name.split(".")
        for left, group in reversed(list(enumerate(self.groups))):
            own = group.split(".")
            if words[: len(own)] == own or left == 0:
                return rate if left >= self.frozen_groups else 0.0
            rate *= self.decay
        return rate

    def check(self, spec: Spec) -> None:
        if self.frozen_groups >= len(self.groups):
            raise ValueError(f"rates.frozen_groups={self.frozen_groups}: of {len(self.groups)} groups one must learn")
        if (due := groups_of(spec)) != self.groups:
            raise ValueError(f"rates.groups are of another network: here they are {', '.join(due)}")

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield shares_check(self, spec, trace)
        layers = dict(trace.model.named_modules())
        live = dict(trace.model.named_parameters())
        due = [name for name in live if self.reference(name, layers[name.rpartition(".")[0]]) == 0]
        still = trace.taken[2]
        yield Check("parameters that ask for no gradient", f"{len(due)}", f"{still}", still == len(due))
        if due:
            first = begun(spec, trace)
            moved = sum(name in first and not torch.equal(live[name].detach().cpu(), first[name]) for name in due)
            yield Check("of these, that are not at the end as they began", "0", f"{moved}", moved == 0)


def groups_of(spec: Spec) -> tuple[str, ...]:
    """The groups of a specification's network, in order: its layers with weights, and each block of a row of blocks.

    A ResNet's are stem, stage1, …, fc; of timm's a list of blocks counts block by block. Raises Problem where there is
    but one.
    """
    return _groups(spec.model, spec.data.channels)


@cache  # of a study's rungs many have one network
def _groups(model: Model, channels: int) -> tuple[str, ...]:
    with torch.device("meta"):
        net = model.build(channels, 2)
    found: list[str] = []
    for name, child in net.named_children():
        if not any(True for _ in child.parameters()):
            continue
        rows = name in ("blocks", "layers", "stages", "features") and len(list(child.children())) > 1
        found += [f"{name}.{own}" for own, _ in child.named_children()] if rows else [name]
    if len(found) < 2:
        raise Problem(f"{model!r} has no groups of layers to learn at rates of their own")
    return tuple(found)


def by_depth(spec: Spec) -> LayerRates:
    """The rates by depth that a specification has, else those that change nothing. Raises Problem on other rates."""
    if spec.rates is None:
        return LayerRates(groups=groups_of(spec))
    if not isinstance(spec.rates, LayerRates):
        raise Problem(f"rates={type(spec.rates).__name__} is there already: rates by depth do not go with it")
    return spec.rates
