"""Faults of MLflow's first start: its database is half made, and has every epoch of every run all the same, once."""

import os
import random
import resource
import signal
import time
from pathlib import Path

from harness.study import Plan, Run
from tests.faults import served
from tests.faults.commands import FORKS, Command, until
from tests.faults.world import BASELINE, each, home, own, remembered, store_of, whole

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
        lines = command.err.strip() or command.out.strip()
    served.in_mlflow(where / "runs" / "mlflow.db", store_of(where), runs, ended=False)
    assert not list((where / "runs").glob(".mlflow.db*"))
    with Command(where, module="harness.sync") as command:
        command.ends(0)
        assert command.err == ""
        assert ": 0 of " in command.out
    return whole(store_of(where), runs, plan), lines.splitlines()[0]


@each(quick=2, full=STEPS)
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


@each(quick=1, full=12)
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


@each(quick=1, full=16)
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
