"""Batches made by decoding processes, or by this one where they cannot send them; none is waited for without end."""

import multiprocessing.queues
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from mmap import mmap
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from harness import Problem
from harness.parts.data.reading import brief

T = TypeVar("T")
PATIENCE = 600  # s that a batch may take
AHEAD = 2  # batches that a decoding process makes before they are asked for
BEAT = 10  # s without one after which `waiting` is called, again and again

_alone = False  # whether decoding processes were given up


def go_on() -> None:
    """Nobody asks to stop."""


waiting: Callable[[], None] = go_on  # raises where whoever trains is to stop, and there is no next batch


def decoders() -> int:
    """Decoding processes a run: HARNESS_DECODERS, or what the engine sets there to share the machine among its jobs.

    With 0 the training process decodes, between its steps. Raises Problem where it is no number.
    """
    asked = os.environ.get("HARNESS_DECODERS", "1")
    if not asked.isdecimal():
        raise Problem(f"HARNESS_DECODERS={asked}: a whole number is needed, of decoding processes a run")
    return 0 if _alone else int(asked)


@dataclass
class Tasks(Dataset[T | Problem], ABC):
    """Batches, each made of its epoch, its number there, and the places of its images."""

    tasks: Sequence[tuple[int, int, np.ndarray]]

    @abstractmethod
    def made(self, epoch: int, number: int, chosen: np.ndarray) -> T:
        """A batch."""

    @property
    def like(self) -> tuple[Tensor, ...] | None:
        """Tensors as those of a full batch, without numbers; None where batches differ in more than their length."""
        return None

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, place: int) -> T | Problem:
        try:
            return self.made(*self.tasks[place])
        except Problem as problem:  # raised here it would reach the user as a traceback in another's words
            return problem


class Slot(NamedTuple):
    """Where a batch lies in a `Ring`, and its images."""

    place: int
    images: int


class Ring(Dataset[Any]):
    """Batches by way of memory that all processes share: one writes a batch into a slot, and tells which.

    The memory has no name, and takes no room in /dev/shm. A slot is written anew once `turns` more batches were asked
    for. Batches of another kind are sent themselves. Raises OSError where there is no such memory.
    """

    def __init__(self, batches: Tasks[Any], like: Sequence[Tensor], turns: int) -> None:
        self.batches, self.turns = batches, turns
        self.slots = [torch.frombuffer(mmap(-1, turns * t.nbytes), dtype=t.dtype).view(turns, *t.shape) for t in like]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: int) -> Any:
        batch = self.batches[place]
        if isinstance(batch, Problem) or not self._holds(batch):
            return batch
        slot = Slot(place % self.turns, len(batch[0]))
        for slots, tensor in zip(self.slots, batch, strict=True):
            slots[slot.place, : slot.images] = tensor
        return slot

    def _holds(self, batch: Sequence[Tensor]) -> bool:
        kinds = [(t.dtype, t.shape[1:], min(len(t), self.slots[0].shape[1])) for t in batch]
        return kinds == [(slots.dtype, slots.shape[2:], len(batch[0])) for slots in self.slots]

    def read(self, slot: Slot) -> tuple[Tensor, ...]:
        return tuple(slots[slot.place, : slot.images] for slots in self.slots)


def whole(images: int, batch_size: int) -> list[tuple[int, int, np.ndarray]]:
    """Batches of all images, in order, as `Tasks` names them."""
    parts = np.split(np.arange(images), range(batch_size, images, batch_size))
    return [(0, number, places) for number, places in enumerate(parts)]


def in_order(batches: Tasks[Any], pinned: bool) -> Iterator[Any]:
    """Every item of `batches`; tensors of one may be written anew when the next but one is asked for.

    Where one cannot be sent, this process makes it and all that follow, which is said once. Raises Problem where the
    decoding processes are gone, or give no sign for long.
    """
    global _alone
    done, unsent, workers = 0, None, decoders()
    like = batches.like if workers and not pinned else None  # those that are pinned are copied anyway
    ring = None
    if like:
        with suppress(OSError):  # without the memory they are sent
            ring = Ring(batches, like, min(len(batches), workers * AHEAD + 2))
    for batch in _made(ring or batches, workers, pinned):
        if isinstance(batch, _Unsent):
            unsent = batch
            break
        yield ring.read(batch) if ring and isinstance(batch, Slot) else batch
        done += 1
    if unsent is not None:
        _alone = True
        print(
            f"photos are decoded in the training process, which is slower: a decoding process could send no batch "
            f"({unsent}); give /dev/shm more room (docker run --shm-size=8g), and TMPDIR a short path",
            file=sys.stderr,
        )
        yield from _made(Subset(batches, range(done, len(batches))), 0, pinned)


class _Unsent(str):
    """Why a decoding process could not send a batch."""


def _made(batches: Dataset, workers: int, pinned: bool) -> Iterator[Any]:
    try:
        if workers:
            multiprocessing.get_context("fork").Lock()  # it fails as queues would, but without torch's traceback
        made = iter(
            DataLoader(
                batches,
                batch_size=None,
                num_workers=workers,
                prefetch_factor=AHEAD if workers else None,
                pin_memory=pinned,
                timeout=min(BEAT, PATIENCE) if workers else 0,
                worker_init_fn=_begin,
                multiprocessing_context="fork" if workers else None,
                generator=torch.Generator(),  # else each loader would draw from the model's own stream
            )
        )
    except OSError as error:  # no queue: its locks are in /dev/shm
        if not workers:
            raise
        yield _Unsent(brief(error))
        return
    waited = 0
    while True:
        try:
            batch = next(made)
        except StopIteration:
            return
        except (RuntimeError, OSError) as error:
            if not workers or str(error).startswith("Caught "):  # in our code, or a user's: with its traceback
                raise
            late = str(error).startswith("DataLoader timed out")
            waited += BEAT
            if late and waited < PATIENCE:
                waiting()
                continue
            why = "" if late else f" ({brief(error)})"
            raise Problem(
                f"the processes that decode photos are gone, or gave no batch in {PATIENCE} s{why}: free "
                "memory, see that the disk answers, or set HARNESS_DECODERS=0, with which the training process decodes"
            ) from None
        waited = 0
        yield batch


def _begin(worker: int) -> None:
    """In a decoding process, before its first batch."""
    multiprocessing.queues.Queue._on_queue_feeder_error = _answer  # type: ignore[attr-defined]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # torch would end at one, whoever sent it
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _answer(queue: Any, error: Exception, item: Any) -> None:
    """Send why a batch cannot be sent: the queue would write a traceback, and the batch be waited for."""
    queue.put((item[0], _Unsent(brief(error))))


def _end_with(parent: int) -> None:
    """End when the training process says so, or is gone, also in the middle of a batch that takes for ever.

    What a launcher (timeout, systemd, a cluster's scheduler) sends to all is the study's to handle: its runs are kept,
    and one whose decoding processes ended would have failed.
    """
    while os.getppid() == parent:
        told = signal.sigtimedwait({signal.SIGTERM}, 1)
        if told and told.si_pid == parent:
            break
    os._exit(0)
