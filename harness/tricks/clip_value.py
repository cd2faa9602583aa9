"""Gradient clipping by value (Mikolov 2012, "Statistical Language Models Based on Neural Networks")."""

from harness.parts.clipping import ClipValue
from harness.spec import Spec, declares


@declares("clip")
def clip_value(spec: Spec, most: float = 5.0) -> Spec:
    """clipping by value: no number of a gradient is beyond ± 5.

    Hurts: where `most` is small: the step then has another direction than the gradient.

    Cost: one pass over the gradients a step.
    """
    return spec.alone("clip", ClipValue(most=most))
