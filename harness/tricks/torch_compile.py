"""torch.compile: the network's passes by kernels that are made for it (Ansel et al. 2024, "PyTorch 2")."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.evidence import Check, Trace
from harness.spec import Compiler, Spec, declares

Mode = Literal["default", "max-autotune-no-cudagraphs"]


@dataclass
class Counted:
    """What this process compiled, and ran of it."""

    compiled: int = 0
    ran: int = 0


COUNTED = Counted()


@cache
def backend(mode: Mode) -> Callable[..., Any]:
    """TorchInductor, whose code is counted as it runs. What one run compiled serves the next of its kind."""

    def made(graph: Any, inputs: Any) -> Callable[..., Any]:
        from torch._inductor import compile_fx, list_mode_options

        own = {"fallback_random": True}  # dropout draws what it draws as it is written
        code: Any = compile_fx.compile_fx(graph, inputs, config_patches=list_mode_options(mode) | own)
        COUNTED.compiled += 1

        def run(*args: Any) -> Any:
            COUNTED.ran += 1
            return code(*args)

        return run

    return made


class Compiled:
    """The forward pass of `model`, compiled when it is first called; autograd's backward is compiled with it."""

    def __init__(self, model: nn.Module, mode: Mode) -> None:
        self.plain = model.forward
        self.forward = torch.compile(self.plain, backend=backend(mode))
        self.calls = 0
        self.idle = 0  # calls in which nothing that was compiled ran

    def __call__(self, *given: Tensor) -> Tensor:
        before = COUNTED.ran
        z: Tensor = self.forward(*given)
        self.calls += 1
        self.idle += COUNTED.ran == before
        return z

    def replayed(self) -> None:
        """It was called once more, by a CUDA graph of what it does when it is called."""
        self.calls += 1

    def state(self) -> dict[str, int]:
        return {"calls": self.calls, "idle": self.idle}

    def restore(self, state: dict[str, int]) -> None:
        self.calls, self.idle = state["calls"], state["idle"]


class Inductor(Compiler):
    """Passes in training by torch.compile's code. Slot: `compiler`, neutral absent.

    The test set, teachers and audits' references are run as they are written. Sums are made in another order: so it is
    in the id. `mode` is torch.compile's; those that make CUDA graphs are left out, `--cuda-graphs` does.
    """

    mode: Mode = "default"

    def on(self, model: nn.Module) -> Compiled:
        return Compiled(model, self.mode)

    def check(self, spec: Spec) -> None:
        if spec.model.told(0, 1):
            raise ValueError("compiler=Inductor would compile anew at each step: its network is told which it is")

    def proof(self, spec: Spec, trace: Trace) -> Iterable[Check]:
        network = trace.passes.network if trace.passes else None
        calls, idle = (network.calls, network.idle) if isinstance(network, Compiled) else (0, 0)
        due = len(trace.lr) * spec.passes * spec.gradients
        yield Check("forward passes by the compiled network", f"{due}", f"{calls}", calls == due)
        yield Check("of them, those in which no compiled code ran", "0", f"{idle}", idle == 0)


@declares("compiler")
def torch_compile(spec: Spec, mode: Mode = "default") -> Spec:
    """torch.compile: the network's passes by kernels made for it.

    Hurts: runs of a minute: compiling takes as long; it is done once a process and kind of network. A layer that it
    cannot follow is run as it is written.

    Cost: on CUDA less time, by its users' figures (airbench: 3.29 s for 3.83); here on CPUs small networks gained none.
    """
    return spec.alone("compiler", Inductor(mode=mode))
