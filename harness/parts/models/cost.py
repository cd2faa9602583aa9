"""What a network costs: its parameters, and the multiply-adds of one image's forward."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from harness import Problem, one_line
from harness.evidence import Check, Trace
from harness.spec import Model, Spec


def macs_check(model: Model, spec: Spec, trace: Trace) -> Check:
    """Whether the first forward cost what a network built anew does."""
    images = spec.data.load()
    _, due = cost(model, images.channels, len(images.classes), images.size)
    macs = sum(trace.macs.values())
    return Check("multiply-adds of an image at the first forward", f"{due:,}", f"{macs:,}", macs == due)


def answer(net: nn.Module, model: Model, channels: int, size: int) -> Tensor:
    """The logits 1 x K of a black image. Raises Problem where the network, built of `model`, cannot take its size."""
    try:
        logits: Tensor = net(torch.zeros(1, channels, size, size))
    except Exception as error:  # smaller than its kernels, other than the one size it takes, stages that it lacks
        raise Problem(f"{model!r} cannot take images of {size} x {size}: {one_line(str(error), 120)}") from None
    return logits


@lru_cache(maxsize=4096)
def cost(model: Model, channels: int, classes: int, size: int) -> tuple[int, int]:
    """(parameters, multiply-adds of one image's forward).

    Multiply-adds are those of convolutions and linear layers, what papers print as "FLOPs"; torch's counter counts
    each as 2. Raises Problem where the network cannot take such images.
    """
    total = 0

    def count(layer: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        assert isinstance(layer.weight, Tensor)
        total += out.numel() * layer.weight[0].numel()  # each output is one filter's product

    net = model.build(channels, classes).eval()  # on the CPU: on meta, torch imports its compiler, seconds for a plan
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        answer(net, model, channels, size)
    return sum(p.numel() for p in net.parameters()), total


@lru_cache(maxsize=4096)
def single(model: Model, channels: int, classes: int, size: int) -> str:
    """The layer that keeps the network from training on a pass of one image, a batch norm over 1 x 1; empty if none.

    It has one value a channel there, of which there is no variance. Raises Problem as `cost` does.
    """
    entered: list[str] = []
    net = model.build(channels, classes).train()
    for name, layer in net.named_modules():
        layer.register_forward_pre_hook(
            lambda layer, args, name=name: entered.append(f"{name} ({type(layer).__name__})")
        )
    try:
        with torch.no_grad():
            answer(net, model, channels, size)
    except Problem as problem:
        if "Expected more than 1" not in str(problem):
            raise
        return entered[-1]
    return ""
