"""How long the store, commands over it, and a report of it take."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from harness import Problem
from harness.bench.loop import own_runs, specification

RUNGS, EPOCHS = 10, 15  # of the small study that the store is measured with


class Took(NamedTuple):
    """Seconds, of a store of so many `records`; a command's with its imports."""

    records: int
    write: float  # the last of them
    verify: float  # all, by every digest
    plan: float  # what is missing of a study of all
    list: float
    report: float
    again: float  # when the runs were found whole by the report before
    memory: int  # bytes at the peak of the largest of these commands


def records(count: int) -> Iterator[Took]:
    """How long it takes with stores of up to `count` small records, of a study of ten rungs."""
    from harness import report
    from harness.spec import plain, resolved
    from harness.stats.designs import Node, Options, ladder
    from harness.store import Store
    from harness.store.care import troubles
    from harness.study import Plan, Rung, describe

    spec = specification("small", "digits", 8, 32)
    specs = [spec.but(epochs=EPOCHS + i) for i in range(RUNGS)]
    layout = ladder(RUNGS - 1, [Node(i, (i,)) for i in range(RUNGS - 1)], Options())
    rows = zip(specs, layout.rows, strict=True)
    rungs = tuple(Rung(f"rung{i}", f"rung {i}", own, row.on, row.gain) for i, (own, row) in enumerate(rows))
    tricks = tuple((rung.name, rung.title, ("epochs",)) for rung in rungs[1:])
    forms = [{"spec": plain(own), "resolved": resolved(own)} for own in specs]
    with own_runs():
        store, made = Store(), 0
        for size in sorted({RUNGS * max(2, count * share // (8 * RUNGS)) for share in (1, 2, 4, 8)}):
            began = time.monotonic()
            for number in range(made, size):
                of, seed = number % RUNGS, number // RUNGS
                with store.claim(specs[of].id, seed) as claim:
                    claim.begin(forms[of])
                    result = example(seed, of)
                    for epoch in result["epochs"]:
                        claim.note("epoch", **epoch)
                    claim.finish(result, {})
            wrote, began = (time.monotonic() - began) / (size - made), time.monotonic()
            made = size
            wrong = [line for key in store for line in troubles(store, key)]
            if wrong:
                raise Problem(wrong[0])
            verified, began = time.monotonic() - began, time.monotonic()
            plan = Plan("bench", rungs, tuple(range(size // RUNGS)), tricks=tricks)
            missing = [run for run in plan.runs() if (run[0].id, run[1]) not in store]
            planned = time.monotonic() - began
            if missing:
                raise Problem(f"{len(missing)} of {size} records are not there")
            report.remember(describe(plan, store))
            done = [command(*words) for words in (("harness.store", "list"), *[("harness.report", "bench")] * 2)]
            (listed, first, again), memory = zip(*done, strict=True)
            yield Took(size, wrote, verified, planned, listed, first, again, max(memory))


BETWEEN = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
sys.stderr.buffer.write(done.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""  # a child's peak is at least that of the process which starts it, as the system counts: a small one does


def command(*words: str) -> tuple[float, int]:
    """Seconds that a command takes, and its bytes at the peak. Raises Problem where it fails."""
    began = time.monotonic()
    between = [sys.executable, "-c", BETWEEN, sys.executable, "-m", *words]
    done = subprocess.run(between, capture_output=True, text=True)
    if done.returncode:
        raise Problem(done.stderr)
    return time.monotonic() - began, 1024 * int(done.stdout)


def example(seed: int, rung: int) -> dict[str, Any]:
    """A result as a run of the digits study leaves it."""
    rng = np.random.default_rng((seed, rung))
    right = rng.random(1200) < (90 + rung / 10 + rng.normal() / 2) / 100
    top1 = 100 * float(right.mean())
    made = [
        {"epoch": i, "loss": 1 / (i + 1), "lr": 0.1, "seconds": 1.0, "test_loss": 1.0, "top1": top1 - 10 / (i + 1)}
        for i in range(EPOCHS)
    ]
    check = {"part": "loop", "what": "loss of step 1", "expected": "2.3", "seen": "2.3", "ok": True}
    return {
        "status": "finished",
        "metrics": {"test_loss": 1.0, "top1": top1, "top5": 99.0},
        "epochs": made,
        "evidence": [check | {"what": f"check {i}"} for i in range(20)],
        "rates": [[i, 0.1] for i in range(200)],
        "seen": {},
        "params": 1000,
        "macs": 1_000_000,
        "images": {"train": 597, "test": 1200, "digest": ""},
        "precision": {"name": "FP32", "emulated": False},
        "environment": {"device_name": "none", "commit": ""},
        "seconds": 15.0,
        "seconds_per_epoch": 1.0,
        "correct": np.packbits(right).tobytes().hex(),
    }


def show_records(count: int) -> None:
    print("records   ms to write   ms to verify   ms to plan   s to list   s to report   again   MiB", flush=True)
    for took in records(count):
        each = (
            f"{1000 * took.write:14.2f}{1000 * took.verify / took.records:15.3f}{1000 * took.plan / took.records:13.3f}"
        )
        print(
            f"{took.records:7,}{each}{took.list:12.2f}{took.report:14.2f}{took.again:8.2f}{took.memory / 2**20:6.0f}",
            flush=True,
        )
