"""AdamP: Adam whose steps do not lengthen scale-invariant weights (Heo et al. 2021, "AdamP: Slowing Down…")."""

from harness import Problem
from harness.parts.optimizers import AdamP, Moments
from harness.spec import Spec, declares


@declares("optimizer")
def adamp(spec: Spec) -> Spec:
    """AdamP: steps lose their part along weights that batch norm makes scale-invariant.

    Slot: `optimizer`, which keeps its rate, betas and ε; its evidence is that of the part. Weight decay is decoupled,
    so on a baseline of Adam with `decay.weight` above 0, which is L2 there, that changes too: on AdamW it does not.
    Raises Problem where the optimizer is neither.

    Hurts: where no batch norm follows the weights it does nothing, and on Adam with L2 decay it changes the decay
    too.

    Cost: a dot product and two norms of each weight a step; no more passes.
    """
    if not isinstance(spec.optimizer, Moments):
        raise Problem(
            f"adamp: {type(spec.optimizer).__name__} is no Adam, give the baseline optimizer=Adam() or AdamW()"
        )
    return spec.but(optimizer=AdamP(**dict(spec.optimizer)))
