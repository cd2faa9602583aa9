import json
import os
import resource
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from harness import tracking
from harness.tracking import database, default_uri, open_experiment, ready, tracking_uri, ui_command
from harness.tracking.database import _broken
from tests.faults.commands import FORKS


def test_the_address_is_mlflows_own_variable_else_beside_the_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert "--host 127.0.0.1" in ui_command()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"
    assert default_uri().startswith("sqlite:///")


def first_open(home, barrier, answers):
    os.environ["HARNESS_RUNS"] = home
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    import mlflow  # noqa: F401  # so that what races is the database, not the import

    barrier.wait(120)
    answers.put(open_experiment("race")[1])


def test_two_processes_may_open_a_fresh_database_at_once(tmp_path):
    barrier, answers = FORKS.Barrier(2), FORKS.Queue()
    racers = [FORKS.Process(target=first_open, args=(str(tmp_path), barrier, answers)) for _ in range(2)]
    for racer in racers:
        racer.start()
    assert len({answers.get(timeout=180) for _ in racers}) == 1
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        assert json.dumps(db.execute("select count(*) from experiments where name = 'race'").fetchone()) == "[1]"


def test_a_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:5/mlflow")
    assert tracking.shown_uri() == "postgresql://me:***@127.0.0.1:5/mlflow"
    assert ui_command().endswith(' -m mlflow ui --host 127.0.0.1 --backend-store-uri "$MLFLOW_TRACKING_URI"')
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:5000")
    assert ui_command() == 'open "$MLFLOW_TRACKING_URI"'
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert ui_command() == "open http://127.0.0.1:5000"


@pytest.fixture
def spoil(logged, tmp_path, monkeypatch):
    """A function: what `ready` says where a harm was done to our database, of which there was a whole one."""
    whole = logged[2].root.parent / "mlflow.db"
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copied = lambda path: Path(shutil.copy(whole, tmp_path / "new"))  # noqa: E731  # it takes seconds
    monkeypatch.setattr(sys.modules["harness.tracking.database"], "_made", copied)  # `database` is a function

    def see(harm, thorough=False):
        shutil.copy(whole, database())
        harm(database())
        return ready(thorough)

    return see


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_bytes(b"a list of cats\n" * 20)
    Path(f"{path}-journal").write_text("another's")  # which the next database must not take for its own


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def zeros(path):
    """Over the first page of the metrics, which MLflow does not read to open it."""
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("select rootpage from sqlite_master where name = 'metrics'").fetchone()
        (size,) = db.execute("pragma page_size").fetchone()
    with path.open("rb+") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))


@pytest.mark.parametrize(
    ("harm", "what"),
    [(empty, "is empty"), (text, "is not a database"), (cut, "is damaged"), (zeros, "is damaged")],
)
def test_our_database_is_moved_away_where_it_is_broken_and_made_anew(spoil, tmp_path, harm, what):
    aside = tmp_path / "aside" / time.strftime("%Y-%m-%d")
    for name in ("mlflow.db", "mlflow.db.2"):
        said = spoil(harm, thorough=harm is zeros)
        assert said == f"{database()} {what}: it was moved to {aside / name} and made anew"
        assert (aside / name).exists()
    assert ready(thorough=True) is None
    assert {path.name for path in tmp_path.iterdir()} == {"aside", "mlflow.db", "mlflow.lock"}


@pytest.mark.parametrize(
    ("revision", "why"), [("5b0e9adcef9c", "Detected out-of-date database schema"), ("ffff", "Can't locate revision")]
)
def test_our_database_is_left_alone_where_it_is_another_mlflows(spoil, tmp_path, revision, why):
    def harm(path):
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("update alembic_version set version_num = ?", (revision,))
            if revision == "ffff":
                db.execute("drop table assessments")  # else MLflow does not look for its way to there

    with pytest.raises(Exception, match=why):
        spoil(harm)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.lock"}


def test_a_database_that_is_locked_or_full_is_not_broken(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"a list of cats\n" * 20)
    for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_READ):
        error = sqlite3.OperationalError("it is")
        error.sqlite_errorcode = code
        assert _broken(path, error) is None
    assert _broken(path, OSError()) is None
    assert _broken(path, ValueError()) == "is damaged"


def test_a_database_that_another_process_replaced_is_written_to(tmp_path, monkeypatch):
    """sqlite reads on from the file that is gone, and calls it read-only when it is to write."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    open_experiment("one")
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "copy")
    (tmp_path / "copy").replace(tmp_path / "mlflow.db")
    client, made = open_experiment("two")
    assert client.get_experiment(made).name == "two"


def test_what_the_user_named_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "mlflow.db").write_bytes(b"")
    assert ready(thorough=True) is None
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_disk_that_was_full_while_the_database_was_made_and_is_no_more(tmp_path, monkeypatch):
    """The next try, of the same process, begins anew, and nothing keeps the space of what was half made."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(Exception, match="disk"):
            ready()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.lock"]
    files = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [file for file in files if "mlflow.db" in file and str(tmp_path) in file]
    assert ready() is None
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.lock"}


def test_why_a_database_does_not_answer_is_known_at_once(tmp_path, monkeypatch):
    """MLflow would ask it ten times, for two minutes."""
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://me:S3CRET@127.0.0.1:9/m")
    began = time.monotonic()
    with pytest.raises(Exception, match="Connection refused"):
        open_experiment("tiny")
    assert time.monotonic() - began < 30
