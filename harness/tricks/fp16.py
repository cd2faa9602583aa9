"""FP16: mixed-precision training (He et al. 2019, section 3.2; Micikevicius et al. 2018)."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from harness.evidence import Check, Trace
from harness.parts.precision import Narrow, narrowed, stored
from harness.spec import Precision, Spec, declares

INITIAL_SCALE = 65536.0


class HalfRunner(Narrow):
    """Float16 with a scaled loss."""

    name, kind = "FP16", "float16"

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.scaler = torch.amp.GradScaler(device.type, init_scale=INITIAL_SCALE)
        self.steps = 0

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)
        self.steps += 1

    def state(self) -> dict[str, Any]:
        return {"scaler": self.scaler.state_dict(), "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        self.scaler.load_state_dict(state["scaler"])
        self.steps = state["steps"]


class FP16(Precision):
    """Slot: `precision`. The first steps may be skipped while the loss scale, 65,536 at first, finds its size."""

    kind = "float16"

    def on(self, device: torch.device) -> HalfRunner:
        return HalfRunner(device)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        yield from stored("float16", trace)
        if trace.auditor and trace.auditor.found:
            first = trace.auditor.found[0].get("scale", math.nan)
            what = "loss scale that the gradients of step 1 carried"
            yield Check(what, "65536", f"{first:.5g}", first == 2**16)
            plain = sum(gaps["unrounded"] > 0 or gaps.get("scale", 2) <= 1 for gaps in trace.auditor.found)
            what = "audited steps with an output that float16 cannot hold, or a loss that was not scaled"
            yield Check(what, "0", f"{plain}", plain == 0 or trace.diverged)
        scaled = getattr(trace.runner, "steps", 0)
        yield Check("steps through the loss scaler", f"{len(trace.lr)}", f"{scaled}", scaled == len(trace.lr))
        scaler = getattr(trace.runner, "scaler", None)
        last = scaler.get_scale() if scaler else 1.0
        if not trace.diverged:  # else it may have halved without end
            yield Check("loss scale at the end", "> 1", f"{last:g}", last > 1)
        kept = scaler.state_dict() if scaler else {}  # none of a scaler that is switched off
        moved = last != INITIAL_SCALE or kept["_growth_tracker"] > 0 or scaled > kept["growth_interval"]  # and halved
        yield Check("loss scaler updated", "yes", "yes" if kept and moved else "no", bool(kept and moved))


@declares("precision")
def fp16(spec: Spec) -> Spec:
    """FP16: activations and gradients in half precision, a scaled loss, float32 master weights.

    Hurts: on CPUs it is emulated: the accuracy is that of half precision, and each step is slower.

    Cost: on CUDA less time and memory; on CPUs more time.
    """
    return narrowed(spec, FP16())
