"""What a node of a cluster is like, told by a worker on it: versions, devices, whether it shares our folder."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from harness.engine.mailbox import Mailbox
from harness.engine.posted import Posted
from harness.evidence import Check
from harness.store import EVERY


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
            box.post(number, word)
            cluster.workers |= cluster.begin(1, node)
        told: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while len(told) < len(nodes) and time.monotonic() < until:
            for _, _, event in (word for word in box.words() if word[2]["kind"] != "here"):
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
    seen = event["word"] == word
    yield Check(f"{name}: the folder of runs", "seen", "seen" if seen else "not", seen)
    yield Check(f"{name}: {', '.join(event['devices'])}, torch", "ours", event["fitness"]["torch"], True)
    honoured = "honoured" if event["locked"] else "not: a death there is noticed after a lease, and not at once"
    yield Check(f"{name}: locks of other machines", "honoured, or not", honoured, True)
    for what, ok, found in event["folder"]:
        yield Check(f"{name}: {what}", "as the store assumes", found, ok)
