"""Linear probe (Alain and Bengio 2016; Kornblith et al. 2019): the head alone is trained."""

from harness.parts.depth import by_depth
from harness.spec import Spec, declares


@declares("rates")
def linear_probe(spec: Spec) -> Spec:
    """linear probe: all but the last layer stay as they began.

    Slot: `rates`, neutral absent. Images go through in training mode, augmented, and batch norms go by each batch: it
    is no logistic regression on fixed features.

    Hurts: accuracy, as a rule, beside training all layers; it measures what features are worth.

    Cost: less time and memory a step.
    """
    rates = by_depth(spec)
    return spec.but(rates=rates.but(frozen_groups=len(rates.groups) - 1))
