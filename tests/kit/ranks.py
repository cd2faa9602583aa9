"""Several ranks, forked from a test: what is broken here is broken in all of them."""

import gc
import multiprocessing
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from harness import ranks
from harness.ranks import Ranks

FORK = multiprocessing.get_context("fork")
CPU = torch.device("cpu")


def together(size: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What `work` gives on each rank, in order; of one that raised, the error. This process is rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ranks"
        pipes = [FORK.Pipe(duplex=False) for _ in range(1, size)]
        others = [
            FORK.Process(target=_follow, args=(rank, size, file, work, theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes, 1)
        ]
        gc.collect()
        gc.freeze()  # what is of another group must not end in a process that is forked: it would wait for its threads
        for process in others:
            process.start()
        gc.unfreeze()
        for _, theirs in pipes:
            theirs.close()
        try:
            found = [_did(0, size, file, work)]
            wait = 1 if isinstance(found[0], Exception) else 60
            return found + [pickle.loads(ours.recv_bytes()) if ours.poll(wait) else None for ours, _ in pipes]
        finally:
            for process in others:
                process.kill()
                process.join()


def _did(rank: int, size: int, file: Path, work: Callable[[Ranks], Any]) -> Any:
    try:
        with ranks.joined(rank, size, file, CPU) as own:
            return work(own)
    except Exception as error:
        return error


def _follow(rank: int, size: int, file: Path, work: Callable[[Ranks], Any], pipe: Any) -> None:
    torch.set_num_threads(1)
    pipe.send_bytes(pickle.dumps(_did(rank, size, file, work)))
