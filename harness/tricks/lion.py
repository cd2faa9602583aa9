"""Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms")."""

from harness.parts.optimizers import Lion, replaced
from harness.spec import Spec, declares


@declares("optimizer")
def lion(spec: Spec, lr: float = 3e-4) -> Spec:
    """Lion: each weight moves by the rate, up or down as an average of gradient and momentum says.

    Slot: `optimizer`; its evidence is that of the part. Weight decay is decoupled. Raises Problem where another trick's
    optimizer is there.

    Hurts: at AdamW's rate and decay: it wants a third to a tenth of the one, and as much more of the other. At batches
    below 64 (the paper's section 5).

    Cost: none; half the state of Adam.
    """
    return replaced(spec, Lion(lr=lr))
