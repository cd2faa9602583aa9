"""The store's runs as MLflow's."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from harness import file_name, one_line, without_password
from harness.spec import UNPROVEN, flat
from harness.store import Record, Store
from harness.store.care import holder
from harness.tracking.database import one_at_a_time, open_experiment

Event = dict[str, Any]
Key = tuple[str, int]
LIMIT = 100  # params or tags that MLflow takes in one call
MAX_PARAM, MAX_TAG = 6000, 5000  # characters of a value, where MLflow would cut in silence or refuse
NO_METRIC = {"record", "epoch", "time", "event", "seq", "after", "crc"}


class Projection:
    """Sends runs of one study to MLflow. `titles` names specifications by id, `command` what this is done for."""

    def __init__(self, study: str, titles: Mapping[str, str], store: Store, command: str) -> None:
        self.study, self.titles, self.store, self.command = study, titles, store, command
        self.client, self.experiment = open_experiment(file_name(study))
        found = self._search("tags.record != ''")
        times = Counter(run.data.tags["record"] for run in found)
        alone = [run for run in found if times[run.data.tags["record"]] == 1]
        self.children = {run.data.tags["record"]: _Child(self.client, run) for run in alone}

    @cached_property
    def parent(self) -> str:
        """The id of this invocation's run, made when it is first wanted."""
        name = f"{self.study} {time.strftime('%Y-%m-%d %H:%M:%S')}"
        tags = {
            "command": _value(self.command, MAX_TAG),
            "mlflow.source.name": "harness",
            "mlflow.source.type": "LOCAL",
        }
        run_id: str = self.client.create_run(self.experiment, run_name=one_line(name, 250), tags=tags).info.run_id
        return run_id

    def send(self, key: Key) -> bool:
        """Send what MLflow lacks of a run; whether there was anything. Raises Problem where its record is damaged."""
        events = self.store.events(*key)
        record = self.store.read(*key) if key in self.store else self.store.refused(*key)
        told = [event for event in events if event.get("record")]  # not of an attempt that has done nothing yet
        if not told and not record:
            return False
        born = (record.get("record") or record["digest"]) if record else told[-1]["record"]
        child = self.children.get(born) or self._child(key, born)
        own = [event for event in told if event["record"] == born]
        held = holder(self.store, key) is not None
        with one_at_a_time():  # of two that set one tag at the same moment a database refuses one
            return child.catch_up(self.store.forms(*key), own, record, held)

    def _search(self, text: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment], text, max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _child(self, key: Key, record: str) -> "_Child":
        with one_at_a_time():
            if not self._search(f"tags.record = '{record}'"):
                self._made(key, record)
            run, *twins = self._search(f"tags.record = '{record}'")  # a lost answer made MLflow ask, and make, twice
            for twin in twins:
                self.client.delete_run(twin.info.run_id)
        self.children[record] = _Child(self.client, run)
        return self.children[record]

    def _made(self, key: Key, record: str) -> None:
        title = self.titles.get(key[0], key[0])
        tags = {
            "mlflow.parentRunId": self.parent,
            "record": record,
            "spec_id": key[0],
            "seed": str(key[1]),
            "rung": one_line(title, MAX_TAG),
            "study": one_line(self.study, MAX_TAG),
        }
        self.client.create_run(self.experiment, tags=tags, run_name=one_line(f"{title}, seed {key[1]}", 250))


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _value(value: Any, longest: int) -> str:
    return one_line(without_password(str(value)), longest)


