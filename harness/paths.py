"""Where runs leave what they make: `runs/` here, or the folder that HARNESS_RUNS names."""

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
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
