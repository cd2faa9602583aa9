"""Freezing the first layers (Yosinski et al. 2014, who copied and froze the first n)."""

from harness.parts.depth import by_depth
from harness.spec import Spec, declares


@declares("rates")
def freeze(spec: Spec, groups: int = 2) -> Spec:
    """freezing: the first `groups` of layers stay as they began: of a ResNet the stem and stage 1.

    Slot: `rates`, neutral absent. Their batch norms' running statistics go on.

    Hurts: a network that was not pretrained: the first layers stay random.

    Cost: less time and memory a step.
    """
    rates = by_depth(spec)
    return spec.but(rates=rates.but(frozen_groups=max(groups, rates.frozen_groups)))
