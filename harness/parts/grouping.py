"""The optimizer's parameter groups: what decays how much, at which share of the rate."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field
from torch import nn

from harness.evidence import Check, Trace
from harness.spec import Rates, Spec


def groups(spec: Spec, model: nn.Module) -> list[dict[str, Any]]:
    """Those of the slot `decay`, parted where parameters have rates of their own: each such group has its `factor`.

    And where some go by another rule of the optimizer's: such a group names it, its `rule`.
    """
    made, rules = spec.decay.groups(model), spec.optimizer.rules(model)
    if spec.rates is None and not rules:
        return made
    layers = dict(model.named_modules())
    kinds: dict[int, tuple[float, str]] = {}
    for name, parameter in model.named_parameters():
        factor = 1.0 if spec.rates is None else spec.rates.factor(name, layers[name.rpartition(".")[0]])
        if name in rules:
            factor *= rules[name].rate(spec.batch_size) / spec.optimizer.rate(spec.batch_size)
        kinds[id(parameter)] = factor, type(rules[name]).__name__ if name in rules else ""
    parted: list[dict[str, Any]] = []
    for group in made:
        by_kind: dict[tuple[float, str], list[nn.Parameter]] = {}
        for parameter in group["params"]:
            by_kind.setdefault(kinds[id(parameter)], []).append(parameter)
        for (factor, rule), own in by_kind.items():
            parted.append({**group, "params": own, "factor": factor, **({"rule": rule} if rule else {})})
    return parted


def set_rate(optimizer: Any, rate: float) -> None:
    """The learning rate of every group, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"] if "factor" in group else rate


def shares_check(part: Any, spec: Spec, trace: Trace) -> Check:
    """Whether each parameter learns at the share of the rate that the `reference` of `part` says.

    Where it goes by another rule of the optimizer's, the share is of that one's rate.
    """
    layers, rules = dict(trace.model.named_modules()), spec.optimizer.rules_again(trace.model)
    names = {id(p): name for name, p in trace.model.named_parameters()}
    amiss, seen = 0, set[float]()
    for group in trace.optimizer.param_groups:
        for name in (names[id(p)] for p in group["params"]):
            factor = group["lr"] / trace.lr[-1] if trace.lr[-1] else group.get("factor", 1.0)
            if name in rules:
                factor *= spec.optimizer.rate(spec.batch_size) / rules[name].rate(spec.batch_size)
            seen.add(round(factor, 6))
            due = part.reference(name, layers[name.rpartition(".")[0]])
            amiss += abs(factor - due) > 1e-6 * due
    told = ", ".join(f"{factor:g}" for factor in sorted(seen))
    what = f"parameters at another share of the rate than their group's, of shares {told}"
    return Check(what, "0", f"{amiss}", amiss == 0)


class HeadRates(Rates):
    """The rate of a backbone's weights times `backbone`, of all others times `heads`. Slot: `rates`, neutral absent.

    10 for the heads is `lr_mult` of gluon-cv's FCN; below 1 for the backbone is fine-tuning.
    """

    backbone: float = Field(1.0, gt=0)
    heads: float = Field(10.0, gt=0)

    def factor(self, name: str, layer: nn.Module) -> float:
        return self.backbone if name.startswith(("base.", "roi.box_head.stage")) else self.heads

    def reference(self, name: str, layer: nn.Module) -> float:
        """By the first of its names: `base`, or the stage within the head on regions."""
        own, *rest = name.split(".")
        within = own == "base" or (own == "roi" and any(part.startswith("stage") for part in rest))
        return self.backbone if within else self.heads

    def check(self, spec: Spec) -> None:
        if not hasattr(spec.model, "backbone"):
            raise ValueError("rates=HeadRates is of networks on a backbone: take rates_by_group")

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield shares_check(self, spec, trace)
