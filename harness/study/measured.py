"""What a step of a network takes here, measured: seconds, and bytes."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from harness import one_line, tasks
from harness.parts.grouping import groups
from harness.parts.models import Sides, area, cost, sides
from harness.rng import streams
from harness.spec import Augment, Data, Model, Precision, Spec
from harness.train import placed

BUDGET = 10.0  # seconds of timed passes: with building and describing the networks, some 20 on a slow CPU
LEAST = 0.06  # seconds of timed steps of a network
SLOW = 1e10  # multiply-adds a second, of a slow core: what may take it a second is said beforehand
LARGE = 5_000_000  # parameters: an optimizer's steps on fewer are next to nothing, and its making imports a compiler
SPARE = 1.25  # on a CPU: the allocator, oneDNN's scratch and what else showed beside tensors when runs were watched
COMPILER = 180e6  # bytes of it in memory, as seen with torch 2.14
ENTRY = 330  # bytes of a file of tensors beside each tensor's own
SCALING = "train", "test", "kept", "passing"  # of `Measured`: with multiply-adds
Say = Callable[[str], None]


@dataclass(frozen=True)
class Network:
    """What the cost of a pass depends on."""

    model: Model
    precision: Precision
    channels: int
    classes: int
    size: Sides  # px
    images: int  # a pass
    spec: Spec = field(compare=False, repr=False)  # one that has it

    @classmethod
    def of(cls, spec: Spec) -> "Network":
        images, passed = spec.data.load(), spec.microbatch or spec.batch_size
        return cls(spec.model, spec.precision, images.channels, len(images.classes), sides(spec), passed, spec)

    def cost(self) -> tuple[int, int]:
        return cost(self.model, self.channels, self.classes, self.size)


@dataclass(frozen=True)
class Measured:
    """A network on this machine."""

    images: int  # at once, in the timed steps
    train: float  # seconds that one image more takes, forward and backward
    test: float  # the same, forward
    once: float  # seconds a pass, forward and backward, whatever its images: FP16's rounding of the weights, say
    step: float  # seconds of the optimizer
    weights: float  # bytes of the file
    static: float  # bytes of weights, gradients and the optimizer's state
    kept: float  # bytes an image, from forward to backward
    passing: float  # bytes an image, of a forward alone
    by: str  # how the time is known

    def trained(self, images: int) -> float:
        """Seconds an image, forward and backward, in passes of `images`."""
        return self.train + self.once / images

    def tested(self, images: int) -> float:
        """Seconds an image, forward, in passes of `images`: of what a pass takes once, it has its share."""
        return self.test / self.train * self.trained(images)


def measure(network: Network, device: torch.device, share: float = BUDGET) -> Measured:
    """Steps on noise: on CUDA of a whole pass, or of a half, and so on, where that does not fit; on a CPU of two images
    and of as many as `share` seconds have time for, six at least: what a pass takes once is told from an image's."""
    images = network.images
    while device.type == "cuda" and images > 1:
        try:
            return _measured(network, device, images, share)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            images //= 2
    return _measured(network, device, min(images, 2), share)


