"""Where runs leave what they make: `runs/` here, or the folder that HARNESS_RUNS names; and how it is written."""

import errno
import fcntl
import os
import time
from pathlib import Path

from harness import Problem

PATIENCE = 600.0  # seconds for a lock that is only ever held while a line is written, or a trial's values drawn
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
NO_FOLDER_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)  # old network mounts: there a rename is as safe as it gets


def runs() -> Path:
    path = given(os.environ.get("HARNESS_RUNS") or "runs").absolute()
    if set("?#%") & set(str(path)):
        raise Problem(f"HARNESS_RUNS={path}: a database's address cannot hold ?, # or %; choose another folder")
    return path


def given(text: str) -> Path:
    """A path as a user writes it: `~` is the home folder. Raises Problem where there is none."""
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise Problem(f"{text}: no home folder is known for {text.partition('/')[0]}: write the whole path")
    return Path(path)


def flock(file: int, how: int, path: Path) -> None:
    """Lock `file`, which is open at `path`. Raises BlockingIOError where another has it, Problem where none can."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise Problem(
            f"{path.parent} is on a file system that has no flock ({error.strerror}), which keeps two processes off "
            "one run. Set HARNESS_RUNS to a local folder, or mount it with locks (Lustre: -o flock; NFS: with lockd)"
        ) from None


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


def write_atomic(path: Path, data: bytes) -> None:
    """The whole of `data` at `path`, or nothing: a temporary file, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, path)
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
    """Put what was written to `file` on disk. Raises OSError that names `path`."""
    try:
        os.fsync(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def sync_folder(path: Path) -> None:
    """Make the names in `path` last: a rename is on disk when its folder is."""
    folder = os.open(path, os.O_RDONLY)
    try:
        sync(folder, path)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(folder)
