"""An average of a network's weights, kept beside them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

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
        self.share = 0.0  # of the last update
        self.renewed: dict[str, Tensor] = {}  # batch norm's statistics of the average that was tested last

    @torch.no_grad()
    def update(self, step: int, steps_per_epoch: int, epochs: int) -> None:
        """After the optimizer's `step`, counted from 0."""
        self.share = self.part.share(step, steps_per_epoch, epochs)
        if self.share:
            now = floating(self.model)
            copied = {name for name, _ in self.model.named_buffers()} & now.keys() if self.part.copies_buffers else ()
            for name in copied:
                self.tensors[name].copy_(now[name])
            mixed = [name for name in self.tensors if name not in copied]
            torch._foreach_lerp_([self.tensors[name] for name in mixed], [now[name] for name in mixed], self.share)
        self.updates += 1

    @torch.no_grad()
    def hand_back(self) -> None:
        """After an update: give the network the average to go on from, where the part says so."""
        if self.part.returns and self.share:
            now = floating(self.model)
            torch._foreach_copy_([now[name] for name in self.tensors], list(self.tensors.values()))

    def exchange(self) -> None:
        """Give the network the average, and keep its own weights here; once more, and all is as it was."""
        live = dict((*self.model.named_parameters(), *self.model.named_buffers()))
        for name, kept in self.tensors.items():
            live[name].data, self.tensors[name] = kept, live[name].data

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within it the network has the average."""
        self.exchange()
        own = {name: tensor.clone() for name, tensor in self.model.named_buffers()}
        try:
            yield
        finally:
            self._set(own)
            self.exchange()

    def keep(self) -> None:
        """Give the network the average for good, with the statistics that it was tested with."""
        self.exchange()
        self._set(self.renewed)

    def renew(self, forwards: Iterable[Callable[[], Any]]) -> None:
        """Set batch norm's statistics to their mean over `forwards`, which run the network in training mode."""
        self.model.train()
        norms = [m for m in self.model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        kept = [(m.momentum, m.get_buffer("num_batches_tracked").clone()) for m in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # of all batches alike
        try:
            for forward in forwards:
                forward()
        finally:
            for norm, (momentum, counted) in zip(norms, kept, strict=True):
                norm.momentum = momentum
                norm.get_buffer("num_batches_tracked").copy_(counted)
        self.renewed = {name: tensor.clone() for name, tensor in self.model.named_buffers()}

    def _set(self, buffers: Mapping[str, Tensor]) -> None:
        live = dict(self.model.named_buffers())
        for name, tensor in buffers.items():
            live[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        return {"tensors": self.tensors, "updates": self.updates, "renewed": self.renewed}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]
        for name, tensor in state["tensors"].items():
            self.tensors[name].copy_(tensor)
        device = next(iter(self.tensors.values())).device
        self.renewed = {name: tensor.to(device) for name, tensor in state["renewed"].items()}
