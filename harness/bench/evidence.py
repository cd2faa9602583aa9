"""What the evidence costs a run."""

import threading
import time
from statistics import median
from typing import Any

import torch

from harness import Problem
from harness import train as loop
from harness.engine import settle
from harness.evidence import Trace
from harness.spec import Spec


class _Turns:
    """Two trainings of this process, a step of one and then a step of the other: the machine's load is of both."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.changed = threading.Condition()
        self.whose = 0
        self.over = [False, False]

    def pass_on(self, me: int, over: bool = False) -> None:
        with self.changed:
            self.over[me] |= over
            if not self.over[1 - me]:
                self.whose = 1 - me
            self.changed.notify_all()

    def wait(self, me: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.whose == me)

    def clock(self) -> float:
        """Seconds of this thread, on a CPU; on CUDA those until all that was asked for is done."""
        if self.device.type != "cuda":
            return time.thread_time()
        torch.cuda.synchronize()
        return time.monotonic()


class _InTurn(loop.Keeper):
    """Keeps nothing, and hands over after each batch and each epoch."""

    def __init__(self, turns: _Turns, me: int) -> None:
        self.turns, self.me, self.seconds = turns, me, 0.0
        self.turns.wait(me)
        self.began = turns.clock()

    def due(self, epoch_done: bool) -> bool:
        self.rest()
        self.turns.pass_on(self.me)
        self.turns.wait(self.me)
        self.began = self.turns.clock()
        return False

    def rest(self) -> None:
        self.seconds += self.turns.clock() - self.began


def witnessed(spec: Spec, place: str) -> tuple[float, float, int]:
    """(Seconds of a run with audits and exams, of the same without, steps audited), a step of each in turn."""
    device = settle(place)
    turns, watch = _Turns(device), loop.watch
    seconds, audits, faults = [0.0, 0.0], 0, list[BaseException]()

    def watched(spec: Spec, trace: Trace) -> None:
        nonlocal audits
        if turns.whose == 0:
            watch(spec, trace)
            assert trace.auditor
            audits = len(trace.auditor.due)

    def trained(me: int) -> None:
        try:
            settle(place)  # how many threads it may have is a thread's own
            keeper = _InTurn(turns, me)
            loop.train(spec, 0, device, _no_teacher, keeper)
            keeper.rest()
            seconds[me] = keeper.seconds
        except BaseException as fault:
            faults.append(fault)
        finally:
            turns.pass_on(me, over=True)

    loop.watch = watched
    try:
        both = [threading.Thread(target=trained, args=(me,), daemon=True) for me in (0, 1)]
        for one in both:
            one.start()
        for one in both:
            one.join()
    finally:
        loop.watch = watch
    if faults:
        raise faults[0]
    return seconds[0], seconds[1], audits


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
