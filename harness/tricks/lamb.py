"""LAMB (You et al. 2020, "Large batch optimization…"; in "ResNet strikes back", Wightman et al. 2021)."""

from harness.parts.optimizers import Lamb, replaced
from harness.spec import Spec, declares


@declares("optimizer")
def lamb(spec: Spec, lr: float = 5e-3) -> Spec:
    """LAMB: Adam whose step of each tensor is as long as the tensor, times the rate.

    Slot: `optimizer`; its evidence is that of the part. The rate is A1's at a batch of 2,048, and is not scaled, but
    where the baseline's is. Raises Problem where another trick's optimizer is there.

    Hurts: at the rate of another optimizer, and at small batches, for which it was not made.

    Cost: two norms of each weight a step, and twice the state of momentum.
    """
    return replaced(spec, Lamb(lr=lr))
