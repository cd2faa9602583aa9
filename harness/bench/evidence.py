"""What the evidence costs a run."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from harness import Problem
from harness.spec import Spec


def witnessed(spec: Spec, place: str) -> tuple[float, float, int]:
    """(Seconds of a run with audits and exams, of the same without, steps audited).

    Each is trained by a process of its own, a step of one and then a step of the other: the machine's load is of both.
    """
    context = multiprocessing.get_context("spawn")
    ends: list[Connection] = []
    processes = []
    for watching in (True, False):
        end, other = context.Pipe()
        process = context.Process(target=_trained, args=(spec, place, watching, other), daemon=True)
        process.start()
        other.close()
        ends.append(end)
        processes.append(process)
    found: dict[Connection, tuple[float, int]] = {}
    for end in ends:
        end.recv()  # it is ready
    while len(found) < len(ends):
        for end in (end for end in ends if end not in found):
            end.send("go")
            try:
                told = end.recv()
            except EOFError:
                raise Problem("a training that was measured died: run it once by harness.check to see why") from None
            if told is not None:
                found[end] = told
    for process in processes:
        process.join()
    (with_it, audits), (without, _) = (found[end] for end in ends)
    return with_it, without, audits


def _trained(spec: Spec, place: str, watching: bool, end: Connection) -> None:
    """Train in turn, and say the seconds and the audits at the end."""
    import torch

    from harness import train as loop
    from harness.engine import settle
    from harness.evidence import Trace

    device, watch, audits = settle(place), loop.watch, 0

    def clock() -> float:  # of this process, on a CPU; on CUDA until all that was asked for is done
        if device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize()
        return time.monotonic()

    def watched(spec: Spec, trace: Trace) -> None:
        nonlocal audits
        if watching:
            watch(spec, trace)
            assert trace.auditor
            audits = len(trace.auditor.due)

    class InTurn(loop.Keeper):
        seconds = began = 0.0

        def wait(self) -> None:
            end.recv()
            self.began = clock()

        def rest(self) -> None:
            self.seconds += clock() - self.began

        def due(self, epoch_done: bool) -> bool:
            self.rest()
            end.send(None)
            self.wait()
            return False

    spec.data.load()
    loop.watch = watched
    keeper = InTurn()
    end.send(None)
    keeper.wait()
    loop.train(spec, 0, device, _no_teacher, keeper)
    keeper.rest()
    end.send((keeper.seconds, audits))


def _no_teacher(spec: Spec) -> Any:
    raise Problem("what evidence costs is measured of a specification without a teacher")


def show_evidence(spec: Spec, place: str, steps: int, rounds: int) -> None:
    a_epoch = spec.data.load().counts["train"] // spec.batch_size
    spec = spec.but(epochs=-(-steps // a_epoch))
    print(f"{spec.epochs * a_epoch:,} steps of {spec.batch_size} images, {spec.epochs} epochs; a step of each in turn")
    print(f"{'with evidence':>14}{'without':>12}{'cost':>9}{'audits':>8}", flush=True)
    costs = []
    for _ in range(rounds):
        with_it, without, audits = witnessed(spec, place)
        costs.append(with_it / without - 1)
        print(f"{with_it:12.1f} s{without:10.1f} s{costs[-1]:9.2%}{audits:8}", flush=True)
    print(f"median cost of evidence: {median(costs):.2%} of training and evaluation")
