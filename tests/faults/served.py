"""MLflow for a fault: a server that can be stopped, and what is in a database of MLflow's, read by SQL."""

import functools
import itertools
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from harness.spec import flat
from harness.store import Store
from harness.study import Run
from tests.faults.commands import FORKS, in_session, until

EMPTY = tempfile.TemporaryDirectory(prefix="harness-mlflow-")
ARTIFACTS = {"spec.json", "curves.csv", "environment.json", "evidence.json"}


@functools.cache
def database() -> Path:
    """An empty one, of MLflow's making."""
    path = Path(EMPTY.name) / "mlflow.db"
    process = FORKS.Process(target=_make_database, args=(path,))
    process.start()
    process.join()
    return path


def _make_database(path: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()


class Server:
    """MLflow's server on a database in `folder`; with `fresh` as `mlflow server` starts it, which takes it a while.

    It loses so many of its answers: what was asked is done, or not, and then the connection is gone. It dies when
    it has done so many things.
    """

    def __init__(self, folder: Path, fresh: bool = False, loses: float = 0.0, dies: int | None = None) -> None:
        self.folder, self.fresh, self.loses, self.dies = folder, fresh, loses, dies
        self.database = folder / "served.db"
        self.process: Any = None
        shutil.copy(database(), self.database)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if self.fresh:
            line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
            line += ["--backend-store-uri", f"sqlite:///{self.database}", "--workers", "1"]
            line += ["--artifacts-destination", str(self.folder / "artifacts")]
            with (self.folder / "server.log").open("ab") as log:
                self.process = subprocess.Popen(line, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        else:
            how = self.folder, self.port, self.database, self.loses, self.dies
            self.process = FORKS.Process(target=_serve, args=how)
            self.process.start()
        until(self.answers, 180, "the server")

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def signal(self, number: signal.Signals) -> None:
        for pid in in_session(self.process.pid):
            os.kill(pid, number)

    def stop(self) -> None:
        self.signal(signal.SIGKILL)
        until(lambda: not in_session(self.process.pid))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.stop()


def _serve(folder: Path, port: int, path: Path, loses: float, dies: int | None) -> None:
    os.setsid()
    with (folder / "server.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ["_MLFLOW_SERVER_FILE_STORE"] = os.environ["_MLFLOW_SERVER_REGISTRY_STORE"] = f"sqlite:///{path}"
    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = "mlflow-artifacts:/"
    os.environ["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = str(folder / "artifacts")
    os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
    from mlflow.server import app
    from werkzeug.serving import run_simple

    rng, done = random.Random(port), itertools.count(1)

    def losing(environ: Any, start_response: Any) -> Any:
        writes = environ["REQUEST_METHOD"] != "GET" and "search" not in environ["PATH_INFO"]
        lost = writes and rng.random() < loses
        answer = [] if lost and rng.random() < 0.5 else list(app(environ, start_response))
        if writes and next(done) == dies:
            os._exit(1)
        if lost:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return answer

    run_simple("127.0.0.1", port, losing, threaded=True)


Values = dict[tuple[str, int], float]  # by metric and step


def logged(path: Path) -> list[dict[str, Any]]:
    """Each run that MLflow has, as its id, status, tags, params and values; none of which may be there twice."""
    found = []
    active = "select run_uuid, status from runs where lifecycle_stage = 'active'"
    with closing(sqlite3.connect(path, timeout=30)) as db:
        for run, status in db.execute(active).fetchall():
            tags, params = (
                dict(db.execute(f"select key, value from {of} where run_uuid = ?", (run,))) for of in ("tags", "params")
            )
            asked = "select key, step, value, is_nan from metrics where run_uuid = ? and key not like 'system/%'"
            rows = db.execute(asked, (run,)).fetchall()
            twice = [place for place, n in Counter(row[:2] for row in rows).items() if n > 1]
            assert not twice, f"more than once in MLflow: {twice}"
            values: Values = {(name, step): float("nan") if is_nan else value for name, step, value, is_nan in rows}
            found.append({"id": run, "status": status, "tags": tags, "params": params, "values": values})
    return found


def begun(path: Path) -> bool:
    """Whether MLflow has an epoch of a run."""
    return any(("loss", 0) in run["values"] for run in logged(path))


def in_mlflow(path: Path, store: Store, runs: Sequence[Run], ended: bool = True) -> None:
    """Every run is there once, whole, as the store has it, and no other; and `ended` are those of the invocations."""
    found = logged(path)
    children = [run for run in found if "record" in run["tags"]]
    keys = [(run["tags"]["spec_id"], int(run["tags"]["seed"])) for run in children]
    assert sorted(keys) == sorted((spec.id, seed) for spec, seed in runs), keys
    for key, child in zip(keys, children, strict=True):
        record, values = store.read(*key), child["values"]
        assert child["status"] == ("FINISHED" if record["status"] == "finished" else "FAILED")
        assert child["tags"]["complete"] == "yes"
        assert child["params"] == {name: str(value) for name, value in flat(store.forms(*key)["resolved"]).items()}
        wanted = {(name, epoch["epoch"]): epoch[name] for epoch in record["epochs"] for name in epoch}
        for (name, step), value in wanted.items():
            if name not in ("epoch", "time"):
                seen = values[name, step]
                assert seen == value or (seen != seen and value != value), (name, step, seen, value)
        assert sorted(step for name, step in values if name == "loss") == list(range(len(record["epochs"])))
        assert {file.name for file in path.parent.rglob(f"{child['id']}/artifacts/*")} == ARTIFACTS
    assert not ended or "RUNNING" not in {run["status"] for run in found}
