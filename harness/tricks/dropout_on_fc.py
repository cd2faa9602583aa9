"""Dropout before the classifier (Srivastava et al. 2014; in ResNets, ResNet-RS, Bello et al. 2021)."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.dropout")
def dropout_on_fc(spec: Spec, rate: float = 0.25) -> Spec:
    """dropout on FC: in training a quarter of the numbers before the last layer are 0.

    Slot: `model.dropout`, neutral absent. What is kept is divided by what is left on average. Its evidence is the
    model's: what the live network is made of, and audits by a second writing of its forward with the same draws. Raises
    Problem where the model is no ResNet of ours.

    Hurts: beside other regularisation at a weight decay that was tuned without: in ResNet-RS's Table 1 it takes .3.

    Cost: none.
    """
    return with_fields(spec, "dropout_on_fc", dropout=rate)
