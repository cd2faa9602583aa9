"""One folder mounted twice: what two machines see of it, which have no `flock` in common."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import SkipTest


@contextmanager
def mounted_twice(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Raises SkipTest where that cannot be done."""
    if not shutil.which("bindfs") or not os.path.exists("/dev/fuse"):
        raise SkipTest("needs bindfs and FUSE: apt-get install bindfs")
    shared = folder / "shared"
    shared.mkdir()
    with ExitStack() as mounted:
        places = folder / "mount-1", folder / "mount-2"
        for place in places:
            place.mkdir()
            made = subprocess.run(["bindfs", shared, place], capture_output=True, text=True, check=False)
            if made.returncode:
                raise SkipTest(f"bindfs: {made.stderr.strip()}")
            mounted.callback(subprocess.run, ["fusermount", "-u", "-z", place], check=True)
        yield places
