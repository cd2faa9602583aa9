"""What the evidence costs a run."""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from harness import Problem
from harness.spec import Spec


def witnessed(spec: Spec, place: str, rounds: int) -> Iterator[tuple[float, float, int]]:
    """(Seconds of this process for a run with audits and exams, for one without, steps audited), in turn."""
    import torch

    from harness import train as loop
    from harness.engine import settle
    from harness.evidence import Trace

    device = settle(place)
    watch, audits = loop.watch, 0

    def timed(watching: bool) -> float:
        def counted(spec: Spec, trace: Trace) -> None:
            nonlocal audits
            watch(spec, trace)
            audits = len(trace.auditor.due)

        loop.watch = counted if watching else lambda spec, trace: None
        try:
            began = time.process_time() if device.type == "cpu" else time.monotonic()
            loop.train(spec, 0, device, _no_teacher)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return (time.process_time() if device.type == "cpu" else time.monotonic()) - began
        finally:
            loop.watch = watch

    timed(True)  # caches are cold
    for number in range(rounds):
        first = number % 2 == 0
        one, other = timed(first), timed(not first)
        yield (one, other, audits) if first else (other, one, audits)


def _no_teacher(spec: Spec) -> Any:
    raise Problem("what evidence costs is measured of a specification without a teacher")


def show_evidence(spec: Spec, place: str, steps: int, rounds: int) -> None:
    a_epoch = spec.data.load().counts["train"] // spec.batch_size
    spec = spec.but(epochs=-(-steps // a_epoch))
    print(f"{spec.epochs * a_epoch:,} steps of {spec.batch_size} images, {spec.epochs} epochs")
    print(f"{'with evidence':>14}{'without':>12}{'cost':>9}{'audits':>8}", flush=True)
    costs = []
    for with_it, without, audits in witnessed(spec, place, rounds):
        costs.append(with_it / without - 1)
        print(f"{with_it:12.1f} s{without:10.1f} s{costs[-1]:9.2%}{audits:8}", flush=True)
    print(f"median cost of evidence: {median(costs):.2%} of training and evaluation")
