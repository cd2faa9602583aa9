"""The optimizer's parameter groups: what decays how much, at which share of the rate."""

from typing import Any

from torch import nn

from harness.spec import Spec


def groups(spec: Spec, model: nn.Module) -> list[dict[str, Any]]:
    """Those of the slot `decay`, parted where parameters have rates of their own: each such group has its `factor`."""
    made = spec.decay.groups(model)
    if spec.rates is None:
        return made
    layers = dict(model.named_modules())
    factors = {id(p): spec.rates.factor(n, layers[n.rpartition(".")[0]]) for n, p in model.named_parameters()}
    parted: list[dict[str, Any]] = []
    for group in made:
        by_factor: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            by_factor.setdefault(factors[id(parameter)], []).append(parameter)
        parted += [{**group, "params": own, "factor": factor} for factor, own in by_factor.items()]
    return parted


def set_rate(optimizer: Any, rate: float) -> None:
    """The learning rate of every group, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"] if "factor" in group else rate
