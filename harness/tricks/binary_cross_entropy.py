"""Binary cross-entropy: each class by itself (Beyer et al. 2020; Wightman et al. 2021, "ResNet strikes back")."""

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.spec import Loss, Spec, declares


class BinaryCrossEntropy(Loss):
    """-y·log σ(z) - (1 - y)·log(1 - σ(z)), the mean over images and classes. Slot: `loss`, neutral absent.

    As timm has it: the mean, so its gradient is K times smaller than that of the sum, and wants another rate.
    """

    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(z, y)

    def reference(self, y: np.ndarray, z: np.ndarray) -> tuple[float, np.ndarray]:
        """log(1 + exp(z)) - y·z, and its gradient σ(z) - y, over N·K."""
        value = np.logaddexp(0, z) - y * z
        return float(value.mean()), (1 / (1 + np.exp(-z)) - y) / z.size

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        audits = trace.auditor.found if trace.auditor else []
        off = max((gaps["loss"] for gaps in audits if "loss" in gaps), default=0.0)
        yield Check("loss of audited steps, from log(1 + exp(z)) - y·z: gap", "0", f"{off:.1g}", off < 1e-4)


@declares("loss")
def binary_cross_entropy(spec: Spec) -> Spec:
    """binary cross-entropy: each class is told from all else by itself."""
    return spec.but(loss=BinaryCrossEntropy())
