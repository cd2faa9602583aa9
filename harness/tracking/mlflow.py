"""MLflow: experiment = study, parent run = one invocation, child run = (specification, seed)."""

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from inspect import signature
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import file_name, one_line
from harness.spec import UNPROVEN, flat
from harness.tracking.database import open_experiment, ready, shown_uri, ui_command
from harness.tracking.sink import Sink, Told, one_at_a_time, pictures, shown

LIMIT = 100  # params or tags that MLflow takes in one call
MAX_PARAM, MAX_TAG = 6000, 5000  # characters of a value, where MLflow would cut in silence or refuse


class MLflow(Sink):
    name = "MLflow"

    def __init__(self, study: str, label: str, command: str) -> None:
        super().__init__(study, label, command)
        self.client, self.experiment = open_experiment(file_name(study))
        found = self._search("tags.record != ''")
        times = Counter(run.data.tags["record"] for run in found)
        alone = [run for run in found if times[run.data.tags["record"]] == 1]
        self.children = {run.data.tags["record"]: _Child(self.client, run) for run in alone}
        self.monitor: Any = None

    @classmethod
    def ready(cls, thorough: bool = False) -> str | None:
        return ready(thorough)

    @classmethod
    def where(cls) -> str:
        return shown_uri()

    @classmethod
    def hint(cls, study: str) -> str:
        return f"{ui_command()}\nthere: Model training, experiment {study}, Training runs"

    @cached_property
    def parent(self) -> str:
        """The id of this invocation's run, made when it is first wanted."""
        name = f"{self.study} {time.strftime('%Y-%m-%d %H:%M:%S')}"
        tags = {
            "command": shown(self.command, MAX_TAG),
            "label": one_line(self.label, MAX_TAG),
            "mlflow.source.name": "harness",
            "mlflow.source.type": "LOCAL",
        }
        run_id: str = self.client.create_run(self.experiment, run_name=one_line(name, 250), tags=tags).info.run_id
        return run_id

    def begin(self) -> None:
        if self.monitor is None:
            self.monitor = _monitor(self.parent)

    def send(self, told: Told) -> bool:
        child = self.children.get(told.born) or self._child(told)
        with one_at_a_time():  # of two that set one tag at the same moment a database refuses one
            return child.catch_up(told)

    def report(self, text: str, folder: Path) -> None:
        self.client.log_text(self.parent, text, "table.md")
        for path in pictures(folder):
            self.client.log_artifact(self.parent, str(path))
        brief = text if len(text) <= MAX_TAG else "The table is long: it is the artifact table.md."
        self.client.set_tag(self.parent, "mlflow.note.content", brief)  # what its page shows as the description

    def register(self, born: str, model: Any, name: str) -> str:
        """Put a trained network into MLflow's registry, as the model `name`, from its run; says which version it is.

        `mlflow.pytorch.load_model("models:/NAME/VERSION")` gives it where the harness is installed.
        """
        import mlflow.pytorch
        import torch
        from mlflow.exceptions import MlflowException

        run_id = self.children[born].run_id
        with TemporaryDirectory() as folder:
            made = Path(folder) / "model"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                needed: dict[str, Any] = {"pip_requirements": ["ablation-harness", f"torch=={torch.__version__}"]}
                if "serialization_format" in signature(mlflow.pytorch.save_model).parameters:
                    needed["serialization_format"] = "pickle"
                mlflow.pytorch.save_model(model, str(made), **needed)
            self.client.log_artifacts(run_id, str(made), "model")
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
        version = self.client.create_model_version(name, source, run_id, await_creation_for=0).version
        return f"registered as models:/{name}/{version} in MLflow at {self.where()}"

    def close(self, ended: str = "FINISHED") -> None:
        if self.monitor is not None:
            self.monitor.finish()
            self.monitor = None
        if "parent" in vars(self):
            self.client.set_terminated(self.parent, ended)

    def _search(self, text: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment], text, max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _child(self, told: Told) -> "_Child":
        with one_at_a_time():
            if not self._search(f"tags.record = '{told.born}'"):
                self._made(told)
            run, *twins = self._search(f"tags.record = '{told.born}'")  # a lost answer made MLflow ask, and make, twice
            for twin in twins:
                self.client.delete_run(twin.info.run_id)
        self.children[told.born] = _Child(self.client, run)
        return self.children[told.born]

    def _made(self, told: Told) -> None:
        tags = {
            "mlflow.parentRunId": self.parent,
            "record": told.born,
            "spec_id": told.key[0],
            "seed": str(told.key[1]),
            "rung": one_line(told.title, MAX_TAG),
            "study": one_line(told.study, MAX_TAG),
            "label": one_line(self.label, MAX_TAG),
        }
        self.client.create_run(self.experiment, tags=tags, run_name=told.name)


