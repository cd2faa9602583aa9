"""Faults of first starts: a database is half made, and MLflow has every epoch of every run all the same, once."""

import os
import random
import resource
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.distributions import FloatDistribution

from harness.search.search import make
from harness.search.storage import opened
from harness.study import Plan, Run, Study
from tests.faults import served
from tests.faults.commands import FORKS, Command, until
from tests.faults.world import BASELINE, each, home, own, remembered, store_of, whole
from tests.kit import tiny

STEPS = 80  # of 50 ms: what the first start takes on an idle core, and some


def trained(where: Path) -> tuple[Plan, list[Run]]:
    """A run that MLflow has not heard of, which has no database yet."""
    (home(where) / "runs" / "mlflow.db").unlink()
    plan = own(seeds=1)
    runs = plan.runs(["baseline"])
    remembered(where, plan, runs)
    return plan, runs


def step(number: int) -> int:
    """Each of them once, one in the middle first."""
    return (number * 37 + 29) % STEPS


def mended(where: Path, plan: Plan, runs: list[Run], by_sync: bool) -> tuple[int, str]:
    """The next command works, and MLflow has all then."""
    with Command(where, module="harness.sync") if by_sync else Command(where, *BASELINE) as command:
        command.ends(0)
        made = [line for line in command.out.splitlines() if "MLflow" in line or "news" in line]
        message = (command.err.splitlines() + made)[0]
    served.in_mlflow(where / "runs" / "mlflow.db", store_of(where), runs, ended=False)
    assert not list((where / "runs").glob(".mlflow.db*"))
    with Command(where, module="harness.sync") as command:
        command.ends(0)
        assert command.err == ""
        assert ": 0 of " in command.out
    return whole(store_of(where), runs, plan), message


@each(quick=0, full=STEPS)
def MLflow_killed_in_its_first_start(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """At one of its steps. It leaves nothing that is to be mended."""
    plan, runs = trained(folder)
    with Command(folder, module="harness.sync") as command:
        command.until((folder / "runs" / "mlflow.lock").exists)
        time.sleep(0.05 * step(number))
        if command.code is None:
            os.kill(command.pid, signal.SIGKILL)
        until(lambda: command.code is not None)
    seen = mended(folder, plan, runs, by_sync=number % 8 > 0)
    assert not (folder / "runs" / "aside").exists()
    return seen


@each(quick=0, full=12)
def disk_full_in_MLflows_first_start(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """From another size on. It is one line, and nothing is left that takes space."""
    plan, runs = trained(folder)
    with Command(folder, module="harness.sync") as command:
        resource.prlimit(command.pid, resource.RLIMIT_FSIZE, (4096 + 65_536 * number, resource.RLIM_INFINITY))
        until(lambda: command.code is not None)
        full = command.code == 2
        message = command.ends(2 * full).said("does not take them") if full else command.out.strip()
    assert full or number
    assert not list((folder / "runs").glob(".mlflow.db*"))
    mended(folder, plan, runs, by_sync=number % 2 > 0)
    return 0, message


@each(quick=0, full=16)
def MLflow_database_that_was_torn_in_place(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """By a program that was killed, or had no space, as it made it where it is."""
    plan, runs = trained(folder)
    path = folder / "runs" / "mlflow.db"
    process = FORKS.Process(target=in_place, args=(path, 65_536 * (1 + number) if number % 4 == 3 else None))
    process.start()
    until(lambda: path.exists() or process.exitcode is not None)
    process.join(0.05 * step(5 * number))
    process.kill()
    process.join()
    return mended(folder, plan, runs, by_sync=number % 2 == 0)


def in_place(path: Path, size: int | None) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    served._make_database(path)


@each(quick=0, full=STEPS)
def search_killed_as_it_makes_its_database(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Before or after one of its statements. Optuna makes it where it is, and goes on."""
    code = opening(folder, kills=step(number), after=number % 2 > 0)
    assert code == -signal.SIGKILL or step(number) > 60, "it has some seventy statements"
    assert opening(folder) == 0
    with closing(sqlite3.connect(folder / "search.db")) as db:
        assert db.execute("select study_name from studies").fetchall() == [("own@search-baseline",)]
        assert db.execute("select count(*) from study_user_attributes where key = 'definition'").fetchone() == (1,)
    return 0, "none: it goes on"


def opening(folder: Path, **how: Any) -> int | None:
    process = FORKS.Process(target=_opening, args=(folder,), kwargs=how)
    process.start()
    process.join()
    code: int | None = process.exitcode
    return code


def _opening(folder: Path, kills: int | None = None, after: bool = False) -> None:
    count = 0

    def see(connection: Any, cursor: Any, statement: str, values: Any, *_: object) -> None:
        nonlocal count
        count += 1
        if count - 1 == kills:
            if after:
                cursor.execute(statement, values)
            os.kill(os.getpid(), signal.SIGKILL)

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", see)
    os.environ["HARNESS_RUNS"] = str(folder / "runs")
    folder.mkdir(exist_ok=True)
    study = Study("own", "", tiny.BASELINE, (), (0,), {"optimizer.lr": FloatDistribution(0.01, 1)})
    opened(make(study, storage=f"sqlite:///{folder}/search.db"))
