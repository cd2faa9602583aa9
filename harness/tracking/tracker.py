"""Sends what happens to MLflow while a study runs; nobody waits for it."""

import queue
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from harness import Problem
from harness.store import Store
from harness.tracking.database import ready, shown_uri, told
from harness.tracking.projection import Key, Projection

FLUSH = 2.0  # seconds between batches; a batch holds all that came since the last


class Tracker:
    """Projects what happens while it happens: `see` events as the engine yields them, then `close`."""

    def __init__(self, study: str, titles: Mapping[str, str], store: Store, asked: Iterable[Key], command: str) -> None:
        self.new = lambda: Projection(study, titles, store, command)
        self.store = store
        self.lacking: dict[Key, None] = {}
        self.queue: queue.Queue[Key | None] = queue.Queue()
        self.reused(asked)
        self.problem: str | None = None  # with MLflow
        self.damaged: str | None = None  # a record, which no sending will mend
        self.remade: str | None = None  # our database, and so it lacks what other studies did
        self.done = False
        self.ended = "FINISHED"
        self.moved = time.monotonic()  # when something was last sent
        self.thread = threading.Thread(target=self._life, daemon=True)
        self.thread.start()

    def reused(self, keys: Iterable[Key]) -> None:
        """Of these the store's, which were trained for others, or while MLflow was away, are sent if it lacks them."""
        for key in keys:
            if key in self.store:
                self.queue.put(key)

    def see(self, event: dict[str, Any]) -> None:
        spec, seed = event["run"]
        if event["kind"] == "interrupted":
            self.ended = "KILLED"
        if event["kind"] not in ("batch", "note"):
            self.queue.put((spec.id, seed))

    def close(self, patience: float = 15) -> str | None:
        """A line where MLflow lacks something, else None. Waits while anything moves, else `patience` seconds."""
        self.queue.put(None)
        closed = time.monotonic()
        while self.thread.is_alive() and time.monotonic() - max(closed, self.moved) < patience:
            self.thread.join(0.1)
        said = []
        if self.remade:
            said.append(f"MLflow's {self.remade}: python -m harness.sync sends it all other runs")
        if not self.done:
            why = self.problem or "it does not answer"
            later = "the store has them all: python -m harness.sync sends them"
            said.append(f"MLflow at {shown_uri()} lacks runs ({why}); {later}")
        elif self.damaged:
            said.append(f"MLflow was not sent {self.damaged}")
        return "; ".join(said) or None

    def _life(self) -> None:
        projection, monitor, closing = None, None, False
        while True:
            closing = self._collect(closing) or closing
            try:
                if not projection:
                    self.remade = self.remade or ready()
                    projection = self.new()
                monitor = monitor or _monitor(projection.parent)
                for key in list(self.lacking):
                    self._send(projection, key)
                if closing and not self.lacking:
                    monitor.finish()
                    projection.client.set_terminated(projection.parent, self.ended)
                    self.done = True
                    return
            except Problem as problem:
                self.problem = str(problem)
                if closing:  # the user is to do something
                    return
            except Exception as error:
                self.problem = told(error)
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


def _monitor(run_id: str) -> Any:
    """MLflow's system metrics, on the run of an invocation."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=5)
    monitor.start()
    return monitor
