"""The command line, as a user calls it."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.commands import Command, until
from tests.faults.served import database


def harness(folder, *words, module="harness.ablate", more=(), fresh=False):
    """What a command in `folder` says; in a process that has imported already, unless it is to be `fresh`."""
    with (
        TemporaryDirectory() as said,
        Command(folder, *words, module=module, fresh=fresh, forks=True, said=Path(said), **dict(more)) as command,
    ):
        until(lambda: command.code is not None, 300, "the end of " + " ".join(words))
        return subprocess.CompletedProcess(words, command.code, command.out, command.err)


def known_to_mlflow(folder):
    """MLflow's database in a user's folder, empty: it takes seconds to make."""
    (folder / "runs").mkdir(exist_ok=True)
    shutil.copy(database(), folder / "runs" / "mlflow.db")
