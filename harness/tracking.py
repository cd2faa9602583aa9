"""MLflow, as a projection of the store: the only room that imports it.

Experiment = study, parent run = one invocation, child run = (specification, seed). A `Tracker` works in a thread of
its own: training never waits for it, and what a slow or absent server misses is only missing there.
"""

import logging
import os
import queue
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from harness.paths import runs
from harness.spec import flat, plain, resolved
from harness.store import Record, Store
from harness.study import Plan, Run

FLUSH = 5.0  # seconds between batches of one run's epochs; a batch holds all that came since the last
LIMIT = 100  # params or tags that MLflow takes in one call
MAX_VALUE = 6000  # characters of a param's value, which MLflow would cut in silence


def default_uri() -> str:
    return f"sqlite:///{runs() / 'mlflow.db'}"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else sqlite in the folder of runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri()


def ui_command() -> str:
    """The command that opens MLflow's pages on what was logged."""
    if tracking_uri().startswith("http"):
        return f"open {tracking_uri()}"
    ui = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1"]
    return shlex.join([*ui, "--backend-store-uri", tracking_uri()])


def open_experiment(study: str) -> tuple[Any, str]:
    """(client, experiment id). Makes the database once, under a lock: two that migrate a fresh one at once fail."""
    import fcntl

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 keep a user waiting minutes
    import mlflow
    from mlflow import MlflowClient

    for name in ("mlflow", "mlflow.store.db.utils", "mlflow.system_metrics.system_metrics_monitor", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    runs().mkdir(parents=True, exist_ok=True)
    with (runs() / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(study)
        if found:
            return client, found.experiment_id
        # A database alone says nothing of artifacts, which would land in ./mlruns; a server knows its own place.
        beside = (runs() / "mlartifacts" / study).as_uri() if uri.startswith("sqlite:") else None
        return client, client.create_experiment(study, artifact_location=beside)


class Tracker:
    """`see` events as the engine yields them; `close` waits until all is logged, at most `patience` seconds."""

    def __init__(self, plan: Plan, store: Store, asked: Sequence[Run], command: str) -> None:
        self.plan, self.store, self.command = plan, store, command
        self.before = [(spec, seed) for spec, seed in asked if (spec.id, seed) in store]
        self.titles = plan.names()
        self.queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.problem: str | None = None
        self.thread = threading.Thread(target=self._life, daemon=True)
        self.thread.start()

    def see(self, event: dict[str, Any]) -> None:
        self.queue.put(event)

    def close(self, patience: float = 60) -> str | None:
        """What went wrong with MLflow, in a line; None where all is logged."""
        self.queue.put(None)
        self.thread.join(patience)
        return "MLflow did not answer in time" if self.thread.is_alive() else self.problem

    def _life(self) -> None:
        try:
            self._project()
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self.problem = f"MLflow at {tracking_uri()} stopped taking runs ({text}); the store has them all"

    def _project(self) -> None:
        self.client, self.experiment = open_experiment(self.plan.study)
        self.parent = self.client.create_run(
            self.experiment,
            run_name=f"{self.plan.study} {time.strftime('%Y-%m-%d %H:%M:%S')}",
            tags={"command": self.command, "mlflow.source.name": "harness.ablate", "mlflow.source.type": "LOCAL"},
        ).info.run_id
        monitor = self._monitor()
        children: dict[tuple[str, int], _Child] = {}
        known = self._known()
        for spec, seed in self.before:  # runs of other studies, or of a time without MLflow
            if (spec.id, seed) not in known:
                self._child(spec, seed).finish(self.store.read(spec.id, seed))
        while event := self.queue.get():
            spec, seed = event["run"]
            key = spec.id, seed
            match event["kind"]:
                case "started":
                    children[key] = self._child(spec, seed)
                case "epoch":
                    children[key].epoch(event["at"])
                case "finished":
                    children.pop(key).finish(self.store.read(*key))
                case "failed" if key in children:
                    refused = self.store.refused(*key) if "REFUSED" in event["why"] else None
                    child = children.pop(key)
                    child.finish(refused) if refused else child.fail(event["why"])
        for child in children.values():
            child.end("KILLED")
        if monitor:
            monitor.finish()
        self.client.set_terminated(self.parent, "KILLED" if children else "FINISHED")

    def _monitor(self) -> Any:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(self.parent, sampling_interval=5)
        monitor.start()
        return monitor

    def _known(self) -> set[tuple[str, int]]:
        """The runs whose child in this experiment is complete."""
        found: set[tuple[str, int]] = set()
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], "tags.complete = 'yes'", max_results=1000, page_token=token
            )
            found |= {(run.data.tags["spec_id"], int(run.data.tags["seed"])) for run in page}
            token = page.token
            if not token:
                return found

    def _child(self, spec: Any, seed: int) -> "_Child":
        title = self.titles[spec.id]
        tags = {
            "mlflow.parentRunId": self.parent,
            "spec_id": spec.id,
            "seed": str(seed),
            "rung": title,
            "study": self.plan.study,
        }
        run = self.client.create_run(self.experiment, tags=tags, run_name=f"{title}, seed {seed}")
        return _Child(self.client, run.info.run_id, spec)


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


