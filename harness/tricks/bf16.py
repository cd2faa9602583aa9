"""BF16: mixed-precision training in bfloat16 (Kalamkar et al. 2019; what torch.amp's autocast does by that name)."""

from collections.abc import Iterable

import torch

from harness.evidence import Check, Trace
from harness.parts.precision import Narrow, narrowed, stored
from harness.spec import Precision, Spec, declares


class BrainRunner(Narrow):
    """Bfloat16, whose range is float32's: the loss is not scaled."""

    name, kind = "BF16", "bfloat16"


class BF16(Precision):
    """Slot: `precision`. Eight bits of mantissa, where float16 has eleven; no step is skipped."""

    kind = "bfloat16"
    scaled = False

    def on(self, device: torch.device) -> BrainRunner:
        return BrainRunner(device)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield from stored("bfloat16", trace)
        if trace.auditor and trace.auditor.found:
            plain = sum(gaps["unrounded"] > 0 for gaps in trace.auditor.found)
            what = "audited steps with an output that bfloat16 cannot hold"
            yield Check(what, "0", f"{plain}", plain == 0 or trace.diverged)


@declares("precision")
def bf16(spec: Spec) -> Spec:
    """BF16: activations and gradients in bfloat16, float32 master weights, no loss scale.

    Hurts: eight bits round small differences away; a network that learns in FP16 may learn a little less. On CPUs it is
    emulated: the accuracy is that of bfloat16, and each step is slower.

    Cost: on CUDA less time and memory, as FP16; on CPUs more time.
    """
    return narrowed(spec, BF16())
