"""Other processes that look runs through beside this one, where many are to be looked through.

They are told the runs on their standard input, and tell what they saw, a line a share, on their standard output. So a
script that asks for a report is not run again by them, as it would be by `multiprocessing`, and nothing is forked.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from harness.store import Store

Key = tuple[str, int]
Look = tuple[str, list[str]]  # a run's files as they were, see `care.as_it_is`, and what is wrong with them
UNSEEN: Look = ("", [])
MANY, SHARE = 10_000, 200  # runs: for fewer another process does not pay; and those that one tells of at a time
MOST = 7  # other processes: a disk that is shared has no use for more


@contextmanager
def helped(store: Store, keys: Sequence[Key], life: str) -> Iterator[Callable[[Key], Look]]:
    """What gives another process's look at a run; `UNSEEN` where none has come to it, and whoever asks has to look.

    They begin with the last runs, and who asks with the first: where they meet, all are looked through. `life` is the
    code that they run: it calls `tell`.
    """
    count = min(MOST, len(os.sched_getaffinity(0)) - 1) if len(keys) >= MANY else 0
    others: list[Other] = []
    try:
        with suppress(OSError):  # of one that cannot be begun the others do without
            others.extend(Other(store, keys[number::count], life) for number in range(count))
        yield lambda key: next((look for look in (other.saw(key) for other in others) if look), UNSEEN)
    finally:
        for other in others:
            other.end()


class Other:
    """A process of that `life` that looks through `keys`, the last first."""

    def __init__(self, store: Store, keys: Sequence[Key], life: str) -> None:
        self.seen: dict[Key, Look] = {}
        told = json.dumps([str(store.root), sorted(store.hidden), keys[::-1]]).encode()
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        words = [sys.executable, "-P", "-c", life]  # it finds the modules that this process finds, and no others
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        own = {**os.environ, "PYTHONPATH": paths}
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=nowhere, env=own)
        self.listening = Thread(target=self._listen, args=(told,), daemon=True)
        self.listening.start()

    def _listen(self, told: bytes) -> None:
        asks, tells = self.process.stdin, self.process.stdout
        assert asks
        assert tells
        with suppress(OSError, ValueError):  # it was killed: what it has not told is not seen
            with asks:
                asks.write(told)
            for line in tells:
                self.seen.update(((spec_id, seed), (now, wrong)) for spec_id, seed, now, wrong in json.loads(line))

    def saw(self, key: Key) -> Look | None:
        """Its look at a run. Once one is asked for that it has come to, it is over: who asks has done those before."""
        look = self.seen.pop(key, None)
        if look:
            self.process.kill()
        return look

    def end(self) -> None:
        self.process.kill()
        self.listening.join()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


def tell(look: Callable[[Store, Key], Look]) -> None:
    """The life of such a process, that looks at runs so."""
    root, hidden, keys = json.loads(sys.stdin.buffer.read())
    store = Store(Path(root), map(tuple, hidden))
    for start in range(0, len(keys), SHARE):
        print(json.dumps([(*key, *look(store, tuple(key))) for key in keys[start : start + SHARE]]), flush=True)