class _Child:
    """One (specification, seed) in MLflow. Each epoch's metrics are sent once, and together."""

    def __init__(self, client: Any, run_id: str, spec: Any) -> None:
        from mlflow.entities import Param

        self.client, self.run_id, self.spec = client, run_id, spec
        self.waiting: list[dict[str, Any]] = []
        self.sent, self.last = 0, time.monotonic()
        params = [Param(k, str(v)[:MAX_VALUE]) for k, v in flat(resolved(spec)).items()]
        for chunk in _chunks(params, LIMIT):
            client.log_batch(run_id, params=chunk)
        client.log_dict(run_id, plain(spec), "spec.json")

    def epoch(self, event: dict[str, Any]) -> None:
        self.waiting.append(event)
        if time.monotonic() - self.last > FLUSH:
            self._send()

    def _send(self) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), int(event["time"] * 1000), event["epoch"])
            for event in self.waiting
            for name, value in event.items()
            if name not in ("epoch", "time")
        ]
        for chunk in _chunks(metrics, 1000):
            self.client.log_batch(self.run_id, metrics=chunk)
        self.sent, self.last = self.sent + len(self.waiting), time.monotonic()
        self.waiting = []

    def finish(self, record: Record) -> None:
        """Send what is left of a finished run: epochs, totals, tags, the data, and artifacts."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

        self.waiting = record["epochs"][self.sent :]
        self._send()
        environment, images = record["environment"], record["images"]
        totals = {name: record[name] for name in ("params", "macs", "seconds", "seconds_per_epoch", "peak_memory")}
        stamp = int(record["finished"] * 1000)
        tags = {
            "status": record["status"],
            "precision": record["precision"]["name"] + (" (emulated)" if record["precision"]["emulated"] else ""),
            "mlflow.source.git.commit": environment["commit"],
            **{name: str(value) for name, value in environment.items() if name != "commit"},
            **{f"evidence.{i}": f"{c['part']}: {c['what']}: {c['seen']}" for i, c in enumerate(record["evidence"])},
            "complete": "yes",
        }
        data = self.spec.data
        dataset = Dataset(
            name=type(data).__name__,
            digest=images["digest"],
            source_type="local",
            source=str(getattr(data, "root", "scikit-learn")),
            profile=f'{{"train": {images["train"]}, "test": {images["test"]}}}',
        )
        contexts = [InputTag("mlflow.data.context", "training and test")]
        self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, contexts)])
        columns = list(record["epochs"][0])
        lines = [",".join(columns), *(",".join(str(e[c]) for c in columns) for e in record["epochs"])]
        self.client.log_text(self.run_id, "\n".join(lines) + "\n", "curves.csv")
        self.client.log_dict(self.run_id, environment, "environment.json")
        self.client.log_dict(self.run_id, record["evidence"], "evidence.json")
        metrics = [Metric(name, float(value), stamp, 0) for name, value in totals.items()]
        self.client.log_batch(self.run_id, metrics=metrics, tags=[RunTag(k, str(v)[:5000]) for k, v in tags.items()])
        self.end("FINISHED" if record["status"] == "finished" else "FAILED")

    def fail(self, why: str) -> None:
        self.client.set_tag(self.run_id, "why", why[:5000])
        self.end("FAILED")

    def end(self, status: str) -> None:
        self._send()
        self.client.set_terminated(self.run_id, status)