def _measured(network: Network, device: torch.device, images: int, share: float) -> Measured:
    cuda, spec = device.type == "cuda", network.spec
    empty = torch.cuda.memory_allocated(device) if cuda else 0
    model = placed(network.model.build(network.channels, network.classes), device)
    runner = network.precision.on(device)
    params = sum(p.numel() for p in model.parameters())
    optimizer = spec.optimizer.build(groups(spec, model), spec.batch_size) if cuda or params >= LARGE else None
    for group in optimizer.param_groups if optimizer else ():
        group["lr"] = 0.0

    def now() -> float:
        if cuda:
            torch.cuda.synchronize(device)
        return time.monotonic()

    task = tasks.of(spec)
    criterion = spec.loss or task.loss
    height, width = (network.size, network.size) if isinstance(network.size, int) else network.size

    def noise(n: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(n, network.channels, height, width, device=device)
        y = task.noise(n, network.classes, height, width).to(device)
        return x.contiguous(memory_format=torch.channels_last), y

    def step(x: Tensor, y: Tensor) -> tuple[float, float]:
        began = now()
        with runner.forward():
            loss = criterion(model(*task.given(x, y)).float(), y)
        runner.backward(loss)
        passed = now()
        if optimizer:
            runner.step(optimizer)
        return passed - began, now() - passed

    @torch.no_grad()
    def test(x: Tensor, y: Tensor) -> float:
        began = now()
        with runner.forward():
            model(*task.given(x, y))
        return now() - began

    x, y = noise(images)
    saved = Saved(model)
    with saved:
        took = [step(x, y)]  # the first: caches are cold, memory is new
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    passing = 3 * max(saved.scaling.values(), default=0) / images  # what comes, what goes, and one between
    kept = sum(saved.scaling.values()) / images + passing
    few, took = (x, y), [step(x, y)]
    fewer = [took[0][0]]  # seconds of passes of `few`
    began, train, once = now() - sum(took[0]), took[0][0] / images, 0.0
    slot = min(share / 2, 2.0)
    while not cuda and images < network.images:
        more = min(network.images, 3 * images)
        if images > len(few[0]) and now() - began + once + more * train > slot:
            break
        images, (x, y) = more, noise(more)
        took = [step(x, y)]
        train, once = _line(len(few[0]), fewer[0], images, took[0][0])
    while sum(map(sum, took)) < LEAST:
        took.append(step(x, y))
        if images > len(few[0]):
            fewer.append(step(*few)[0])
    tensors = [*model.parameters(), *model.buffers()]
    held = sum(t.numel() * t.element_size() for t in tensors)
    static = held + 8.0 * params + sum(saved.fixed.values())
    if cuda:
        peak = torch.cuda.max_memory_allocated(device) - empty
        kept = max(0.0, peak - static) / images
    model.eval()
    test(x[: min(images, 2)], y[: min(images, 2)])
    before = torch.cuda.memory_allocated(device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    forward = test(x, y)
    if cuda:
        passing = (torch.cuda.max_memory_allocated(device) - before) / images
    by = "timed steps" if images == network.images else f"steps of {images}"
    passed, optimizing = (median(times) for times in zip(*took, strict=True))
    train, once = _line(len(few[0]), median(fewer), images, passed)
    weights = held + ENTRY * len(tensors)
    return Measured(images, train, train * forward / passed, once, optimizing, weights, static, kept, passing, by)


def _line(few: int, short: float, many: int, long: float) -> tuple[float, float]:
    """Seconds an image and seconds a pass, of passes of `few` and of `many` that took `short` and `long` seconds."""
    train = long / many  # at most: a pass takes nothing once
    if many > few and long > short:  # not longer only by chance
        train = min(train, (long - short) / (many - few))
    return train, long - many * train


class Saved(torch.autograd.graph.saved_tensors_hooks):
    """Within it, counts the bytes that autograd keeps for backward, each storage once, the weights themselves not."""

    def __init__(self, model: nn.Module) -> None:
        tensors = [*model.parameters(), *model.buffers()]
        own = {t.untyped_storage().data_ptr() for t in tensors}
        shapes = {shape for t in tensors for shape in (t.shape, t.shape[::-1])}
        self.scaling: dict[int, int] = {}  # of activations, by address
        self.fixed: dict[int, int] = {}  # of tensors shaped as a weight is: rounded weights, a batch norm's statistics

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()  # kept until backward: no other gets its address meanwhile
            if storage.data_ptr() not in own:
                (self.fixed if tensor.shape in shapes else self.scaling)[storage.data_ptr()] = storage.nbytes()
            return tensor

        super().__init__(pack, lambda tensor: tensor)


def calibrate(networks: Iterable[Network], device: torch.device, say: Say, budget: float = BUDGET) -> dict[Any, Any]:
    """`{network: Measured}`, small ones first, all in about `budget` seconds beside building them.

    One that is too slow for that on a CPU is taken from what was timed of its own model at another size, else timed at
    a half or a quarter of its own, else taken from the one most like it: by multiply-adds, memory too.
    """
    began, made = time.monotonic(), dict[Network, Measured]()
    todo = sorted(dict.fromkeys(networks), key=lambda network: network.cost()[1])
    timed: list[Network] = []
    for i, network in enumerate(todo):
        share = max(0.0, budget - (time.monotonic() - began)) / (len(todo) - i)
        like = min(timed, key=partial(_apart, network), default=None)
        pace = made[like].train / (3 * like.cost()[1]) if like else 1 / SLOW  # seconds a multiply-add
        needed = 38 * network.cost()[1] * pace  # of steps of two, two and six images, and tests of two and six
        fixed = 4 * (made[like].once + made[like].step) if like else 0.0
        sizes = [part(network.size, n) for n in (1, 2, 4) if device.type == "cuda" or fixed + needed / n**2 <= share]
        if like and (not sizes or (area(sizes[0]) < area(network.size) and not any(_apart(network, like)[:2]))):
            made[network] = _scaled(made[like], like, network)
            continue
        if needed > 1 or time.monotonic() - began > 2:
            name = f"{one_line(repr(network.model))} at {told(network.size)} px, {type(network.precision).__name__}"
            say(f"timing {name} ({i + 1} of {len(todo)})")
        made[network] = _shrunk(network, sizes[0] if sizes else part(network.size, 4), device, share)
        timed.append(network)
    return made


def part(size: Sides, by: int) -> Sides:
    return size // by if isinstance(size, int) else tuple(side // by for side in size)


def _shrunk(network: Network, size: Sides, device: torch.device, share: float) -> Measured:
    """Measured at `size` px, an image scaled by area, as multiply-adds are; at its own size where it takes no other."""
    if area(size) < area(network.size):
        with suppress(RuntimeError, AssertionError):  # smaller than its kernels, or other than the one size it takes
            small = measure(replace(network, size=size), device, share)
            larger = area(network.size) / area(size)
            scaled = {name: getattr(small, name) * larger for name in SCALING}
            return replace(small, by=f"steps of {small.images} at {told(size)} px", **scaled)
    return measure(network, device, share)


def told(size: Sides) -> str:
    return f"{size}" if isinstance(size, int) else " x ".join(map(str, size))


def _apart(one: Network, other: Network) -> tuple[bool, bool, float]:
    """How little another network tells of one: by its model, its precision, its size."""
    far = abs(math.log(one.cost()[1] / other.cost()[1]))
    return one.model != other.model, one.precision != other.precision, far


def _scaled(known: Measured, like: Network, network: Network) -> Measured:
    weights, work = (a / b for a, b in zip(network.cost(), like.cost(), strict=True))
    by_weights = {name: getattr(known, name) * weights for name in ("once", "step", "weights", "static")}
    by_work = {name: getattr(known, name) * work for name in SCALING}
    return replace(known, by="multiply-adds", **by_weights, **by_work)


def served(data: Data, augment: tuple[Augment, ...], batch_size: int, device: torch.device) -> float:
    """Seconds an image to decode, cut and augment, by one process."""
    images = data.load()
    batch: int = max(1, min(batch_size, 16, images.counts["train"] // 3))
    with closing(images.train(0, batch, augment, streams(0), device)) as batches:
        taken: list[float] = []
        for _ in islice(batches, 3):  # the first waits for the process to start
            taken.append(time.monotonic())
    return (taken[-1] - taken[0]) / max(1, len(taken) - 1) / batch
