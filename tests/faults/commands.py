"""Commands of the harness as a user starts them: in a folder, a session and an environment of their own.

What a command imports takes it seconds, and its workers again. So it is forked from a process that has imported it
already, unless it is to be `fresh`; and its workers from it, where it `forks`.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from harness import engine
from harness.engine import together

ROOT = Path(__file__).parents[2]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "tests.faults.warm",  # there is one such process for all faults
        *("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.system_metrics.system_metrics_monitor"),
        *("mlflow.server", "seaborn", "tabulate", "jinja2", "pandas.io.formats.style", "rich.live", "scipy.stats"),
        *(
            "harness.engine",
            "harness.study",
            "harness.report",
            "harness.report.index",
            "harness.tracking",
            "harness.parts.data",
            "harness.search.tuned",
        ),
    ]
)


def until(true: Callable[[], Any], seconds: float = 60, what: str = "what was waited for") -> Any:
    """What `true` returns once that is true."""
    ends = time.monotonic() + seconds
    while not (seen := true()):
        assert time.monotonic() < ends, f"{what} did not come in {seconds} s"
        time.sleep(0.005)
    return seen


def in_session(leader: int) -> set[int]:
    """The processes of a session that live."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):  # it ended meanwhile
            continue
        if int(session) == leader and state not in "ZX":
            found.add(int(stat.parent.name))
    return found


class Command:
    """`python -m harness.ablate WORDS` in `home`, begun; as a context, it and what it started are gone at the end."""

    def __init__(
        self,
        home: Path,
        *words: str,
        module: str = "harness.ablate",
        fresh: bool = False,
        forks: bool = False,
        said: Path | None = None,
        **environment: str,
    ) -> None:
        kept = {k: v for k, v in os.environ.items() if k not in ("HARNESS_RUNS", "MLFLOW_TRACKING_URI")}
        environment = {**kept, "PYTHONPATH": str(ROOT), **environment}
        home.mkdir(parents=True, exist_ok=True)
        said = said or home  # where what it prints goes
        number = len(list(said.glob("*.err")))
        self.files = said / f"{number}.out", said / f"{number}.err"
        self.process: Any
        if fresh:
            line = [sys.executable, "-m", module, *words]
            with self.files[0].open("wb") as out, self.files[1].open("wb") as err:
                self.process = subprocess.Popen(
                    line, cwd=home, env=environment, stdout=out, stderr=err, start_new_session=True, preexec_fn=_hear
                )
        else:
            self.process = FORKS.Process(target=_live, args=(home, module, words, environment, self.files, forks))
            self.process.start()
            until(self.files[1].exists)  # and so it has its session
        self.pid: int = self.process.pid

    @property
    def code(self) -> int | None:
        """The exit status; None while it runs."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll()
        code: int | None = self.process.exitcode
        return code

    @property
    def out(self) -> str:
        return self.files[0].read_text()

    @property
    def err(self) -> str:
        return self.files[1].read_text()

    def until(self, true: Callable[[], Any], seconds: float = 120) -> None:
        """Wait for that while it runs."""
        until(lambda: true() or self.code is not None, seconds)
        assert self.code is None, f"it ended before\n{self.out}\n{self.err}"

    def ends(self, code: int, seconds: float = 120) -> Self:
        """Wait for its end, which must be in `code`, without a traceback and with nothing left behind."""
        until(lambda: self.code is not None, seconds, f"the end of {self.files[1]}")
        assert self.code == code, f"{self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err, self.err
        until(lambda: not in_session(self.pid), 10, f"the end of all that {self.pid} started")
        return self

    def said(self, words: str) -> str:
        """The one line on stderr that has `words`."""
        lines = [line for line in self.err.splitlines() if words in line]
        assert len(lines) == 1, f"{words!r} should be in one line, and is in {len(lines)}:\n{self.err}"
        return lines[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in in_session(self.pid):
            os.kill(pid, signal.SIGKILL)
        until(lambda: self.code is not None)


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job, and all it starts, ignores it


def _live(
    home: Path, module: str, words: Sequence[str], environment: dict[str, str], files: Sequence[Path], forks: bool
) -> None:
    """What `python -m` does, in a process that has imported already."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(home)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.path[:0] = [str(home), str(ROOT)]
    sys.argv = [module, *words]
    if forks:  # where its threads are not yet at work
        engine.Engine = partial(engine.Engine, method="fork")  # type: ignore[misc,assignment]
        together.METHOD = "fork"
    runpy.run_module(module, run_name="__main__", alter_sys=True)
