"""A worker's life on another machine: take an order from the mailbox, train it, say what happens."""

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.engine.mailbox import Mailbox, Order, fitness
from harness.engine.probe import probe
from harness.engine.scheduler import Event
from harness.engine.signals import STOPS
from harness.spec import blame

NAP = 0.2  # seconds between looks for orders
FINISHED, FAILED, KEPT, TURNED_AWAY = 0, 1, 75, 78  # exit statuses: 75 is "try again", 78 "configuration", as mail has


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
        mine = fitness()
        for what, due in terms.fitness.items():
            if mine[what] != due:
                why = f"{socket.gethostname()} has {what} {mine[what] or 'unknown'}, and not {due or 'unknown'}"
                self.say(None, {"kind": "unfit", "why": why})
                print(f"harness.worker: turned away: {why}", file=sys.stderr)
                return False
        return True

    def pull(self) -> int:
        """The exit status."""
        if not self.enter():
            return TURNED_AWAY
        for number in (*STOPS, signal.SIGUSR1):
            signal.signal(number, self._ask)
        done, failed, idle = 0, False, time.monotonic()
        device = self._settled(self.box.terms.device)
        while not self.asked and not self.box.is_shut:
            try:
                order = self.box.take(self.name) if self.most is None or done < self.most else None
            except Exception as error:  # what it orders is not to be had here: its parts, or its data
                print(f"harness.worker: {blame.told(error)}", file=sys.stderr)
                self.say(None, {"kind": "unfit", "why": blame.told(error)})
                return TURNED_AWAY
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
        import torch

        from harness.engine.worker import settle

        return settle(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))

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

        end = attempt(order, store, device, say, lambda: self.asked, terms.every)
        if end["kind"] == "interrupted":
            return {"kind": "kept", "why": f"worker {self.name} on {socket.gethostname()} had to end"}
        return end
