"""Where things are written, on file systems that lack what others have."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from harness import Problem, paths, tracking
from harness.parts.data import ImageFolder
from harness.search import storage
from harness.spec import File, assign
from harness.store import Store
from harness.store.care import holder
from tests.kit.tiny import BASELINE


def test_the_folder_of_runs_may_begin_with_the_users_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, meant in (("~/runs", "home/runs"), ("here/~", "here/~"), ("~", "home"), ("", "runs")):
        monkeypatch.setenv("HARNESS_RUNS", given)
        assert paths.runs() == tmp_path / meant
    assert paths.expanded("~/x") == tmp_path / "home" / "x"


def test_a_home_that_is_not_there_is_said_where_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # no entry for this user
    monkeypatch.setenv("HARNESS_RUNS", "~/runs")
    file = File(path="~/x")
    for given, ask in (
        ("~/runs", paths.runs),
        ("~/x", lambda: ImageFolder(root="~/x", size=32)),
        ("--set data.root: ~/x", lambda: assign(BASELINE.but(data=ImageFolder(root="x", size=32)), "data.root", "~/x")),
        ("~/x", file.read),
        ("~/x", file.identity),
    ):
        with pytest.raises(Problem, match=rf"^{given}: .*is HOME set\?.*in full$"):
            ask()
    monkeypatch.setenv("HARNESS_RUNS", "runs")
    assert paths.runs() == Path("runs").absolute()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_folder_that_cannot_be_synced_is_passed_over(number, tmp_path, monkeypatch):
    files = []

    def fsync(file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(number, os.strerror(number))
        files.append(file)

    monkeypatch.setattr(os, "fsync", fsync)
    paths.write_atomic(tmp_path / "a" / "b", b"whole")
    assert (tmp_path / "a" / "b").read_bytes() == b"whole"
    assert len(files) == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fails_is_not_passed_over_and_what_failed_is_named(number, tmp_path, monkeypatch):
    def fsync(file):
        raise OSError(number, os.strerror(number))

    with Store(tmp_path).claim("0" * 16, 0) as claim:
        claim.begin({"spec": {}, "resolved": {}})
        monkeypatch.setattr(os, "fsync", fsync)
        for path, act in (
            (tmp_path, lambda: paths.sync_folder(tmp_path)),
            (tmp_path / "a", lambda: paths.write_atomic(tmp_path / "a", b"whole")),
            (claim.folder / "journal-1.jsonl", lambda: claim.note("failed", safe=True)),
        ):
            with pytest.raises(OSError, match=os.strerror(number)) as error:
                act()
            assert (error.value.errno, error.value.filename) == (number, str(path))


def hold(context):
    with context:
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_no_file_can_be_locked_the_folder_is_named_and_what_to_do(number, tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    store = Store()
    hold(store.claim("0" * 16, 0))
    (tmp_path / "turn").touch()
    monkeypatch.setattr(fcntl, "flock", flock)
    run = store.folder("0" * 16, 0)
    for folder, act in (
        (run, lambda: hold(store.claim("0" * 16, 0))),
        (run, lambda: holder(store, ("0" * 16, 0))),
        (tmp_path, lambda: hold(tracking.one_at_a_time())),
        (tmp_path, lambda: hold(storage.flocked(tmp_path / "turn"))),
        (tmp_path, lambda: storage.is_held(tmp_path / "turn")),
        (tmp_path, paths.check_locks),
    ):
        with pytest.raises(Problem) as problem:
            act()
        assert str(problem.value).startswith(f"files in {folder} cannot be locked ({os.strerror(number)}): ")
        for word in ("HARNESS_RUNS", "Lustre: -o flock", "NFS: lockd"):
            assert word in str(problem.value)


def test_another_error_of_a_lock_names_the_file(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error") as error:
        hold(Store(tmp_path).claim("0" * 16, 0))
    assert error.value.filename == str(tmp_path / ("0" * 16) / "0" / "claim")


def test_locks_that_another_holds_are_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "new"))
    paths.check_locks()
    with tracking.one_at_a_time():
        paths.check_locks()


def test_no_wait_for_a_lock_is_without_an_end(tmp_path):
    path = tmp_path / "turn"
    one, two = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    paths.wait_for(one, path)
    with pytest.raises(Problem, match=r"turn has been held by another process for 0 s: .*fuser"):
        paths.wait_for(two, path, patience=0.05)
    threading.Timer(0.1, os.close, [one]).start()
    paths.wait_for(two, path)
    os.close(two)


@pytest.mark.parametrize("when", ["before", "after"])
def test_of_two_machines_whose_processes_bear_one_number_one_is_first(tmp_path, monkeypatch, when):
    """Containers: each has a process 7. The other writes the whole of its file while this one makes its link."""
    link, refused = os.link, []

    def other():
        monkeypatch.setattr(os, "link", link)
        try:
            paths.write_first(tmp_path / "claim", b"the other's")
        except FileExistsError:
            refused.append("other")

    def meets(old, new):
        if when == "before":
            other()
        link(old, new)
        if when == "after":
            other()

    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(os, "link", meets)
    try:
        paths.write_first(tmp_path / "claim", b"mine")
    except FileExistsError:
        refused.append("this")
    assert refused == (["this"] if when == "before" else ["other"])
    assert (tmp_path / "claim").read_bytes() == (b"mine" if when == "after" else b"the other's")
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]
