"""Folders, fsspec's memory, and S3 as moto is it."""

import os
import sys
import threading

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from harness.store.address import MARK, Address, Away
from tests.kit.objects import error, served

KINDS = ("folder", "file", "memory", "s3")


@pytest.fixture(scope="module")
def objects():
    with served() as objects:
        yield objects


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("harness.store.address.WAITS", (0.0, 0.0))


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("objects")
    urls = {"folder": f"{tmp_path}/a", "file": f"file://{tmp_path}/a", "memory": f"memory:/{tmp_path}"}
    return urls.get(request.param, f"s3://bucket/{tmp_path.name}")


def test_what_is_put_is_listed_and_read_and_what_is_created_stays(url):
    address = Address(url)
    address.put("files/a", b"one")
    address.put("files/a", b"other")
    address.create("runs/b/0.json", b"mine")
    with pytest.raises(FileExistsError):
        address.create("runs/b/0.json", b"yours")
    again = Address(url)
    assert again.listed("files") == {"files/a": 5}
    assert again.listed("runs") == {"runs/b/0.json": 4}
    assert again.listed("none") == {}
    assert (again.read("files/a"), again.read("runs/b/0.json")) == (b"other", b"mine")
    with pytest.raises(FileNotFoundError):
        again.read("files/none")


def test_an_address_is_marked_once_and_known_by_that(url):
    address = Address(url)
    with pytest.raises(Away, match="holds no runs: no harness.json is there"):
        address.known()
    address.ready()
    address.ready()
    address.known()
    for text, said in (
        (b'{"format": 2}', "use a newer harness"),
        (b"[", "is damaged: remove it there"),
        (b"[]", "damaged"),
    ):
        address.put(MARK, text)
        with pytest.raises(Away, match=said):
            address.ready()


@pytest.mark.parametrize("url", ["folder", "s3"], indirect=True)
def test_of_two_that_create_one_name_one_does(url):
    won, barrier = [], threading.Barrier(2)

    def create(number):
        address = Address(url)
        for name in "abc":
            barrier.wait()
            try:
                address.create(name, b"%d" % number * 1000)
                won.append((name, number))
            except FileExistsError:
                pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in won) == list("abc")
    assert all(Address(url).read(name) == b"%d" % number * 1000 for name, number in won)


def test_a_folder_shows_nothing_torn(tmp_path, monkeypatch):
    address = Address(str(tmp_path))
    address.put("files/a", b"whole")

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (address.put, address.create):
        with pytest.raises(Away, match="No space left"):
            write("files/a", b"other")
    assert address.listed("") == {"files/a": 5}
    assert address.read("files/a") == b"whole"


class Careless(MemoryFileSystem):
    """As s3fs 0.4.2: overwrites where it is asked to create."""

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        super().pipe_file(path, value)


class Asking(MemoryFileSystem):
    """As others: asks whether it is there, by a list that may be old, and then overwrites."""

    pipe_file = MemoryFileSystem.__mro__[1].pipe_file

    def _open(self, path, mode="rb", **kwargs):
        return super()._open(path, mode.replace("x", "w"), **kwargs)


@pytest.mark.parametrize("kind", [Careless, Asking])
def test_a_back_end_that_overwrites_is_not_used(kind, tmp_path):
    address = Address(f"memory:/{tmp_path}")
    address.fs = kind()
    with pytest.raises(Away, match=r"overwrites a file that it was asked to create.*pip install --upgrade \"ablation"):
        address.ready()


def refusing(objects, answer):
    objects.before = lambda method, path: answer if method == "PUT" else None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (error("503 Slow Down", "ServiceUnavailable"), "does not answer .*the same command goes on"),
        (error("403 Forbidden", "AccessDenied"), "lets nobody in by what it was given .*credentials"),
        (
            error("403 Forbidden", "SignatureDoesNotMatch", "hunter2hunter2 it was"),
            r"lets nobody in .*\(\*\*\* it was\)",
        ),
        (error("409 Conflict", "ConditionalRequestConflict"), "does not answer .*ConditionalRequestConflict"),
    ],
)
def test_an_answer_of_s3_is_a_line(answer, said, objects):
    refusing(objects, answer)
    try:
        with pytest.raises(Away, match=f"^s3://bucket/team {said}") as problem:
            Address(objects.url).create("x", b"")
    finally:
        objects.calm()
    assert "\n" not in str(problem.value)


def test_a_precondition_that_fails_without_a_word_is_another_that_was_first(objects):
    """MinIO and others do not say which condition it was."""
    refusing(objects, error("412 Precondition Failed", "PreconditionFailed"))
    try:
        with pytest.raises(FileExistsError):
            Address(objects.url).create("x", b"")
    finally:
        objects.calm()


def test_a_conflict_is_asked_about_again(objects):
    answers = [error("409 Conflict", "ConditionalRequestConflict")]
    objects.before = lambda method, path: answers.pop() if answers and method == "PUT" else None
    Address(objects.url).create("conflict", b"x")
    assert not answers
    assert Address(objects.url).read("conflict") == b"x"


def test_nobody_without_credentials_nor_where_nobody_is(objects, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(Away, match="does not answer"):
            Address(objects.url).listed("runs")
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(Away, match="lets nobody in .*AWS_ACCESS_KEY_ID"):
            Address(objects.url).listed("runs")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://nobucket/x", "^s3://nobucket/x is not there .*make the bucket"),
        ("s3://u:hunter3@bucket/x", r"^s3://u:\*\*\*@bucket/x cannot hold runs .*take a folder, s3://BUCKET"),
        ("nothing://x", "is of no kind that is known .*take a folder, s3://BUCKET"),
        ("github://x", "cannot hold runs"),
        ("/proc/nothing", "is not there"),
    ],
)
def test_an_address_that_is_none_is_a_line(url, said, objects):
    with pytest.raises(Away, match=said) as problem:
        Address(url).ready()
    assert "hunter3" not in str(problem.value)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(Away, match=r"^gs://bucket/x needs a package .*pip install .*\[remote\].*gcsfs"):
        Address("gs://bucket/x")
