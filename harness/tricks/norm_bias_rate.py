"""A rate of their own for the β of norms (Page 2018; Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds")."""

from harness.spec import Spec, declares
from harness.tricks.rates_by_group import GroupRates


@declares("rates")
def norm_bias_rate(spec: Spec, factor: float = 64.0) -> Spec:
    """64 × rate on β: the biases of norms learn 64 times as fast as all else.

    Slot: `rates`, neutral absent. Its evidence is the part's: the share of the rate at which each parameter learns.
    Where β have weight decay it is 64 times as strong too, as with any rate; airbench divides it by the factor.

    Hurts: at large rates, and in long runs: β jump about.

    Cost: none.
    """
    held = spec.rates if isinstance(spec.rates, GroupRates) else GroupRates()
    return spec.but(rates=held.but(betas=factor))
