"""Faults of a Ray of several nodes on this machine: each is a program in a network of its own."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer

from harness.engine import Engine
from harness.engine.ray import Ray
from harness.store import Store, lease
from tests.faults import Outcome, fault
from tests.faults.cluster import RUNS, redone_in
from tests.faults.storage import assert_whole, one_line, undisturbed
from tests.kit.rays import Rays, within

LEASE = 5.0  # seconds
AWAY = 60  # seconds: a node is dead to Ray, and its lease another's
Act = Callable[[Rays, int], Timer | None]  # on the cluster, and the process that trains the first run; what mends it


def told(name: str, folder: Path, times: int) -> Outcome:
    return Outcome(**within("tests.faults.rays", name, str(folder), str(times), HARNESS_LEASE=str(LEASE)))


@fault(quick=0, full=2)
def a_node_of_Ray_is_killed(folder: Path, times: int, seed: int) -> Outcome:
    return told("killed", folder, times)


@fault(quick=0, full=2)
def a_node_of_Ray_is_frozen_and_comes_back(folder: Path, times: int, seed: int) -> Outcome:
    return told("frozen", folder, times)


@fault(quick=0, full=2)
def the_network_to_a_node_of_Ray_is_cut(folder: Path, times: int, seed: int) -> Outcome:
    return told("cut", folder, times)


def killed(rays: Rays, worker: int) -> None:
    daemon = rays.daemon(worker)
    os.kill(worker, signal.SIGKILL)
    daemon.kill()
    daemon.wait()  # a raylet that nobody waited for lets its worker train on


def frozen(rays: Rays, worker: int) -> Timer:
    node = worker, rays.daemon(worker).pid
    for pid in node:
        os.kill(pid, signal.SIGSTOP)

    def back() -> None:
        for pid in node:
            os.kill(pid, signal.SIGCONT)

    return Timer(AWAY, back)


def cut(rays: Rays, worker: int) -> Timer:
    assert rays.wire
    rays.wire.cut()
    return Timer(AWAY, rays.wire.mend)


def survived(name: str, folder: Path, times: int) -> Outcome:
    """Three runs on three nodes, while `name` befalls the node of the run that is first at an epoch's end."""
    act: Act = {"killed": killed, "frozen": frozen, "cut": cut}[name]
    said, redone = [], 0
    for time_ in range(times):
        store = Store(folder / str(time_) / "store")
        with Rays(1, wired=True) if name == "cut" else Rays(3) as rays:
            launcher = Ray(store, 2, every=0.0, head=rays.address)
            engine, done, mend = Engine(store, ["ray"] * 2, launcher=launcher), False, None
            for event in engine.events(RUNS):
                assert event["kind"] != "failed", event
                said += [event["text"]] if event["kind"] == "note" else []
                if event["kind"] == "epoch" and not done:
                    done = True
                    spec, seed = event["run"]
                    holder = lease.holder(store.folder(spec.id, seed))
                    assert holder
                    if mend := act(rays, int(holder.pid)):
                        mend.start()
            if mend:
                mend.join()
                time.sleep(2)  # who was away finds out, and enters nothing
        for spec, seed in RUNS:
            assert_whole(store, (spec.id, seed), undisturbed(spec, seed)[0])
            redone += redone_in(store, spec.id, seed)
    line = next((text for text in said if "is taken up again" in text), None)
    assert line is not None, said
    return Outcome(times, 0, redone, one_line(line))


if __name__ == "__main__":
    print(json.dumps(vars(survived(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))))
