"""What a network costs: its parameters, and the multiply-adds of one image's forward."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from harness import Problem, one_line
from harness.evidence import Check, Trace
from harness.parts.augment import ScaledCrop
from harness.spec import Model, Spec


def macs_check(model: Model, spec: Spec, trace: Trace) -> Check:
    """Whether the first forward cost what a network built anew does."""
    images = spec.data.load()
    _, due = cost(model, images.channels, len(images.classes), trace.canvas or sides(spec))
    macs = sum(trace.macs.values())
    return Check("multiply-adds of an image at the first forward", f"{due:,}", f"{macs:,}", macs == due)


Sides = int | tuple[int, ...]  # px: of a square, or height and width


def sides(spec: Spec) -> Sides:
    """What the network gets in training: pixels a side, or height and width of the greatest image."""
    images = spec.data.load()
    cut = next((part.size for part in spec.augment if isinstance(part, ScaledCrop)), None)
    found: Sides = cut or (images.size if spec.data.truth == "class" else images.canvas)
    return found


def area(size: Sides) -> int:
    """Pixels of an image."""
    return size**2 if isinstance(size, int) else math.prod(size)


def answer(net: nn.Module, model: Model, channels: int, classes: int, size: Sides) -> Tensor:
    """The answer to a black image. Raises Problem where the network, built of `model`, cannot take its size."""
    height, width = (size, size) if isinstance(size, int) else size
    try:
        given = model.blank(channels, classes, height, width) or (torch.zeros(1, channels, height, width),)
        answered: Tensor = net(*given)
    except Exception as error:  # smaller than its kernels, other than the one size it takes, stages that it lacks
        raise Problem(f"{model!r} cannot take images of {height} x {width}: {one_line(str(error), 120)}") from None
    return answered


@lru_cache(maxsize=4096)
def cost(model: Model, channels: int, classes: int, size: Sides) -> tuple[int, int]:
    """(parameters, multiply-adds of one image's forward in training).

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
        answer(net, model, channels, classes, size)
    return sum(p.numel() for p in net.parameters()), total


@lru_cache(maxsize=4096)
def single(model: Model, channels: int, classes: int, size: Sides) -> str:
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
            answer(net, model, channels, classes, size)
    except Problem as problem:
        if "Expected more than 1" not in str(problem):
            raise
        return entered[-1]
    return ""
