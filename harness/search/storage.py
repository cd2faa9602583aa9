"""Where Optuna keeps trials: a journal, or a database that several machines share."""

import fcntl
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend

from harness import Problem, one_line, without_password
from harness.engine import RETRIES, RETRY
from harness.paths import flock, wait_for
from harness.search.samplers import pruner, sampler
from harness.search.search import Search

HEARTBEAT, GRACE = 2, 10  # seconds between signs of life in a database, and without one until a trial is taken for dead
PATIENCE = 60  # seconds that a database may be away
optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # the search says a line a trial


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Hold the file at `path`; wait while another does. The kernel lets go when the owner dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        wait_for(file, path)
        yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


class JournalLock:
    """The lock of a journal: it dies with its owner, as the library's do not.

    Whoever takes it cuts off what a killed owner left of a line: else the next line would be one with it, and nobody
    could read on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held = ExitStack()

    def acquire(self) -> bool:
        self.held.enter_context(flocked(self.path.with_suffix(".lock")))
        with suppress(FileNotFoundError), self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read(1) != b"\n":
                file.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self.held.close()


class Database(RDBStorage):
    """A database that may go away for a while: whoever needs it waits, `PATIENCE` seconds at most.

    One that is not there at the beginning raises at once.
    """

    def __init__(self, url: str, **how: Any) -> None:
        super().__init__(url, **how)
        self.left: float | None = None  # when it went away, if it has
        self.back = -float("inf")  # when it came back, by the clock of time.monotonic
        sqlalchemy.event.listen(self.engine, "do_connect", self._connect)

    def _connect(self, dialect: Any, record: Any, words: Any, named: Any) -> Any:
        while True:
            try:
                connection = dialect.connect(*words, **named)
            except dialect.loaded_dbapi.OperationalError:
                self.left = self.left or time.monotonic()
                if time.monotonic() > self.left + PATIENCE:
                    raise
                time.sleep(RETRY)
                continue
            if self.left:
                self.left, self.back = None, time.monotonic()
            return connection

    def record_heartbeat(self, trial_id: int) -> None:
        with suppress(StorageInternalError):  # from a thread, which would print it and end; the next may get through
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """None where it was away, and those who live had no time for a sign of it."""
        return [] if time.monotonic() < self.back + GRACE else super()._get_stale_trial_ids(study_id)


@contextmanager
def reached(search: Search) -> Iterator[None]:
    """Raises Problem where the storage does not answer."""
    try:
        yield
    except StorageInternalError as error:
        raise Problem(_trouble(search, error)) from None


def opened(search: Search) -> optuna.Study:
    """The search in its storage, made where it is not there yet.

    Raises Problem where the storage cannot be used, or holds another search under this name.
    """
    definition = search.definition
    with warnings.catch_warnings(), flocked(search.folder / "turn"):  # two that make a fresh database at once fail
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats, and Wilcoxon's pruner
        for attempt in range(3):
            try:
                study = optuna.create_study(
                    storage=_storage(search),
                    study_name=search.label,
                    directions=["maximize", "minimize"] if search.minimize else ["maximize"],
                    sampler=sampler(search),
                    pruner=pruner(search),
                    load_if_exists=True,
                )
                before = study.user_attrs.get("definition")
                if before is None:
                    study.set_user_attr("definition", definition)
                break
            except Problem:
                raise
            except Exception as error:  # another machine may be making the same tables
                if attempt == 2 or not search.storage or isinstance(error, ImportError):
                    raise Problem(_trouble(search, error)) from None
                time.sleep(RETRY * 2)
    for what, old in dict(before or {}).items():
        if old != (now := definition.get(what)) and not (what == "sources" and search.accept_stale):
            other = ", or --accept-stale to go on" if what == "sources" else ""
            raise Problem(f"{search.label} was begun otherwise: {_differs(what, old, now)}; {_anew(search)}{other}")
    return study


def doubt(search: Search, study: optuna.Study) -> str:
    """Where a search goes on though the user's code may have changed since it was begun: that, in a line; else ""."""
    before, now = study.user_attrs["definition"].get("sources"), search.definition.get("sources", {})
    changed = ", ".join(kind for kind, made in now.items() if (before or {}).get(kind) != made)
    if before is None and now:
        begun = f"{search.label} was begun by a version that did not note the source of {changed}"
        return f"{begun}, which may have changed since; {_anew(search)}"
    what = f"the source of {changed} changed since {search.label} was begun"
    return f"{what}: its trials are taken as they are (--accept-stale)" if changed else ""


def _storage(search: Search) -> optuna.storages.BaseStorage:
    if not search.storage:
        path = search.path
        path.parent.mkdir(parents=True, exist_ok=True)
        lock: Any = JournalLock(path)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    url = search.storage
    if url.startswith("postgresql://") and not find_spec("psycopg"):  # SQLAlchemy's own choice, from 2.1 on
        url = url.replace("://", "+psycopg2://", 1)
    own = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    return Database(
        url,
        engine_kwargs=own,
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
    )


def _trouble(search: Search, error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    text = one_line(without_password(f"{type(error).__name__}: {error}", search.storage or ""), 300)
    if not search.storage:
        return f"{search.path} cannot be read ({text}): move it aside; runs that its trials trained are reused"
    if isinstance(error, ImportError):
        advice = 'pip install "ablation-harness[postgres]"' if "psycopg" in text else "install it"
        return f"--storage {search.address}: its driver is missing ({text}): {advice}"
    if "Could not parse" in text or "NoSuchModuleError" in text:
        return f"--storage {search.address}: is no address of a database that Optuna knows, as sqlite:///search.db is"
    if "not a database" in text or "malformed" in text:  # of sqlite
        advice = "move the file aside, or name another; runs that its trials trained are reused"
        return f"--storage {search.address} is damaged ({text}): {advice}"
    return f"--storage {search.address} cannot be reached: {text}"


def _differs(what: str, old: Any, new: Any) -> str:
    if not isinstance(new, dict) or not isinstance(old, dict):
        return f"{what} was {old} and is {new}"
    path = next(path for path in (*old, *new) if old.get(path) != new.get(path))
    said = [values.get(path, "not there") for values in (old, new)]
    return f"{'SPACE' if what == 'space' else what} differs: {path} was {said[0]} and is {said[1]}"


def _anew(search: Search) -> str:
    if search.storage:
        return f"to begin anew: optuna delete-study --study-name {search.label} --storage {search.address}"
    return f"to begin anew, move {search.path} aside"
