"""DropBlock: in training squares of feature maps are left out (Ghiasi et al. 2018, "DropBlock: A regularization…")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.drop_block", "model.drop_block_size")
def dropblock(spec: Spec, rate: float = 0.1, size: int | None = None) -> Spec:
    """DropBlock: in training squares of 7 px are left out of the last two stages.

    Slot: `model.drop_block`, neutral absent. The rate rises from 0 to `rate` over the training, and is a quarter of
    that in the last stage but one, as in the authors' program. `size` is the side of a square, 7 where it is None, for
    maps of 14 and 7 px; of smaller maps all is left out at once. Its evidence is the model's: what the live network is
    made of, and audits by a second writing of its forward with the same draws at the rate due. Raises Problem where the
    model is no ResNet of ours.

    Hurts: in short runs: the paper has 270 epochs; at large rates without the rise.

    Cost: a random number and a max-pool of each map of the last two stages.
    """
    return with_fields(spec, "dropblock", drop_block=rate, drop_block_size=size)
