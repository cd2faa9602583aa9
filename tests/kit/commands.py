"""The command line, as a user calls it."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.commands import Command, until


def harness(folder, *words, module="harness.ablate", more=(), fresh=False):
    """What a command in `folder` says; in a process that has imported already, unless it is to be `fresh`."""
    with (
        TemporaryDirectory() as said,
        Command(folder, *words, module=module, fresh=fresh, forks=True, said=Path(said), **dict(more)) as command,
    ):
        until(lambda: command.code is not None, 300, "the end of " + " ".join(words))
        return subprocess.CompletedProcess(words, command.code, command.out, command.err)
