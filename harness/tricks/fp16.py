"""FP16: mixed-precision training (He et al. 2019, section 3.2; Micikevicius et al. 2018)."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.evidence import Check, Trace, held_by_half
from harness.parts.precision import Runner
from harness.spec import Precision, Spec, declares

INITIAL_SCALE = 65536.0


class RoundHalf(torch.autograd.Function):
    """Rounds a float32 tensor to what float16 can hold, and its gradient likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.half().float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.half().float()


def round_half(x: Tensor) -> Tensor:
    rounded: Tensor = RoundHalf.apply(x)
    return rounded


class EmulatedHalf(TorchFunctionMode):
    """Within it, conv and linear layers round weight and output, and their gradients, through float16.

    That is what a tensor core stores; it accumulates in float32, and so does this. Native half on a CPU is some ten
    times slower than float32.
    """

    layers = (nn.functional.conv2d, nn.functional.linear)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self.layers:
            return func(*args, **(kwargs or {}))
        x, weight, *rest = args
        return round_half(func(x, round_half(weight), *rest, **(kwargs or {})))


class HalfRunner(Runner):
    """Autocast to float16 on CUDA, emulated float16 elsewhere; a scaled loss and float32 master weights on both."""

    name = "FP16"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.emulated = device.type != "cuda"
        self.scaler = torch.amp.GradScaler(device.type, init_scale=INITIAL_SCALE)
        self.steps = 0

    def forward(self) -> AbstractContextManager[Any]:
        return EmulatedHalf() if self.emulated else torch.autocast("cuda", torch.float16)

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

    half = True

    def on(self, device: torch.device) -> HalfRunner:
        return HalfRunner(device)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        masters = sorted({str(p.dtype).removeprefix("torch.") for p in trace.model.parameters()})
        yield Check("dtype of the master weights", "float32", ", ".join(masters), masters == ["float32"])
        layers = [m.weight for m in trace.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        rounded = sum(held_by_half(weight) for weight in layers)
        seen, ok = f"{rounded} of {len(layers)}", rounded < len(layers)
        yield Check("master weights of conv and linear layers that float16 holds exactly", "not all", seen, ok)
        for what, kinds in (("outputs", trace.outputs), ("weights' gradients", trace.gradients)):
            half, total = sum(kind == "float16" for kind in kinds.values()), len(kinds)
            what = f"conv and linear {what} of step 1 that float16 holds exactly"
            yield Check(what, f"{total}", f"{half}", half == total > 0)
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
    return spec.but(precision=FP16())
