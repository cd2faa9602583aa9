"""Stochastic depth: in training whole blocks are left out (Huang et al. 2016, "Deep networks with…")."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.drop_path")
def stochastic_depth(spec: Spec, rate: float = 0.1) -> Spec:
    """stochastic depth: in training each block is left out for some images, the last with chance .1.

    Slot: `model.drop_path`, neutral absent. From 0 at the first block the chance rises evenly to `rate` at the last,
    and what is kept is divided by what is left on average, as timm and torchvision have it. Its evidence is the
    model's: what the live network is made of, and audits by a second writing of its forward with the same draws. Raises
    Problem where the model is no ResNet of ours.

    Hurts: in short runs and small networks: "ResNet strikes back" leaves it out of its 100 epochs.

    Cost: less than nothing in principle; here blocks that are left out are computed all the same.
    """
    return with_fields(spec, "stochastic_depth", drop_path=rate)