class _Child:
    """One (specification, seed) in MLflow."""

    def __init__(self, client: Any, run: Any) -> None:
        self.client, self.run_id = client, run.info.run_id
        self.status, self.complete = run.info.status, run.data.tags.get("complete") == "yes"
        self.described = run.data.tags.get("described") == "yes"
        self.steps: set[int] | None = None  # the epochs that are there; None where that must be asked

    def catch_up(self, forms: Any, events: Sequence[Event], record: Record | None, held: bool) -> bool:
        """Send what is missing; whether anything was. `record` is None while the run is not finished."""
        if self.complete:
            return False
        if not self.described:
            self._describe(forms)
        rows = [*(event for event in events if event["event"] == "epoch"), *(record["epochs"] if record else ())]
        if record:  # an older one does not tell when its epochs were
            rows = [{"time": record["finished"], **row} for row in rows]
        sent = self._epochs({row["epoch"]: row for row in reversed(rows)})  # of an epoch done twice, the first
        if record:
            self._finish(forms["spec"], record)
        return self._end(*_status(events, record, held)) or bool(sent or record)

    def _describe(self, forms: Any) -> None:
        from mlflow.entities import Param

        self.client.log_dict(self.run_id, forms["spec"], "spec.json")
        params = [Param(name, _value(value, MAX_PARAM)) for name, value in flat(forms["resolved"]).items()]
        for chunk in _chunks(params, LIMIT):
            self.client.log_batch(self.run_id, params=chunk)
        if forms["spec"].get("data", {}).get("blind"):
            self.client.set_tag(self.run_id, "scored_on", "training images held out")  # not the test set, as others are
        self.client.set_tag(self.run_id, "described", "yes")
        self.described = True

    def _epochs(self, rows: dict[int, Event]) -> int:
        from mlflow.entities import Metric

        if self.steps is None:
            self.steps = {metric.step for metric in self.client.get_metric_history(self.run_id, "loss")}
        new = {step: rows[step] for step in sorted(rows) if step not in self.steps}
        metrics = [
            Metric(name, float(value), int(row["time"] * 1000), step)
            for step, row in new.items()
            for name, value in row.items()
            if name not in NO_METRIC
        ]
        self.steps = None  # until this is through
        for chunk in _chunks(metrics, 1000):
            self.client.log_batch(self.run_id, metrics=chunk)
        self.steps = set(rows)
        return len(new)

    def _end(self, status: str, why: str) -> bool:
        if status == self.status:
            return False
        if why:
            self.client.set_tag(self.run_id, "why", _value(why, MAX_TAG))
        if status == "RUNNING":
            self.client.update_run(self.run_id, status=status)
        else:
            self.client.set_terminated(self.run_id, status)
        self.status = status
        return True

    def _finish(self, spec: Any, record: Record) -> None:
        """Totals, tags, the data, and artifacts; last the tag that says all is there."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

        environment, images = record["environment"], record["images"]
        totals = {name: record.get(name) for name in ("params", "macs", "seconds_per_epoch", "peak_memory")}
        totals["total_seconds"] = record["seconds"]  # "seconds" is each epoch's
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
        columns = list(record["epochs"][0])
        lines = [",".join(columns), *(",".join(str(e.get(c, "")) for c in columns) for e in record["epochs"])]
        self.client.log_text(self.run_id, "\n".join(lines) + "\n", "curves.csv")
        self.client.log_dict(self.run_id, environment, "environment.json")
        self.client.log_dict(self.run_id, record["evidence"], "evidence.json")
        metrics = [Metric(name, float(value), stamp, 0) for name, value in totals.items() if value is not None]
        self.client.log_batch(
            self.run_id, metrics=metrics, tags=[RunTag(k, _value(v, MAX_TAG)) for k, v in tags.items()]
        )
        self._end(*_status([], record, False))
        self.client.set_tag(self.run_id, "complete", "yes")
        self.complete = True


def _status(events: Sequence[Event], record: Record | None, held: bool) -> tuple[str, str]:
    """MLflow's word for how a run stands, and why where it failed."""
    if record:
        return ("FINISHED" if record["status"] == "finished" else "FAILED"), ""
    if held:
        return "RUNNING", ""
    last = events[-1]
    return ("FAILED" if last["event"] == "failed" else "KILLED"), last.get("why", "")
