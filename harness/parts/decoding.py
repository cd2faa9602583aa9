"""Batches made by decoding processes, or by this one where they cannot send them; none is waited for without end."""

import multiprocessing.queues
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from harness import Problem
from harness.parts.files import brief

PATIENCE = 600  # s that a batch may take

_alone = False  # whether decoding processes were given up


def decoders() -> int:
    """Decoding processes a run: HARNESS_DECODERS, or what the engine sets there to share the machine among its jobs.

    With 0 the training process decodes, between its steps. Raises Problem where it is no number.
    """
    asked = os.environ.get("HARNESS_DECODERS", "1")
    if not asked.isdecimal():
        raise Problem(f"HARNESS_DECODERS={asked}: a whole number is needed, of decoding processes a run")
    return 0 if _alone else int(asked)


def in_order(batches: Dataset, pinned: bool) -> Iterator[Any]:
    """Every item of `batches`. Where one cannot be sent, this process makes it and all that follow, which is said once.

    Raises Problem where the decoding processes are gone, or give no sign for long.
    """
    global _alone
    done, unsent = 0, None
    for batch in _made(batches, decoders(), pinned):
        if isinstance(batch, _Unsent):
            unsent = batch
            break
        yield batch
        done += 1
    if unsent is not None:
        _alone = True
        print(
            f"photos are decoded in the training process, which is slower: a decoding process could send no batch "
            f"({unsent}); give /dev/shm more room (docker run --shm-size=8g), and TMPDIR a short path",
            file=sys.stderr,
        )
        yield from _made(Subset(batches, range(done, len(batches))), 0, pinned)  # type: ignore[arg-type]


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
                prefetch_factor=2 if workers else None,
                pin_memory=pinned,
                timeout=PATIENCE if workers else 0,
                worker_init_fn=_answering,
                multiprocessing_context="fork" if workers else None,
                generator=torch.Generator(),  # else each loader would draw from the model's own stream
            )
        )
    except OSError as error:  # no queue: its locks are in /dev/shm
        if not workers:
            raise
        yield _Unsent(brief(error))
        return
    while True:
        try:
            batch = next(made)
        except StopIteration:
            return
        except (RuntimeError, OSError) as error:
            if not workers or str(error).startswith("Caught "):  # in our code, or a user's: with its traceback
                raise
            raise Problem(
                f"the processes that decode photos are gone, or gave no batch in {PATIENCE} s ({brief(error)}): free "
                "memory, see that the disk answers, or set HARNESS_DECODERS=0, with which the training process decodes"
            ) from None
        yield batch


def _answering(worker: int) -> None:
    """Have a queue that cannot send a batch send why: it would write a traceback, and the batch be waited for."""

    def unsent(queue: Any, error: Exception, item: Any) -> None:
        queue.put((item[0], _Unsent(brief(error))))

    multiprocessing.queues.Queue._on_queue_feeder_error = unsent  # type: ignore[attr-defined]
