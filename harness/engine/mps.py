"""NVIDIA's MPS, by which the kernels of several processes run on one card at once, and not by turns.

A daemon is begun for a command and ended with it. One that is there already is the user's: it is used, and left alone.
Nobody waits for it: where it does not start, runs share a card without it.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import Problem, one_line
from harness.paths import flock

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS, MASK = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY", "CUDA_VISIBLE_DEVICES"
USED = "HARNESS_MPS"  # in the environment of workers: whose daemon serves them
PREFIX = "harness-mps-"  # of the folder of a daemon that a command began
PATIENCE = 15.0  # seconds for the control to answer: it waits for a server that hangs


def used_mps() -> dict[str, str]:
    """What a record tells of it: `{"mps": "own"}` or `{"mps": "the user's"}`; nothing where it is not used."""
    whose = os.environ.get(USED)
    return {"mps": whose} if whose else {}


def told() -> str:
    """Whether MPS is to be had here, for a reader."""
    if not shutil.which(CONTROL):
        return f"not there: no {CONTROL} on the PATH"
    return "a daemon answers, and would be used" if answers() else "there: --jobs auto would start it"


def answers(around: Mapping[str, str] | None = None) -> bool:
    """Whether the daemon answers that `around`, by default this process's environment, leads to."""
    return _ask("get_server_list", around)


def _ask(words: str, around: Mapping[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(
            [CONTROL], input=f"{words}\n", env=around, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "cannot find" not in (done.stdout + done.stderr).lower()


class Daemon:
    """A daemon that serves the processes which this one starts; `end` ends it, where it is this command's own."""

    def __init__(self, whose: str, folder: Path | None = None, lock: int = -1) -> None:
        self.folder, self.lock = folder, lock
        own = {} if folder is None else _around(folder)
        self.before = {name: os.environ.get(name) for name in (USED, *own)}
        os.environ.update({USED: whose, **own})

    def end(self) -> None:
        """Twice is once."""
        for name, value in self.before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        self.before = {}
        if self.folder:
            _finish(self.folder)
            os.close(self.lock)
            self.folder = None


@contextmanager
def served(say: Callable[[str], None]) -> Iterator[Daemon | None]:
    """A server for the processes that are started within it; None where there is none to be had."""
    _clear()
    server = _found(say) if shutil.which(CONTROL) else None
    try:
        yield server
    finally:
        if server:
            server.end()


def _found(say: Callable[[str], None]) -> Daemon | None:
    if answers():
        return Daemon("the user's")
    if os.environ.get(PIPES):
        say(f"MPS: no daemon answers at {PIPES}={one_line(os.environ[PIPES])}: going on without")
        return None
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        lock = _locked(folder)
    except (OSError, Problem) as error:
        shutil.rmtree(folder, ignore_errors=True)
        say(f"MPS was not started, going on without: {one_line(str(error), 200)}")
        return None
    trouble = _begin(folder)
    if not trouble:
        return Daemon("own", folder, lock)
    _finish(folder)
    os.close(lock)
    say(f"MPS did not start, going on without: {trouble}")
    return None


def _around(folder: Path) -> dict[str, str]:
    return {PIPES: str(folder / "pipe"), LOGS: str(folder / "log")}


def _begin(folder: Path) -> str:
    """Start a daemon whose files are in `folder`; why it did not start, or nothing."""
    for path in _around(folder).values():
        Path(path).mkdir()
    # Without the mask of this process: the daemon would number its devices anew, and its clients, who have it, again
    around = {name: value for name, value in os.environ.items() if name != MASK} | _around(folder)
    null = subprocess.DEVNULL  # the daemon would hold a pipe of ours open
    try:
        done = subprocess.run(
            [CONTROL, "-d"],
            stdin=null,
            stdout=null,
            stderr=null,
            env=around,
            timeout=PATIENCE,
            check=False,
            start_new_session=True,  # Ctrl-C is the command's to heed
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return one_line(str(error), 200)
    if done.returncode:
        return f"{CONTROL} -d ended with {done.returncode}{_last(folder)}"
    return "" if answers(around) else f"its daemon does not answer{_last(folder)}"


def _last(folder: Path) -> str:
    """The last line of its log."""
    with suppress(OSError):
        lines = (folder / "log" / "control.log").read_text(errors="replace").strip().splitlines()
        return f": {one_line(lines[-1], 200)}" if lines else ""
    return ""


def _locked(folder: Path) -> int:
    """`folder` marked as that of a living process: the kernel lets go of the lock when it dies, however."""
    young = folder / "begun"
    lock = os.open(young, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, young)
        os.rename(young, folder / "owner")  # it is never there without its lock
    except BaseException:
        os.close(lock)
        raise
    return lock


def _clear() -> None:
    """End the daemons of commands that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Problem):  # another's, or another command clears it now
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / "owner", os.O_RDWR)
            try:
                flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, folder)
                _finish(folder)
            finally:
                os.close(lock)


def _finish(folder: Path) -> None:
    """End the daemon in `folder`, by its own word or else by a signal; remove the folder."""
    around = {**os.environ, **_around(folder)}
    if shutil.which(CONTROL):
        _ask("quit", around)
    with suppress(OSError, ValueError):
        process = int((folder / "pipe" / f"{CONTROL}.pid").read_text())
        if CONTROL.encode() in Path(f"/proc/{process}/cmdline").read_bytes():  # the number may be another's by now
            os.kill(process, signal.SIGTERM)
    shutil.rmtree(folder, ignore_errors=True)
