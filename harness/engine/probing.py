"""What a node of a cluster is like, told by a worker on it: versions, devices, whether it shares our folder."""

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engine.mailbox import Mailbox, fitness
from harness.engine.posted import Posted
from harness.evidence import Check
from harness.store import EVERY

APART = 5.0  # seconds that clocks may differ: times in journals are told to the second, and nothing is decided by them


@dataclass(frozen=True)
class Probe:
    """An order that trains nothing: a worker tells what it sees from its node. `word` is in a file that we wrote."""

    folder: Path
    word: str

    def __call__(self) -> dict[str, Any]:
        import torch

        cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        seen = self.folder / "word"
        own = self.folder / f"of-{socket.gethostname()}-{os.getpid()}"
        own.write_text("")
        ahead = time.time() - own.stat().st_mtime
        return {
            "kind": "probed",
            "host": socket.gethostname(),
            "node": os.environ.get("SLURMD_NODENAME", ""),
            "devices": cuda or [f"{len(os.sched_getaffinity(0))} cores"],
            "fitness": fitness(),
            "word": seen.read_text() if seen.exists() else "",
            "locked": _locked(self.folder / "lock"),
            "first": _first(self.folder / "first"),
            "ahead": ahead,
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


def probed(cluster: Posted, seconds: float = 120.0) -> Iterator[Check]:
    """Checks of each node, by a worker there; `seconds` is how long one is waited for."""
    nodes = cluster.nodes()
    box = cluster.box = Mailbox.made(cluster.store, EVERY, cluster.device)
    word = secrets.token_hex(8)
    (box.folder / "word").write_text(word)
    lock = os.open(box.folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        for number, node in enumerate(nodes, 1):
            box.post(number, Probe(box.folder, word))
            cluster.workers |= cluster.begin(1, node)
        told: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while len(told) < len(nodes) and time.monotonic() < until:
            for _, _, event in box.words():
                told.append(event)
                yield from _judged(event, word)
            time.sleep(0.1)
        count = f"{len(told)} of {len(nodes)}"
        yield Check("nodes that answered", f"{len(nodes)} of {len(nodes)}", count, len(told) == len(nodes))
        firsts = sum(event.get("first", False) for event in told)
        yield Check("nodes that made one and the same file", "1", f"{firsts}", firsts == 1)
    finally:
        os.close(lock)
        with suppress(OSError):
            cluster.close()


def _judged(event: dict[str, Any], word: str) -> Iterator[Check]:
    if event["kind"] == "unfit":
        yield Check("a node's versions", "ours", event["why"], False)
        return
    name = event["node"] or event["host"]
    yield Check(
        f"{name}: the folder of runs", "seen", "seen" if event["word"] == word else "not", event["word"] == word
    )
    yield Check(f"{name}: {', '.join(event['devices'])}, torch", "ours", event["fitness"]["torch"], True)
    honoured = "honoured" if event["locked"] else "not: claims go by leases alone"
    yield Check(f"{name}: locks of other machines", "honoured, or not", honoured, True)
    near = abs(event["ahead"]) <= APART
    yield Check(f"{name}: its clock ahead of the folder's, s", f"at most {APART:g}", f"{event['ahead']:.1f}", near)
