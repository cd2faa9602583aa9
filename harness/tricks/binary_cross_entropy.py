"""Binary cross-entropy: each class by itself (Beyer et al. 2020; Wightman et al. 2021, "ResNet strikes back")."""

import math
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.spec import Loss, Spec, declares


class BinaryCrossEntropy(Loss):
    """-y·log σ(z) - (1 - y)·log(1 - σ(z)), the mean over images and classes. Slot: `loss`, neutral absent.

    As timm has it: the mean, so its gradient is K times smaller than that of the sum, and wants another rate.
    """

    truth: ClassVar[str] = "class"

    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(z, y)

    def reference(self, y: np.ndarray, z: np.ndarray) -> tuple[float, np.ndarray]:
        """log(1 + exp(z)) - y·z, and its gradient σ(z) - y, over N·K."""
        value = np.logaddexp(0, z) - y * z
        return float(value.mean()), (1 / (1 + np.exp(-z)) - y) / z.size

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        if spec.teacher:
            return  # the loss is a sum then, which audits tell
        off = 0.0
        for (z, loss), (*_, y) in zip(trace.answered, trace.fed, strict=False):
            likely, unlikely = (nn.functional.logsigmoid(sign * z.double()) for sign in (1, -1))
            gap = abs(float(loss / -(y * likely + (1 - y) * unlikely).mean()) - 1)
            off = max(off, gap if gap == gap else math.inf)
        what = f"loss of the first {len(trace.answered)} steps, from the logits and targets: gap"
        yield Check(what, "0", f"{off:.1g}", off < 1e-4 or trace.diverged)


@declares("loss")
def binary_cross_entropy(spec: Spec) -> Spec:
    """binary cross-entropy: each class is told from all else by itself.

    Hurts: at the rate that suits cross-entropy: its gradient is K times smaller, and training is slow.

    Cost: none.
    """
    return spec.but(loss=BinaryCrossEntropy())
