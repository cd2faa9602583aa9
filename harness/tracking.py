"""MLflow, as a projection of the store: the only room that imports it.

Experiment = study, parent run = one invocation, child run = (specification, seed). What is sent comes from journals
and results, and only what MLflow lacks: sending may be repeated, and several processes may do it. A `Tracker` does it
in a thread of its own while runs train, which never wait for it. What a slow or absent server misses is sent at the end
of the invocation, or by `harness.sync`.
"""

import logging
import os
import queue
import shlex
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Any

from harness import Problem, file_name, one_line, without_password
from harness.paths import runs, sync_folder, wait_for
from harness.spec import UNPROVEN, flat
from harness.store import Record, Store
from harness.store.care import holder

Event = dict[str, Any]
Key = tuple[str, int]
FLUSH = 2.0  # seconds between batches; a batch holds all that came since the last
LIMIT = 100  # params or tags that MLflow takes in one call
MAX_PARAM, MAX_TAG = 6000, 5000  # characters of a value, where MLflow would cut in silence or refuse
NO_METRIC = {"record", "epoch", "time", "event", "seq", "after", "crc"}


def database() -> Path:
    """Our own, where MLFLOW_TRACKING_URI names no other."""
    return runs() / "mlflow.db"


def default_uri() -> str:
    return f"sqlite:///{database()}"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else sqlite in the folder of runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri()


def shown_uri() -> str:
    """Without its password, where it has one."""
    return without_password(tracking_uri(), tracking_uri())


def ui_command() -> str:
    """The command that opens MLflow's pages on what was logged. A shell has the password where the user set it."""
    uri = tracking_uri()
    word = shlex.quote(uri) if uri in (default_uri(), shown_uri()) else '"$MLFLOW_TRACKING_URI"'
    if uri.startswith("http"):
        return f"open {word}"
    ui = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--backend-store-uri"]
    return f"{shlex.join(ui)} {word}"


def open_experiment(study: str) -> tuple[Any, str]:
    """(client, experiment id), made where they are not there: see `ready`.

    Raises Problem where only the user can do something: the address is none, or the experiment was deleted.
    """
    ready()
    uri = tracking_uri()
    with one_at_a_time():
        client = _client(uri)
        found = client.get_experiment_by_name(study)
        if found and found.lifecycle_stage == "deleted":
            on = f"MLFLOW_TRACKING_URI={shlex.quote(uri)} " if uri == default_uri() else ""
            restore = f"{on}mlflow experiments restore --experiment-id {found.experiment_id}"
            raise Problem(f"MLflow's experiment {study} was deleted there: {restore} brings it back")
        if found:
            return client, found.experiment_id
        # A database alone says nothing of artifacts, which would land in ./mlruns; a server knows its own place.
        alone = "sql" in uri.partition(":")[0]  # sqlite, postgresql+psycopg2, mysql, mssql
        beside = (runs() / "mlartifacts" / study).as_uri() if alone else None
        return client, client.create_experiment(study, artifact_location=beside)


def _client(uri: str) -> Any:
    from mlflow import MlflowClient
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError

    try:
        if "sql" in uri.partition(":")[0] and not uri.startswith("sqlite"):
            engine = create_engine(uri)  # MLflow asks ten times, for two minutes: training ends before why is said
            engine.connect().close()
            engine.dispose()
        return MlflowClient(uri)
    except ImportError as error:
        raise Problem(f"MLFLOW_TRACKING_URI={shown_uri()}: its driver is missing ({told(error)}): install it") from None
    except Exception as error:
        if isinstance(error, ArgumentError | ValueError) or "unsupported URI" in str(error):
            such = "as sqlite:///mlflow.db, http://127.0.0.1:5000 or postgresql+psycopg2://user@host/base are"
            raise Problem(f"MLFLOW_TRACKING_URI={shown_uri()}: is no address that MLflow knows, {such}") from None
        raise