def _monitor(run_id: str) -> Any:
    """MLflow's system metrics, on the run of an invocation."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=5)
    monitor.start()
    return monitor


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


class _Child:
    """One (specification, seed) in MLflow."""

    def __init__(self, client: Any, run: Any) -> None:
        self.client, self.run_id = client, run.info.run_id
        self.status, self.complete = run.info.status, run.data.tags.get("complete") == "yes"
        self.described = run.data.tags.get("described") == "yes"
        self.steps: set[int] | None = None  # the epochs that are there; None where that must be asked

    def catch_up(self, told: Told) -> bool:
        """Send what is missing; whether anything was."""
        if self.complete:
            return False
        if not self.described:
            self._describe(told.forms)
        sent = self._epochs(told)
        if told.record:
            self._finish(told)
        return self._end(told.status, told.why) or bool(sent or told.record)

    def _describe(self, forms: Any) -> None:
        from mlflow.entities import Param

        self.client.log_dict(self.run_id, forms["spec"], "spec.json")
        params = [Param(name, shown(value, MAX_PARAM)) for name, value in flat(forms["resolved"]).items()]
        for chunk in _chunks(params, LIMIT):
            self.client.log_batch(self.run_id, params=chunk)
        if forms["spec"].get("data", {}).get("blind"):
            self.client.set_tag(self.run_id, "scored_on", "training images held out")  # not the test set, as others are
        self.client.set_tag(self.run_id, "described", "yes")
        self.described = True

    def _epochs(self, told: Told) -> int:
        from mlflow.entities import Metric

        if self.steps is None:
            self.steps = {metric.step for metric in self.client.get_metric_history(self.run_id, "loss")}
        new = [step for step in told.epochs if step not in self.steps]
        metrics = [
            Metric(name, value, int(told.epochs[step]["time"] * 1000), step)
            for step in new
            for name, value in told.metrics(step).items()
        ]
        self.steps = None  # until this is through
        for chunk in _chunks(metrics, 1000):
            self.client.log_batch(self.run_id, metrics=chunk)
        self.steps = set(told.epochs)
        return len(new)

    def _end(self, status: str, why: str) -> bool:
        if status == self.status:
            return False
        if why:
            self.client.set_tag(self.run_id, "why", shown(why, MAX_TAG))
        if status == "RUNNING":
            self.client.update_run(self.run_id, status=status)
        else:
            self.client.set_terminated(self.run_id, status)
        self.status = status
        return True

    def _finish(self, told: Told) -> None:
        """Totals, tags, the data, and artifacts; last the tag that says all is there."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

        spec, record = told.forms["spec"], told.record
        assert record
        environment, images = record["environment"], record["images"]
        stamp = int(record["finished"] * 1000)
        tags = {
            "status": record["status"],
            "precision": record["precision"]["name"] + (" (emulated)" if record["precision"]["emulated"] else ""),
            "mlflow.source.git.commit": environment["commit"],
            "unproven": ", ".join(kind for kind, how in record.get("opinions", {}).items() if how == UNPROVEN)
            or "none",
            **{name: value for name, value in environment.items() if name != "commit"},
            **{f"evidence.{i}": f"{c['part']}: {c['what']}: {c['seen']}" for i, c in enumerate(record["evidence"])},
        }
        if images.get("digest"):  # which MLflow knows data by
            dataset = Dataset(
                name=spec["data"]["kind"],
                digest=images["digest"],
                source_type="local",
                source=str(spec["data"].get("root", "scikit-learn")),
                profile=f'{{"train": {images["train"]}, "test": {images["test"]}}}',
            )
            contexts = [InputTag("mlflow.data.context", "training and test")]
            self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, contexts)])
        columns = list(dict.fromkeys(name for epoch in record["epochs"] for name in epoch))
        lines = [",".join(columns), *(",".join(str(e.get(c, "")) for c in columns) for e in record["epochs"])]
        self.client.log_text(self.run_id, "\n".join(lines) + "\n", "curves.csv")
        self.client.log_dict(self.run_id, environment, "environment.json")
        self.client.log_dict(self.run_id, record["evidence"], "evidence.json")
        metrics = [Metric(name, value, stamp, 0) for name, value in told.totals().items()]
        self.client.log_batch(
            self.run_id, metrics=metrics, tags=[RunTag(k, shown(v, MAX_TAG)) for k, v in tags.items()]
        )
        self._end(told.status, "")
        self.client.set_tag(self.run_id, "complete", "yes")
        self.complete = True
