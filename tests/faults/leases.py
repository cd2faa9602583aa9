"""Faults of holding a run: a holder that pauses for too long, and machines that have no lock in common."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.store import Store, lease
from tests.faults import Outcome, fault
from tests.faults.commands import FORKS
from tests.faults.storage import Home, assert_once, notes, one_line, undisturbed
from tests.faults.victim import BATCHES, ENDS, HANGS, SHORT, SPEC, Event, contender, start
from tests.kit.mounts import mounted_twice

T = 0.1  # seconds of a lease that is to run out


class Named:
    """Stands for `socket` in another machine."""

    def __init__(self, name: str) -> None:
        self.gethostname = lambda: name


def as_on(name: str, seconds: float = T) -> None:
    """Make this process one of another machine."""
    os.environ["HARNESS_LEASE"] = str(seconds)
    lease.kernel = lambda: name  # type: ignore[assignment]
    lease.socket = Named(name)  # type: ignore[assignment]


def rest(connection: Any) -> list[Event]:
    """What a worker says until its attempt has ended."""
    said: list[Event] = []
    while not said or said[-1]["kind"] not in ENDS:
        assert connection.poll(HANGS), f"silent for {HANGS:g} s after {said}"
        said.append(connection.recv())
    connection.close()
    return said


def struck(home: Home, batches: int, harm: Callable[[], None], number: int) -> tuple[Any, Any]:
    """A worker that trains the run, and was sent a signal when it had begun so many batches."""
    process, connection = start(home.store, home.runs[0], harm=harm)
    count, ends = home.folder / "batches-0", time.monotonic() + HANGS
    while not count.exists() or count.stat().st_size < batches:
        assert time.monotonic() < ends
        if connection.poll(0.001):
            connection.recv()
    os.kill(process.pid, number)
    return process, connection


@fault(quick=1, full=60)
def lease_stolen_from_a_paused_holder(folder: Path, times: int, seed: int) -> Outcome:
    """It wakes while another trains the run or after that, and stops at the next thing that it would keep."""
    rng = random.Random(seed)
    seconds = undisturbed(SPEC, 0)[1]
    redone, injected, message, ends = 0, 0, "", time.monotonic() + 5 * HANGS
    while injected < times:
        assert time.monotonic() < ends + times
        home = Home(folder / str(time.monotonic_ns()))
        batches = rng.randrange(1, BATCHES - 2)
        process, connection = struck(home, batches, partial(as_on, "node7"), signal.SIGSTOP)
        time.sleep(T * lease.UNHEARD + 0.1)
        woken = threading.Timer(rng.uniform(0, 1.5) * seconds, os.kill, (process.pid, signal.SIGCONT))
        woken.start()
        taken = home.attempt()[-1]["kind"] == "finished"
        woken.join()
        said = rest(connection)
        process.join()
        if not taken:  # on a busy machine it woke before anybody had asked for its run
            assert said[-1]["kind"] == "finished", said
            continue
        injected += 1
        assert said[-1]["kind"] == "held", said
        message = notes(said)[-1]
        assert message.endswith("took this run over: nothing of this attempt enters"), message
        redone += home.redone(3)  # the one that it was at, the next, and the one that was lost of its last checkpoint
    return Outcome(times, 0, redone, message)


@fault(quick=0, full=30)
def two_machines_without_a_common_lock(folder: Path, times: int, seed: int) -> Outcome:
    """Two mounts of one folder. A machine dies in mid-run, and the other waits for its lease; then both ask at once."""
    rng = random.Random(seed)
    with mounted_twice(folder) as mounts:
        redone, message = 0, ""
        for number in range(times):
            one, two = Home(mounts[0] / str(number)), Home(mounts[1] / str(number), taught=False)
            process, _ = struck(one, rng.randrange(1, BATCHES - 2), partial(as_on, "node7", 0.5), signal.SIGKILL)
            process.join()
            said = two.attempt(harm=partial(as_on, "node8"))
            assert said[-1] == {"kind": "held", "pid": f"{process.pid} on node7"}
            ends = time.monotonic() + HANGS
            while said[-1]["kind"] == "held":
                assert time.monotonic() < ends
                said = two.attempt(harm=partial(as_on, "node8"))
            one.go_on()
            redone += one.redone(1)
        message = _at_once(mounts, folder / "shared", 2)
    return Outcome(times, 0, redone, message)


def machine(name: str, *asked: Any) -> None:
    as_on(name, 5.0)
    contender(*asked)


def _at_once(mounts: tuple[Path, Path], shared: Path, rounds: int) -> str:
    runs, barrier, message = [(SHORT, 0), (SHORT, 1)], FORKS.Barrier(2), ""
    pipes = [FORKS.Pipe() for _ in mounts]
    processes = [
        FORKS.Process(target=machine, args=(f"node{7 + n}", barrier, pipes[n][1], mounts[n], runs, rounds))
        for n in range(2)
    ]
    for process in processes:
        process.start()
    for process, (ours, _) in zip(processes, pipes, strict=True):
        assert ours.poll(HANGS)
        for _, text in ours.recv():
            message = one_line(text)
        process.join()
    for number in range(rounds):
        store = Store(shared / str(number))
        assert set(store) == {(spec.id, n) for spec, n in runs}
        for spec, n in runs:
            assert_once(store, (spec.id, n), undisturbed(spec, n)[0])
    return message
