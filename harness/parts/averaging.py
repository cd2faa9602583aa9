"""An average of a network's weights, kept beside them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.spec import Average


def floating(model: nn.Module) -> dict[str, Tensor]:
    """Its parameters, and its buffers of floating point, by name."""
    named = (*model.named_parameters(), *model.named_buffers())
    return {name: tensor.detach() for name, tensor in named if tensor.is_floating_point()}


class Averaging:
    """The average that `part` keeps of `model`, from its initial weights on."""

    def __init__(self, part: Average, model: nn.Module) -> None:
        self.part, self.model = part, model
        self.tensors = {name: tensor.clone() for name, tensor in floating(model).items()}
        self.updates = 0

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After the optimizer's `step`, counted from 0."""
        now = floating(self.model)
        torch._foreach_lerp_(list(self.tensors.values()), [now[name] for name in self.tensors], self.part.share(step))
        self.updates += 1

    def exchange(self) -> None:
        """Give the network the average, and keep its own weights here; once more, and all is as it was."""
        live = dict((*self.model.named_parameters(), *self.model.named_buffers()))
        for name, kept in self.tensors.items():
            live[name].data, self.tensors[name] = kept, live[name].data

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within it the network has the average."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def state(self) -> dict[str, Any]:
        return {"tensors": self.tensors, "updates": self.updates}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]
        for name, tensor in state["tensors"].items():
            self.tensors[name].copy_(tensor)
