"""TF32 that is none, or in a part of what it is said of; and float32 that is TF32."""

from typing import Any

import torch
from torch import Tensor, nn

from harness.parts.precision import FP32, Runner
from harness.tricks.bf16 import BrainRunner
from harness.tricks.fp16 import HalfRunner
from harness.tricks.tf32 import TF32, Emulated, Given, Slope, TensorRunner, tf32
from tests.mutants.breaking import LONG, TINY, Broken, Inject, edited, method, shared, text
from tests.mutants.first import FORWARD
from tests.mutants.later import half_when
from tests.mutants.tested import RUNS

SHORT, LATER = tf32(TINY), tf32(LONG)
INPUT, WEIGHT, OUTPUT = "Given.apply(x)", "Given.apply(weight)", "Slope.apply("


def layers(*pairs: str) -> Inject:
    """What a layer does, edited."""
    return edited(Emulated, "__torch_function__", *pairs)


def rounding(change: Any) -> Inject:
    return shared(TF32, "tf32_rounded", change)


def slopes(change: Any) -> Inject:
    """The gradient that comes to a layer, made otherwise."""
    return method(Slope, "backward", staticmethod(lambda ctx, grad: change(grad)))


def on(runner: Any) -> Any:
    return lambda self, device: runner(device)


def in_tf32(forward: str, when: str) -> Inject:
    """TF32 in the place of float32, in some passes."""
    return text(forward, forward.replace("run", f"emulated() if {when} else run", 1), emulated=Emulated)


def cut(x: Tensor) -> Tensor:
    return (x.view(torch.int32) & ~0x1FFF).view(torch.float32)


def finer(x: Tensor) -> Tensor:
    return ((x.view(torch.int32) + 0x800) & ~0xFFF).view(torch.float32)


def coarser(x: Tensor) -> Tensor:
    return ((x.view(torch.int32) + 0x2000) & ~0x3FFF).view(torch.float32)


def allowing(self: Runner) -> None:
    torch.backends.cudnn.allow_tf32 = True


def left_on(patch: Any) -> None:
    """A worker in which TF32 was left on; it is off again afterwards."""
    patch.setattr(torch.backends.cudnn, "allow_tf32", False)
    patch.setattr(Runner, "__init__", allowing)


BROKEN: Broken = {
    "tf32": [
        ("does nothing", SHORT, method(TF32, "on", lambda self, device: Runner())),
        ("is FP16", SHORT, method(TF32, "on", on(HalfRunner))),
        ("is BF16", SHORT, method(TF32, "on", on(BrainRunner))),
        ("forward in float32", SHORT, text(FORWARD, FORWARD.replace("with run.runner.forward()", "if True"))),
        ("nothing is rounded", SHORT, rounding(lambda x: x.clone())),
        ("inputs not rounded", SHORT, layers(INPUT, "x")),
        ("weights not rounded", SHORT, layers(WEIGHT, "weight")),
        ("gradients not rounded", SHORT, slopes(lambda grad: grad)),
        ("gradients by bfloat16", SHORT, slopes(lambda grad: grad.bfloat16().float())),
        ("outputs rounded too", SHORT, layers(OUTPUT, "Slope.apply(Given.apply(", "**options)", "**options))")),
        ("a bit is cut off, not rounded", SHORT, rounding(cut)),
        ("twelve bits", SHORT, rounding(finer)),
        ("ten bits", SHORT, rounding(coarser)),
        ("eight bits", SHORT, rounding(lambda x: x.bfloat16().float())),
        ("linear layers left out", SHORT, method(Emulated, "layers", (nn.functional.conv2d,))),
        ("convolutions left out", SHORT, method(Emulated, "layers", (nn.functional.linear,))),
        ("CUDA's flags stay on", SHORT, left_on),
    ],
}
LATE: Broken = {
    "tf32": [
        ("off after the first epoch", LATER, half_when("run.epoch == 0")),
        ("on from the second epoch on", LATER, half_when("run.epoch")),
        ("off at every second step", LATER, half_when("run.batch % 2")),
    ],
    "FP32": [
        ("TF32 in the last epoch", LONG, in_tf32(FORWARD, "run.epoch == 3")),
        ("TF32 at every second step", LONG, in_tf32(FORWARD, "run.batch % 2")),
    ],
}
UNSEEN: Broken = {
    "FP32": [
        ("TF32", TINY, method(FP32, "on", on(TensorRunner))),
        ("gradients by TF32", TINY, method(FP32, "on", on(lambda device: Backward()))),
        ("inputs by TF32", TINY, method(FP32, "on", on(lambda device: Inputs()))),
        ("TF32 left on by the run before", TINY, left_on),
    ],
}
TESTED: Broken = {
    "tf32": [
        ("tested in float32", SHORT, text(RUNS, RUNS.replace("with runner.forward()", "if True"))),
        ("tested in bfloat16", SHORT, text(RUNS, RUNS.replace("runner.forward()", 'torch.autocast("cpu")'))),
    ],
    "FP32": [("tested in TF32", TINY, text(RUNS, RUNS.replace("runner.forward()", "emulated()"), emulated=Emulated))],
}


class Some(Emulated):
    """A part of what TF32 does."""

    def __init__(self, before: Any, after: Any) -> None:
        super().__init__()
        self.before, self.after = before, after

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self.layers:
            return func(*args, **(kwargs or {}))
        return self.after(func(self.before(args[0]), *args[1:], **(kwargs or {})))


class Backward(Runner):
    def forward(self) -> Any:
        return Some(lambda x: x, Slope.apply)


class Inputs(Runner):
    def forward(self) -> Any:
        return Some(Given.apply, lambda x: x)


BY_KIND = {
    "0": {"tf32": BROKEN["tf32"][:5]},
    "A": LATE,
    "B": UNSEEN | {"tf32": BROKEN["tf32"][5:]},
    "C": TESTED,
}
