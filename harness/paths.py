"""Where runs leave what they make: `runs/` here, or the folder that HARNESS_RUNS names; and how it is written."""

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness import Problem

PATIENCE = 600.0  # seconds for a lock that is only ever held while a line is written, or a trial's values drawn
UNSYNCED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # what file systems say that do not sync folders
UNLINKED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # those that give no file a second name
UNLOCKED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # and those that lock no files


def expanded(text: str | Path) -> Path:
    """The path that `text` says, `~` being the user's home: in `--to=~/x`, or in a variable, no shell makes it that."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise Problem(f"{text}: whose home that is cannot be told (is HOME set?): write the path in full") from None


def shipped() -> Path:
    """The folder with the `experiments/` and `reports/` that are shipped: in an installed package, or a tree's top."""
    package = Path(__file__).parent
    inside = package / "shipped"
    return inside if inside.is_dir() else package.parent


def runs() -> Path:
    path = expanded(os.environ.get("HARNESS_RUNS") or "runs").absolute()
    if set("?#%") & set(str(path)):
        raise Problem(f"HARNESS_RUNS={path}: a database's address cannot hold ?, # or %; choose another folder")
    return path


def write_atomic(path: Path, data: bytes) -> None:
    """The whole of `data` at `path`, or nothing: a temporary file, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, data, lambda temporary: os.rename(temporary, path))


def write_first(path: Path, data: bytes) -> None:
    """The whole of `data` at `path`, where nothing is yet. Raises FileExistsError where something is."""
    _write(path, data, lambda temporary: _link(temporary, path))


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        if os.stat(temporary).st_nlink < 2:  # else it was made, and NFS lost the answer and asked again
            raise
    except OSError as error:
        if error.errno not in UNLINKED:
            raise
        # Object stores by FUSE, and FAT: the name is made first, empty, and for a moment nothing is in it
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        os.rename(temporary, path)
    temporary.unlink(missing_ok=True)


def _write(path: Path, data: bytes, put: Callable[[Path], None]) -> None:
    # Of this process alone: on two machines, and in two containers the more, processes bear one number
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.{os.getpid()}")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        put(temporary)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def sync(file: int, path: Path) -> None:
    """Flush an open file, which is at `path`, to disk; an OSError names it."""
    try:
        os.fsync(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def sync_folder(path: Path) -> None:
    """Make the names in `path` last: a rename is on disk when its folder is. Some file systems cannot."""
    folder = os.open(path, os.O_RDONLY)
    try:
        sync(folder, path)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
    finally:
        os.close(folder)


def flock(file: int, how: int, path: Path) -> None:
    """Lock an open file, which is at `path`; the kernel lets go when its owner dies.

    Raises BlockingIOError where another process has it and `how` says not to wait, and Problem where there are no
    locks.
    """
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in UNLOCKED:
            raise OSError(error.errno, error.strerror, str(path)) from None
        advice = "let HARNESS_RUNS name a local folder, or mount this one with locks (Lustre: -o flock, NFS: lockd)"
        raise Problem(f"files in {path.parent} cannot be locked ({error.strerror}): {advice}") from None


def wait_for(file: int, path: Path, patience: float = PATIENCE) -> None:
    """Lock `file`, which is open at `path`, when whoever has it lets go. Raises Problem where that takes too long."""
    until, nap = time.monotonic() + patience, 0.001
    while True:
        try:
            return flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        except BlockingIOError:
            if time.monotonic() > until:
                raise Problem(
                    f"{path} has been held by another process for {patience:.0f} s: is one stopped or frozen? "
                    f"fuser {path} names it; end it, and the same command goes on"
                ) from None
        time.sleep(nap)
        nap = min(2 * nap, 0.1)


def check_locks() -> None:
    """Raises Problem where the folder of runs cannot lock files: said once, and before the first run."""
    runs().mkdir(parents=True, exist_ok=True)
    path = runs() / "mlflow.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(BlockingIOError):
            flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB, path)
    finally:
        os.close(file)
