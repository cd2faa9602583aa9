"""The ranks of a run: processes that train it together, each on its share of every pass.

A batch is drawn, augmented and mixed whole, on every rank; each takes its share just before the network. Photos are so
decoded once a rank. A share's loss counts by its images of the whole batch: gradients are summed, in one flat tensor,
and not averaged, and float16 and a loss scale make of them what they make of one process's.

The loop calls the methods of `Alone`, which is one process. Rank 0 decides, journals and judges. NCCL on CUDA, gloo
elsewhere; NCCL, and several GPUs, were never run.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from harness import Problem

PATIENCE = timedelta(hours=1)  # that a rank waits for another, which may write a checkpoint or wait for photos

NETWORKS = {name: os.environ.get(name) for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}  # as a user has them

Answer = Callable[[Tensor, Tensor], Tensor]  # (images, labels) -> answers


class Gone(Exception):
    """Another rank has ended before its time."""


class Over(Exception):
    """A rank other than 0 has no more to do: what is left is rank 0's."""


class Alone:
    """One process, which has all of a batch, and answers to nobody."""

    rank, size = 0, 1
    own: tuple[int, ...] = ()  # what its draws are named by, beside the step: dropout is another on each rank

    def share(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """What this rank has of a pass, of each tensor."""
        return batch

    def reduce(self, model: nn.Module) -> None:
        """Make the gradients of all shares one; running statistics that each rank has its own of become their mean."""

    def sum(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The sums over ranks, of numbers."""
        return values

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, as many of each, in order."""
        return rows

    def agree(self, value: Any) -> Any:
        """What rank 0 says, on every rank."""
        return value

    def told(self, value: Any) -> list[Any]:
        """What each rank says, on every rank. Tensors in it are on the CPU."""
        return [value]

    def in_turn(self, answer: Answer, batches: Iterable[Any], after: Callable[[], None]) -> Iterator[Any]:
        """(Answers, labels) of each batch, in order: ranks take turns. `after` each turn it is said."""
        for x, labels in batches:
            z = answer(x, labels)
            after()
            yield z, labels

    def over(self) -> None:
        """All that ranks do together is done. Raises Over on each but rank 0."""


class Ranks(Alone):
    """One of several processes, joined in a group."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self.own = (self.rank,) if self.rank else ()
        self.device = device
        self.talk: Any = distributed.group.WORLD  # on CPUs: to agree, no device is waited for
        self.group: Any = distributed.new_group(backend="nccl") if device.type == "cuda" else self.talk
        self._learned: list[int] | None = None  # places of the parameters that have gradients

    def __deepcopy__(self, memo: Any) -> "Ranks":
        return self  # a network that is copied is still of this group

    def share(self, *batch: Tensor) -> tuple[Tensor, ...]:
        n = len(batch[0]) // self.size
        return tuple(whole[self.rank * n : (self.rank + 1) * n] for whole in batch)

    def reduce(self, model: nn.Module) -> None:
        slopes = [p.grad for p in model.parameters()]
        learned = [place for place, slope in enumerate(slopes) if slope is not None]
        if self._learned is None and any(other != learned for other in self.told(learned)):
            raise Problem("ranks have gradients of other parameters: some have none on a share; train it on one rank")
        self._learned = learned if self._learned is None else self._learned
        if learned != self._learned:
            raise Problem("a parameter has no gradient on a rank's share of this step: train it on one rank")
        kept = statistics(model)
        tensors = [*(slope for slope in slopes if slope is not None), *kept]
        for statistic in kept:
            statistic /= self.size
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with gone():
            distributed.all_reduce(flat, group=self.group)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def sum(self, *values: Tensor) -> tuple[Tensor, ...]:
        every = torch.stack([value.detach().double() for value in values])
        with gone():
            distributed.all_reduce(every, group=self.group)
        return tuple(total.to(value.dtype) for total, value in zip(every, values, strict=True))

    def gather(self, rows: Tensor) -> Tensor:
        found = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with gone():
            distributed.all_gather(found, rows.contiguous(), group=self.group)
        return torch.cat(found)

    def agree(self, value: Any) -> Any:
        said = [value]
        with gone():
            distributed.broadcast_object_list(said, src=0, group=self.talk)
        return said[0]

    def told(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        with gone():
            distributed.all_gather_object(found, value, group=self.talk)
        return found

    def in_turn(self, answer: Answer, batches: Iterable[Any], after: Callable[[], None]) -> Iterator[Any]:
        left = iter(batches)
        while dealt := list(islice(left, self.size)):
            z = answer(*dealt[self.rank]) if self.rank < len(dealt) else None
            every = self._each(z)
            after()
            for answers, (_, labels) in zip(every, dealt, strict=True):
                yield answers, labels

    def _each(self, z: Tensor | None) -> list[Tensor]:
        """The answers of each rank that has some, in order: other batches have other shapes."""
        shapes = self.told(None if z is None else (tuple(z.shape), z.dtype))
        found = []
        for rank, shape in enumerate(filter(None, shapes)):
            each = z if rank == self.rank else torch.empty(shape[0], dtype=shape[1], device=self.device)
            assert each is not None
            each = each.contiguous()
            with gone():
                distributed.broadcast(each, src=rank, group=self.group)
            found.append(each)
        return found

    def over(self) -> None:
        self.agree(None)
        if self.rank:
            raise Over


def statistics(model: nn.Module) -> list[Tensor]:
    """Running statistics that a pass moved, by the share that it was of."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    moved = (m for m in norms if m.training and m.track_running_stats and not getattr(m, "alike", False))
    return [kept for m in moved for kept in (m.running_mean, m.running_var) if kept is not None]


@contextmanager
def joined(rank: int, size: int, file: Path, device: torch.device, far: bool = False) -> Iterator[Ranks]:
    """This process among the ranks of a run, who meet by a `file` that all see, and talk on this machine alone.

    Where some are `far`, on other machines, GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME say by which network they talk;
    without these, the one that a host's name is of.
    """
    for name, users in NETWORKS.items():
        os.environ.pop(name, None)
        if network := users or ("" if far else "lo"):
            os.environ[name] = network
    meeting = distributed.FileStore(str(file), size)
    with gone():
        distributed.init_process_group("gloo", store=meeting, rank=rank, world_size=size, timeout=PATIENCE)
    own = Ranks(device)
    try:
        yield own
    finally:
        own.group = own.talk = None
        distributed.destroy_process_group()
        gc.collect()  # now: in a forked process, as those that decode are, it would wait for the group's threads


@contextmanager
def gone() -> Iterator[None]:
    """Within it an error of torch's is that another rank ended: gloo says so in some 0.04 s, NCCL may not."""
    try:
        yield
    except RuntimeError as error:
        raise Gone(str(error)) from error
