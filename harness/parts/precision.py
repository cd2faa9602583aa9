"""Numerical precision: how forward and step run on a device."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from harness.evidence import Check, Trace
from harness.spec import Precision, Spec


class Runner:
    """Runs forward, backward and step in float32. Other precisions override what they do otherwise."""

    name = "FP32"
    emulated = False

    def forward(self) -> AbstractContextManager[Any]:
        """A context for the forward pass."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""
        loss.backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Take out of the gradients what the loss was scaled by, before something else than the optimizer uses them."""

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update, and clear the gradients."""
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of it."""
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


class FP32(Precision):
    """Float32 throughout, true float32: TF32 is off on CUDA, since the paper's V100 had none. Slot: `precision`."""

    half = False
    scaled = False

    def on(self, device: torch.device) -> Runner:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        return Runner()

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        for what, kinds in (("outputs", trace.outputs), ("weights' gradients", trace.gradients)):
            half = sum(kind == "float16" for kind in kinds.values())
            seen, ok = f"{half} of {len(kinds)}", half < len(kinds)
            yield Check(f"conv and linear {what} of step 1 that float16 holds exactly", "not all", seen, ok)
        if trace.auditor:
            lost = sum(gaps["unrounded"] == 0 for gaps in trace.auditor.found)
            yield Check(
                "audited steps all of whose outputs float16 holds exactly", "0", f"{lost}", lost == 0 or trace.diverged
            )
