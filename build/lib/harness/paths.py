"""Where runs leave what they make: `runs/` here, or the folder that HARNESS_RUNS names; and how it is written."""

import os
from pathlib import Path

from harness import Problem


def runs() -> Path:
    path = Path(os.environ.get("HARNESS_RUNS") or "runs").absolute()
    if set("?#%") & set(str(path)):
        raise Problem(f"HARNESS_RUNS={path}: a database's address cannot hold ?, # or %; choose another folder")
    return path


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


def sync_folder(path: Path) -> None:
    """Make the names in `path` last: a rename is on disk when its folder is."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