def ready(thorough: bool = False) -> str | None:
    """Set MLflow up, and make our own database where it is not there; where it is broken, anew: the line that says so.

    Where that is to be `thorough`, every page of it is looked at. What is wrong with one that the user named is left as
    it is, and raised.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 keep a user waiting minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # seconds; its own are 120
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # with the password that is in it
    import mlflow

    for name in ("mlflow", "mlflow.store.db.utils", "mlflow.system_metrics.system_metrics_monitor", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said once, at the end, in a line

    uri, path = tracking_uri(), database()
    mlflow.set_tracking_uri(uri)
    if uri != default_uri():
        return None
    from mlflow import MlflowClient
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with one_at_a_time():  # two that make one at once fail
        wrong = _no_database(path) or (_damage(path) if thorough and path.exists() else None)
        if path.exists() and not wrong:
            try:
                MlflowClient(uri).search_experiments(max_results=1)
                return None
            except Exception as error:
                wrong = _broken(path, error)
                if not wrong:
                    raise
        new = _made(path)
        moved = _set_aside(path)
        new.rename(path)
        sync_folder(path.parent)
        SqlAlchemyStore._get_or_create_engine(uri).dispose()  # whose connections are to the one that was moved
    return f"{path} {wrong}: it was moved to {moved} and made anew" if wrong else None


def _made(path: Path) -> Path:
    """An empty database of MLflow's, to be renamed to `path`: its migrations take seconds, and half of them ruin it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = path.with_name(f".{path.name}.new")
    for left in path.parent.glob(f"{new.name}*"):  # of one that was killed, and sqlite's journal
        left.unlink()
    store = SqlAlchemyStore.__new__(SqlAlchemyStore)
    try:  # a place of its own for what we never send
        SqlAlchemyStore.__init__(store, f"sqlite:///{new}", "./mlruns")
    except BaseException:
        for left in path.parent.glob(f"{new.name}*"):  # of a full disk
            left.unlink()
        raise
    finally:  # also where it raised: an open connection keeps the disk that it filled, and the next try would meet it
        if engine := getattr(store, "engine", None):
            engine.dispose()
    return new


def _no_database(path: Path) -> str | None:
    """What is wrong with a file that is none of sqlite's, which MLflow would try for minutes to open."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        head = file.read(16)
    return None if head == b"SQLite format 3\0" else "is not a database" if head else "is empty"


SPOILT = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _broken(path: Path, error: BaseException) -> str | None:
    """What is wrong for good with a database that MLflow does not open, for `error`.

    None where a later try may open it, for it is locked, or there is no space, or another MLflow, of which it is.
    """
    codes = {e.sqlite_errorcode & 0xFF for e in _causes(error) if isinstance(e, sqlite3.Error)}
    if codes - SPOILT or any(isinstance(e, OSError) for e in _causes(error)):
        return None
    if damage := _damage(path):
        return damage
    try:
        with closing(sqlite3.connect(path)) as db:
            (had,) = db.execute("select count(*) from runs").fetchone()
    except sqlite3.OperationalError as worse:
        if worse.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # there is no such table
            return None
        had = 0
    if "Can't locate revision" in str(error) or (had and not codes):  # it is of a later MLflow, or of an earlier one
        return None
    return "was half made"  # or half made over, for a later MLflow


def _damage(path: Path) -> str | None:
    with closing(sqlite3.connect(path)) as db:
        try:
            return None if db.execute("pragma quick_check(1)").fetchone() == ("ok",) else "is damaged"
        except sqlite3.DatabaseError as error:
            return "is damaged" if error.sqlite_errorcode & 0xFF in SPOILT else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _set_aside(path: Path) -> Path | None:
    """Move a database, and what sqlite keeps beside it, out of the way: a journal would be taken for the next one's."""
    folder = runs() / "aside" / time.strftime("%Y-%m-%d")
    names = (f"{path.name}.{n}" if n > 1 else path.name for n in count(1))
    free = next(folder / name for name in names if not any(folder.glob(f"{name}*")))
    for end in ("", "-journal", "-wal", "-shm"):
        if (old := path.with_name(path.name + end)).exists():
            folder.mkdir(parents=True, exist_ok=True)
            old.rename(free.with_name(free.name + end))
            for changed in (folder, *folder.parents[:2]):
                sync_folder(changed)
    return free if free.exists() else None


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of the processes on this machine, so that a child is made by one of them."""
    path = runs() / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        wait_for(lock.fileno(), path)
        yield


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


class Tracker:
    """Projects what happens while it happens: `see` events as the engine yields them, then `close`."""

    def __init__(self, study: str, titles: Mapping[str, str], store: Store, asked: Iterable[Key], command: str) -> None:
        self.new = lambda: Projection(study, titles, store, command)
        self.lacking = dict.fromkeys(key for key in asked if key in store)  # trained for others, or without MLflow
        self.queue: queue.Queue[Key | None] = queue.Queue()
        self.problem: str | None = None  # with MLflow
        self.damaged: str | None = None  # a record, which no sending will mend
        self.remade: str | None = None  # our database, and so it lacks what other studies did
        self.done = False
        self.ended = "FINISHED"
        self.moved = time.monotonic()  # when something was last sent
        self.thread = threading.Thread(target=self._life, daemon=True)
        self.thread.start()

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


def told(error: Exception) -> str:
    """An error's text, without the SQL, and without the password of the address, which it quotes where it likes."""
    text = str(error).partition("[SQL:")[0]
    return one_line(without_password(f"{type(error).__name__}: {text}", tracking_uri()), 300)


def _monitor(run_id: str) -> Any:
    """MLflow's system metrics, on the run of an invocation."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=5)
    monitor.start()
    return monitor
