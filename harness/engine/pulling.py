"""A worker's life on another machine: take an order from the mailbox, train it, say what happens."""

import json
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness import Problem, one_line
from harness.engine.mailbox import Mailbox, Order, fitness
from harness.engine.probe import probe
from harness.engine.ranks import Beside
from harness.engine.scheduler import Event
from harness.engine.signals import STOPS
from harness.engine.slurm import called
from harness.spec import Spec, blame

NAP = 0.2  # seconds between looks for orders
GLANCE = 1.0  # seconds between looks whether a run is to be left
FINISHED, FAILED, KEPT, TURNED_AWAY = 0, 1, 75, 78  # exit statuses: 75 is "try again", 78 "configuration", as mail has


def of_job(spec: Spec, device: str | None, folder: Path) -> Beside:
    """The ranks of a run that has a job of a cluster's whole: a GPU each, or as many on each node's CPU."""
    from harness.engine.local import places

    nodes = [socket.gethostname()]
    if int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) > 1:
        nodes = called(["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]).split()
    here = places(device, None)
    if not here[0].startswith("cuda"):
        here = ["cpu"] * math.ceil(spec.places / len(nodes))
    every = [*here, *(f"{node}/{place}" for node in nodes[1:] for place in here)]
    begin = (sys.executable, "-m", "harness.worker", str(folder), "--rank")
    return Beside(tuple(every[1 : spec.places]), begin=begin, folder=folder)


@dataclass
class Puller:
    """Takes orders of `box` until there are none, at most `most` of them; `name` is how its launcher knows it."""

    box: Mailbox
    name: str
    most: int | None = None
    patience: float = 10.0  # seconds without an order
    asked: bool = field(default=False, init=False)  # to stop

    def enter(self) -> bool:
        """Set this process up as the terms say: whether it may take part, which is said where it may not."""
        terms = self.box.terms
        os.environ["HARNESS_RUNS"] = os.path.dirname(terms.store)
        sys.path[:] = [*dict.fromkeys([*terms.path, *sys.path])]
        with suppress(OSError):  # another machine need not have it
            os.chdir(terms.folder)
        mine = fitness()
        for what, due in terms.fitness.items():
            if mine[what] != due:
                why = f"{socket.gethostname()} has {what} {mine[what] or 'unknown'}, and not {due or 'unknown'}"
                self._turned_away(why)
                return False
        return True

    def pull(self) -> int:
        """The exit status."""
        if not self.enter():
            return TURNED_AWAY
        for number in (*STOPS, signal.SIGUSR1):
            signal.signal(number, self._ask)
        done, failed, idle = 0, False, time.monotonic()
        try:
            device = self._settled(self.box.terms.device)
        except Problem as problem:  # it has no such device
            return self._turned_away(str(problem))
        self.say(None, {"kind": "here"})
        while not self.asked and not self.box.is_shut:
            try:
                order = self.box.take(self.name) if self.most is None or done < self.most else None
            except Exception as error:  # what it orders is not to be had here: its parts, or its data
                return self._turned_away(blame.told(error))
            if order is None:
                if done == self.most or time.monotonic() > idle + self.patience:
                    break
                time.sleep(NAP)
                continue
            end = self._done(*order, device)
            failed = failed or end["kind"] == "failed"
            done, idle = done + 1, time.monotonic()
            if not self.say(order[0], end):  # who goes on would be believed to be still at it
                break
            if isinstance(order[1], str):  # of this node, and the next is of another
                break
        return KEPT if self.asked else FAILED if failed else FINISHED

    def join(self) -> int:
        """The life of a rank of a run that another node of this job has; what it is to do comes by standard input."""
        from harness.engine.mailbox import read
        from harness.engine.worker import follow

        order = json.loads(sys.stdin.readline())
        if not self.enter():
            return TURNED_AWAY
        run = read(order["run"])
        assert not isinstance(run, str)
        threading.Thread(target=end_with_input, daemon=True).start()
        file, root = Path(order["file"]), Path(self.box.terms.store)
        follow(Said(), order["rank"], file, True, order["place"], spec=run[0], seed=run[1], root=root)
        return FINISHED

    def _turned_away(self, why: str) -> int:
        print(f"harness.worker: turned away: {why}", file=sys.stderr)
        self.say(None, {"kind": "unfit", "why": why, "node": os.environ.get("SLURMD_NODENAME", "")})
        return TURNED_AWAY

    def say(self, order: int | None, event: Event) -> bool:
        """Whether that could be said: the launcher may be gone with its folder, or the disk full."""
        try:
            self.box.say(self.name, order, event)
        except OSError:  # the store has all that matters
            return False
        return True

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def _settled(self, device: str | None) -> object:
        from harness.engine.local import places
        from harness.engine.worker import settle

        return settle(places(device, 1)[0])

    def _stops(self, number: int) -> Callable[[], bool]:
        """Whether to leave the run of an order: this worker is to end, or the command wants that run no more."""
        looked, told = time.monotonic(), False

        def stop() -> bool:
            nonlocal looked, told
            if not told and time.monotonic() > looked + GLANCE:
                looked, told = time.monotonic(), self.box.to_stop(number)
            return self.asked or told

        return stop

    def _done(self, number: int, order: Order, device: object) -> Event:
        """Carry out an order: its end, which is still to be said."""
        from harness.engine.worker import attempt
        from harness.store import Store

        if isinstance(order, str):
            return probe(self.box.folder)
        terms = self.box.terms
        store = Store(Path(terms.store))

        def say(event: Event) -> None:
            self.say(number, event)

        beside = of_job(order[0], terms.device, self.box.folder) if order[0].ranks else Beside()
        end = attempt(order, store, device, say, self._stops(number), terms.every, beside, terms.how)
        if end["kind"] == "interrupted" and self.asked:
            return {"kind": "kept", "why": f"worker {self.name} on {socket.gethostname()} had to end"}
        return end


class Said:
    """A rank's pipe to rank 0, by standard output."""

    def send(self, why: str) -> None:
        print(one_line(why), flush=True)


def end_with_input() -> None:
    """End where rank 0 is gone: it holds this process's standard input open."""
    while os.read(0, 1024):
        pass
    os._exit(0)
