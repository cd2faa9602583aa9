"""MLflow's database: where it is, made aside and renamed, mended where it is broken."""

import logging
import os
import shlex
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from harness import Problem, one_line, without_password
from harness.paths import runs, sync_folder
from harness.tracking.sink import one_at_a_time


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
                SqlAlchemyStore._get_or_create_engine(uri).dispose()  # to a file that another process moved, maybe
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


def told(error: Exception) -> str:
    """An error's text, without the SQL, and without the password of the address, which it quotes where it likes."""
    text = str(error).partition("[SQL:")[0]
    return one_line(without_password(f"{type(error).__name__}: {text}", tracking_uri()), 300)
