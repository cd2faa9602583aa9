"""Folders as users name them, and file systems that lack what most have."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness import Problem, paths, tracking, trials
from harness.store import Store
from harness.store.care import holder

KEY = "0123456789abcdef", 0


def failing(monkeypatch, where, name, code):
    """`where.name` fails as the kernel would."""

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(where, name, fail)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_flushed_is_passed_over_and_a_file_is_not(code, tmp_path, monkeypatch):
    failing(monkeypatch, os, "fsync", code)
    paths.sync_folder(tmp_path)
    with pytest.raises(OSError, match=f"'{tmp_path}/x'"):
        paths.write_atomic(tmp_path / "x", b"new")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_folder_whose_disk_fails_is_named(code, tmp_path, monkeypatch):
    failing(monkeypatch, os, "fsync", code)
    with pytest.raises(OSError, match=f"{os.strerror(code)}: '{tmp_path}'"):
        paths.sync_folder(tmp_path)


def holds(store):
    with store.claim(*KEY):
        pass


LOCKS = {
    "a claim": holds,
    "who holds a run": lambda store: holder(store, KEY),
    "a search's turn": lambda store: trials.flocked(store.root / "turn").__enter__(),
    "whether a trial is held": lambda store: trials.is_held(store.root / "turn"),
    "MLflow's turn": lambda store: tracking.one_at_a_time().__enter__(),
}


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("what", LOCKS)
def test_where_there_is_no_flock_the_folder_is_named_and_what_to_do(what, code, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    store = Store(tmp_path)
    holds(store)
    (tmp_path / "turn").touch()
    failing(monkeypatch, fcntl, "flock", code)
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Problem, match=rf"^{tmp_path}.* has no flock .* Set HARNESS_RUNS to a local folder, .*-o flock"):
        LOCKS[what](store)
    assert len(os.listdir("/proc/self/fd")) == files, "none is left open"


def test_a_lock_that_fails_otherwise_says_how(tmp_path, monkeypatch):
    failing(monkeypatch, fcntl, "flock", errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        holds(Store(tmp_path))


def test_the_home_folder_is_where_a_path_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARNESS_RUNS", "~/runs")
    assert paths.runs() == tmp_path / "runs"
    assert paths.given("~") == tmp_path
    assert paths.given("./~") == Path("~"), "a folder of that name can be written"
    monkeypatch.setenv("HARNESS_RUNS", "~nobody-of-that-name/runs")
    with pytest.raises(Problem, match="no home folder is known for ~nobody-of-that-name: write the whole path"):
        paths.runs()


def homeless(folder, module, *words, **variables):
    """A command of a user who has no home folder: neither HOME nor an entry among the machine's users."""
    code = "import pwd, runpy, sys\n"
    code += "def getpwuid(uid): raise KeyError(uid)\n"
    code += f"pwd.getpwuid = getpwuid\nsys.argv = {['x', *words]}\nrunpy.run_module({module!r}, run_name='__main__')"
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "HARNESS_RUNS")} | variables
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_without_a_home_folder_all_goes_on_and_a_path_in_it_is_one_line(tmp_path):
    done = homeless(tmp_path, "harness.store", "list")
    assert (done.returncode, done.stderr) == (0, "")
    for words, variables in ((("list",), {"HARNESS_RUNS": "~/runs"}), (("export", "~/x"), {})):
        done = homeless(tmp_path, "harness.store", *words, **variables)
        assert done.returncode == 2
        assert done.stderr.startswith("harness.store: ~/")
        assert done.stderr.endswith("no home folder is known for ~: write the whole path\n")
    assert list(tmp_path.iterdir()) == []


def test_no_wait_for_a_lock_is_without_an_end(tmp_path):
    path = tmp_path / "turn"
    one, two = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    paths.wait_for(one, path)
    with pytest.raises(Problem, match=r"turn has been held by another process for 0 s: .*fuser"):
        paths.wait_for(two, path, patience=0.05)
    threading.Timer(0.1, os.close, [one]).start()
    paths.wait_for(two, path)
    os.close(two)
