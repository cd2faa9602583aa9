"""How the store bears many processes at once: each claims runs, finishes them, and passes over what others hold."""

import multiprocessing
import os
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.bench.records import example
from harness.store import Held, Store, spec_hash

RUNS = 8  # of each process
FORMS = {"spec": {}, "resolved": {"name": "bench"}}
SPEC = spec_hash(FORMS["resolved"])
CALLS = (
    *("open", "stat", "lstat", "mkdir", "rename", "replace", "unlink", "link", "listdir", "scandir"),
    *("fsync", "ftruncate", "pwrite", "pread"),
)


def take(store: Store, seed: int) -> str:
    """Finish a run, where nobody has it: what became of it."""
    try:
        with store.claim(SPEC, seed) as claim:
            if (SPEC, seed) in store:
                return "there"
            claim.begin(FORMS)
            claim.finish(example(seed, 0), {})
            return "finished"
    except Held:
        return "held"


def work(folder: Path, seeds: range, ready: Any, told: Any) -> None:
    store, found, seconds = Store(folder), Counter[str](), 0.0
    ready.wait()
    for seed in seeds:
        began = time.monotonic()
        found[take(store, seed)] += 1
        seconds += time.monotonic() - began
    told.put((found, seconds))


def claims(processes: int, same: bool) -> tuple[Counter[str], float, float]:
    """What became of claims, seconds that all took, and mean seconds of one; of own runs, or all of the same."""
    context = multiprocessing.get_context("fork")  # a thousand imports of torch would be the measurement
    ready, told = context.Barrier(processes + 1), context.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        ranges = [range(RUNS) if same else range(i * RUNS, (i + 1) * RUNS) for i in range(processes)]
        every = [context.Process(target=work, args=(Path(folder), own, ready, told)) for own in ranges]
        for process in every:
            process.start()
        ready.wait()
        began = time.monotonic()
        heard = [told.get() for _ in every]
        took = time.monotonic() - began
        for process in every:
            process.join()
    found = sum((each for each, _ in heard), Counter[str]())
    return found, took, sum(seconds for _, seconds in heard) / found.total()


@contextmanager
def counted() -> Any:
    """Calls of the file system by `os` meanwhile, by name; a file's own reads and writes are not among them."""
    calls, kept = Counter[str](), {name: getattr(os, name) for name in CALLS}

    def counting(name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return kept[name](*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, counting(name))
    try:
        yield calls
    finally:
        for name, own in kept.items():
            setattr(os, name, own)


def show_claims(most: int) -> None:
    import torch

    torch.set_num_threads(1)  # a fork has none of its parent's threads
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
        store = Store(Path(folder))
        take(store, 0)
        for seed, what in ((1, "a run that is finished"), (1, "one that is there")):
            with counted() as calls:
                take(store, seed)
            print(f"{what}: {calls.total()} calls, {', '.join(f'{n} {name}' for name, n in calls.most_common())}")
    print(f"{'processes':>9}{'runs':>8}{'finished':>10}{'there':>8}{'held':>7}{'ms a claim':>12}{'claims/s':>10}")
    for processes in sorted({max(1, most >> shift) for shift in range(4)}):
        for same in (False, True):
            found, took, mean = claims(processes, same)
            row = (
                f"{processes:9}{'same' if same else 'own':>8}{found['finished']:10}{found['there']:8}{found['held']:7}"
            )
            print(f"{row}{1000 * mean:12.2f}{found.total() / took:10.0f}", flush=True)
