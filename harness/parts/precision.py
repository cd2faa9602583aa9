"""Numerical precision: how forward and step run on a device."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness import Problem
from harness.evidence import Check, Trace, as_due, held_by, rounded
from harness.spec import Precision, Spec


class Runner:
    """Runs forward, backward and step in float32. Other precisions override what they do otherwise.

    TF32 is off on CUDA, whatever ran before in the process: else what others leave to float32 would be in TF32.
    """

    name = "FP32"
    emulated = False

    def __init__(self) -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

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


class Round(torch.autograd.Function):
    """Rounds a float32 tensor to what the float of that name can hold, and its gradient likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: str) -> Tensor:
        ctx.kind = kind
        return rounded(x, kind)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return rounded(grad, ctx.kind), None


class Emulated(TorchFunctionMode):
    """Within it, conv and linear layers round weight and output, and their gradients, to the float of that name.

    That is what a tensor core stores; it accumulates in float32, and so does this. Native floats of 16 bits are some
    ten times slower than float32 on many CPUs.
    """

    layers = (nn.functional.conv2d, nn.functional.linear)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self.layers:
            return func(*args, **(kwargs or {}))
        x, weight, *rest = args
        out = func(x, Round.apply(weight, self.kind), *rest, **(kwargs or {}))
        return Round.apply(out, self.kind)


class Narrow(Runner):
    """Autocast to a float of 16 bits on CUDA, emulated elsewhere; float32 master weights on both."""

    kind: str  # that float's name

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.emulated = device.type != "cuda"

    def forward(self) -> AbstractContextManager[Any]:
        return Emulated(self.kind) if self.emulated else torch.autocast("cuda", getattr(torch, self.kind))


def narrowed(spec: Spec, precision: Precision) -> Spec:
    """`spec` with that precision. Raises Problem where another is there that is not float32."""
    name, there = type(precision).__name__, spec.precision
    if there.kind in ("float16", "bfloat16", "tf32") and type(there) is not type(precision):
        raise Problem(
            f"{name.lower()}: precision={type(there).__name__} is there already: leave one of the two tricks out, or "
            "have them as branches"
        )
    return spec.but(precision=precision)


def stored(kind: str, trace: Trace) -> Iterable[Check]:
    """That conv and linear layers stored outputs and gradients as the float of that name, and weights did not."""
    masters = sorted({str(p.dtype).removeprefix("torch.") for p in trace.model.parameters()})
    yield Check("dtype of the master weights", "float32", ", ".join(masters), masters == ["float32"])
    layers = [m.weight for m in trace.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    short = sum(held_by(weight, kind) for weight in layers)
    seen, ok = f"{short} of {len(layers)}", short < len(layers)
    yield Check(f"master weights of conv and linear layers that {kind} holds exactly", "not all", seen, ok)
    for what, kinds in (("outputs", trace.outputs), ("weights' gradients", trace.gradients)):
        exact, total = sum(each == kind for each in kinds.values()), len(kinds)
        what = f"conv and linear {what} of step 1 that {kind} holds exactly"
        yield Check(what, f"{total}", f"{exact}", exact == total > 0)


class FP32(Precision):
    """Float32 throughout, true float32: TF32 is off on CUDA, since the paper's V100 had none. Slot: `precision`.

    At audited steps samples of what layers give, and of their weights' gradients, are worked out again: they are
    products of float32's numbers, and not of these rounded to TF32; and TF32 was not allowed.
    """

    kind = "float32"
    scaled = False

    def on(self, device: torch.device) -> Runner:
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
            yield from multiplied("float32", trace)


def multiplied(kind: str, trace: Trace) -> Iterable[Check]:
    """That audited conv and linear layers multiplied float32's numbers, or, `tf32`, these rounded to it.

    On CUDA TF32 is allowed, and each kernel takes it or not: of a run one product at least must be TF32's. Where none
    is, the device has none.
    """
    native, found, count = trace.auditor.replay.device.type == "cuda", trace.auditor.found, Counter[str]()
    for gaps in found:
        count.update({name: int(gaps.get(name, 0)) for name in ("plain", "coarse", "neither", "allowed", "looked")})
    plain, coarse, neither, allowed, looked = (count[n] for n in ("plain", "coarse", "neither", "allowed", "looked"))
    due = "0" if kind == "float32" else "some" if native else "all"
    seen = f"{coarse} of {plain + coarse + neither}" + f", {neither} of neither these nor those" * (neither > 0)
    ok = all(as_due(kind, gaps, native) for gaps in found) and (kind == "float32" or coarse > 0)
    what = "audited outputs and weights' gradients of layers that are products of numbers rounded to TF32"
    yield Check(what, due, seen, ok or trace.diverged)
    most = looked if native and kind == "tf32" else 0
    yield Check("layers and gradients looked at while CUDA was allowed TF32", f"{most}", f"{allowed}", allowed == most)
