"""TF32: conv and linear layers multiply numbers of eleven bits, in float32's range (NVIDIA A100 whitepaper, 2020)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.evidence import Check, Trace
from harness.parts.precision import Runner, multiplied, narrowed
from harness.spec import Precision, Spec, declares


def tf32_rounded(x: Tensor) -> Tensor:
    """Float32 numbers rounded to ten bits after the first, ties away from 0, as CUDA's `cvt.rna.tf32` does; float32."""
    bits = x.view(torch.int32)
    return torch.where(x.isfinite(), ((bits + 0x1000) & ~0x1FFF).view(torch.float32), x)


class Given(torch.autograd.Function):
    """Rounds what a layer gets; the gradient of that is a product, and stays float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return tf32_rounded(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class Slope(torch.autograd.Function):
    """Rounds the gradient that comes to a layer, of which its own two are products; what it gives stays float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()  # a view could not be changed in place, as ReLU may

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return tf32_rounded(grad)


class Emulated(TorchFunctionMode):
    """Within it, conv and linear layers multiply rounded numbers, forward and backward; sums and biases are float32."""

    layers = (nn.functional.conv2d, nn.functional.linear)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self.layers:
            return func(*args, **(kwargs or {}))
        x, weight, *rest = args
        options = dict(kwargs or {})
        bias = rest.pop(0) if rest else options.pop("bias", None)
        out = Slope.apply(func(Given.apply(x), Given.apply(weight), None, *rest, **options))
        if bias is None:
            return out
        return out + (bias.view(-1, 1, 1) if func is nn.functional.conv2d else bias)


@contextmanager
def allowed() -> Iterator[None]:
    """Within it cuDNN and cuBLAS may take TF32; then as before."""
    cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cublas.allow_tf32
    cudnn.allow_tf32 = cublas.allow_tf32 = True
    try:
        yield
    finally:
        cudnn.allow_tf32, cublas.allow_tf32 = before


class TensorRunner(Runner):
    """TF32 on CUDA in forward and backward alone, so that nothing else is in it; emulated elsewhere."""

    name = "TF32"

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.emulated = device.type != "cuda"

    def forward(self) -> AbstractContextManager[Any]:
        return Emulated() if self.emulated else allowed()

    def backward(self, loss: Tensor) -> None:
        if self.emulated:
            loss.backward()
            return
        with allowed():
            loss.backward()


class TF32(Precision):
    """Slot: `precision`. All is stored and summed in float32; what is multiplied has eleven bits, as float16 has.

    On CUDA cuDNN and cuBLAS decide layer by layer whether to take it. It needs an Ampere or later: on one before, a run
    is refused. The emulation rounds to nearest; a kernel there may cut off instead. It was never run on a GPU.

    Its outputs are float32, so products that are worked out again tell that it was on: `harness.evidence.products`.
    """

    kind = "tf32"
    scaled = False

    def on(self, device: torch.device) -> TensorRunner:
        return TensorRunner(device)

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        if trace.auditor:
            yield from multiplied("tf32", trace)


@declares("precision")
def tf32(spec: Spec) -> Spec:
    """TF32: conv and linear layers multiply numbers of eleven bits, with float32's range; all else is float32.

    Hurts: not known to: NVIDIA's ResNet-50 has 76.95 ± .18 % in TF32 on an A100 and 77.01 ± .16 in float32 on a V100.
    On CPUs it is emulated: the accuracy is that of TF32, and each step is slower.

    Cost: on CUDA less time than true float32, more than FP16, and as much memory as float32; on CPUs more time.
    """
    return narrowed(spec, TF32())
