"""What a worker tells of its node."""

import fcntl
import os
import socket
from pathlib import Path

from harness.engine.mailbox import fitness
from harness.engine.scheduler import Event
from harness.store.probe import probe as assumed


def probe(folder: Path) -> Event:
    """What a worker sees from its node: the word in a mailbox among it, which shows that it is the same folder."""
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    seen = folder / "word"
    return {
        "kind": "probed",
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "devices": cuda or [f"{len(os.sched_getaffinity(0))} cores"],
        "fitness": fitness(),
        "word": seen.read_text() if seen.exists() else "",
        "locked": _locked(folder / "lock"),
        "first": _first(folder / "first"),
        "folder": assumed(folder),
    }


def _locked(path: Path) -> bool:
    """Whether a lock that another process holds is seen from here."""
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _first(path: Path) -> bool:
    """Whether this process made the file, which one alone may."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True
