"""Parts that go wrong on purpose, and the tricks that bring them."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.parts.models import ResNet
from harness.rng import streams
from harness.spec import Augment, Mix, Spec, declares


class NaNAt(Mix):
    """Makes one batch NaN: of the run of that seed, in that epoch. Every other is left as it was."""

    seed: int
    epoch: int
    batch: int

    def __call__(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        struck = streams(self.seed)("mix", "NaNAt", self.epoch, self.batch)  # its stream tells one batch from another
        return (x * float("nan") if rng.integers(2**62) == struck.integers(2**62) else x), y


class Slow(Augment):
    """Leaves images as they are, and takes its time for each batch: the same run lasts long enough to be hit."""

    seconds: float = 0.0

    def identity(self) -> dict[str, Any]:
        return {}

    def __call__(self, x: Tensor, rng: object) -> Tensor:
        if torch.is_grad_enabled():  # the loop's, and not those that its evidence asks for again
            time.sleep(self.seconds)
        return x


class Hungry(ResNet):
    """A network for whose training there is memory for `limit` images a pass."""

    limit: int

    def build(self, channels: int, classes: int) -> nn.Sequential:
        def starve(net: nn.Module, args: tuple[Tensor]) -> None:
            if net.training and len(args[0]) > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has 8.00 GiB.")

        net = super().build(channels, classes)
        net.register_forward_pre_hook(starve)  # type: ignore[arg-type]
        return net


def nan(spec: Spec) -> Spec:
    """NaN: in the second batch of the second epoch of seed 0."""
    return spec.having("mix", NaNAt(seed=0, epoch=1, batch=1))


@declares("mix", "model")
def hungry(spec: Spec) -> Spec:
    """hunger: memory for 64 images a pass."""
    fields: dict[str, Any] = dict(spec.model)
    return spec.but(mix=(), model=Hungry(**fields, limit=64))
