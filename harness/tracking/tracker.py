"""Sends what happens to trackers while a study runs; nobody waits for them."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Problem
from harness.store import Store
from harness.tracking.database import told
from harness.tracking.mlflow import MLflow
from harness.tracking.projection import Projection
from harness.tracking.sink import Key, Sink
from harness.tracking.tensorboard import TensorBoard
from harness.tracking.wandb import Wandb

FLUSH = 2.0  # seconds between batches; a batch holds all that came since the last
KINDS: dict[str, type[Sink]] = {"mlflow": MLflow, "tensorboard": TensorBoard, "wandb": Wandb}


def again(kind: type[Sink]) -> str:
    """The command that sends what a tracker lacks."""
    word = next(word for word, known in KINDS.items() if known is kind)
    return "python -m harness.sync" + (f" --track {word}" if kind is not MLflow else "")


class Tracker:
    """Projects what happens while it happens: `see` events as the engine yields them, then `close`.

    Each tracker of `to` has a thread of its own: none of them keeps another waiting.
    """

    def __init__(
        self,
        study: str,
        titles: Mapping[str, str],
        store: Store,
        asked: Iterable[Key],
        command: str,
        label: str = "",
        to: Sequence[str] = ("mlflow",),
    ) -> None:
        self.store = store

        def projection(kind: type[Sink]) -> Projection:
            return Projection(study, titles, store, command, label, kind)

        self.senders = [_Sender(KINDS[word], projection) for word in dict.fromkeys(to)]
        self.reused(asked)

    def reused(self, keys: Iterable[Key]) -> None:
        """Those that the store has: trained for others, or while a tracker was away. It is sent what it lacks."""
        for key in keys:
            if key in self.store:
                self._put(key)

    def see(self, event: dict[str, Any]) -> None:
        spec, seed = event["run"]
        if event["kind"] == "interrupted":
            for sender in self.senders:
                sender.ended = "KILLED"
        if event["kind"] not in ("batch", "note"):
            self._put((spec.id, seed))

    def report(self, text: str, folder: Path) -> None:
        """Show what was found, as `Sink.report` is told."""
        for sender in self.senders:
            sender.shown = text, folder

    def close(self, patience: float = 15) -> str | None:
        """A line where a tracker lacks something, else None. Waits while anything moves, else `patience` seconds."""
        for sender in self.senders:
            sender.queue.put(None)
        closed = time.monotonic()
        return "; ".join(filter(None, (sender.closed(closed, patience) for sender in self.senders))) or None

    def _put(self, key: Key) -> None:
        for sender in self.senders:
            sender.queue.put(key)


class _Sender:
    """Sends to one tracker, in a thread."""

    def __init__(self, kind: type[Sink], projection: Callable[[type[Sink]], Projection]) -> None:
        self.kind = kind
        self.new = lambda: projection(kind)
        self.lacking: dict[Key, None] = {}
        self.shown: tuple[str, Path] | None = None  # a report that is still to be sent
        self.queue: queue.Queue[Key | None] = queue.Queue()
        self.problem: str | None = None  # with the tracker
        self.damaged: str | None = None  # a record, which no sending will mend
        self.remade: str | None = None  # what it keeps, and so it lacks what other studies did
        self.done = False
        self.left = False  # nobody waits any longer
        self.ended = "FINISHED"
        self.moved = time.monotonic()  # when something was last sent
        self.thread = threading.Thread(target=self._life, daemon=True)
        self.thread.start()

    def closed(self, since: float, patience: float) -> str:
        """Wait for the end; what it lacks then, in a line."""
        while self.thread.is_alive() and time.monotonic() - max(since, self.moved) < patience:
            self.thread.join(0.1)
        self.left = True
        said = []
        if self.remade:
            said.append(f"{self.kind.name}'s {self.remade}: {again(self.kind)} sends it all other runs")
        if not self.done:
            why = self.problem or "it does not answer"
            later = f"the store has them all: {again(self.kind)} sends them"
            said.append(f"{self.kind.name} at {self.kind.where()} lacks runs ({why}); {later}")
        elif self.damaged:
            said.append(f"{self.kind.name} was not sent {self.damaged}")
        return "; ".join(said)

    def _life(self) -> None:
        projection, closing = None, False
        while True:
            closing = self._collect(closing) or closing
            try:
                if not projection:
                    self.remade = self.remade or self.kind.ready()
                    projection = self.new()
                projection.sink.begin()
                for key in list(self.lacking):
                    self._send(projection, key)
                if closing and not self.lacking:
                    if self.shown:
                        projection.sink.report(*self.shown)
                        self.shown = None
                    projection.sink.close(self.ended)
                    self.done = True
                    return
            except Problem as problem:
                self.problem = str(problem)
                if closing:  # the user is to do something
                    return
            except Exception as error:
                self.problem = told(error)
            if self.left:
                return
            if closing:
                time.sleep(1)

    def _send(self, projection: Projection, key: Key) -> None:
        """Send one run. What goes wrong with it does not keep the others back."""
        try:
            projection.send(key)
        except Problem as problem:
            self.damaged = str(problem)
        except Exception as error:  # it stays in `lacking`
            self.problem = told(error)
            return
        del self.lacking[key]
        self.moved = time.monotonic()

    def _collect(self, closing: bool) -> bool:
        """Take what was seen in the next seconds, so that a batch holds several epochs; whether it was the last."""
        until = time.monotonic() + FLUSH
        while not closing:
            try:
                key = self.queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return False
            if key is None:
                return True
            self.lacking[key] = None
        return True
