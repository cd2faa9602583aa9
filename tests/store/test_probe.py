"""What a folder is found to do."""

import os
import time

import pytest

from harness.store.probe import probe

WHAT = ("exclusive creation", "rename over a file", "links", "append and flush", "locks between processes here")


def test_a_folder_of_this_machine_does_all_and_nothing_is_left_there(tmp_path):
    found = probe(tmp_path)
    assert [what for what, _, _ in found][:-1] == list(WHAT)
    assert all(ok for _, ok, _ in found), found
    assert list(tmp_path.iterdir()) == []


def refused(*args, **more):
    raise OSError(95, "Operation not supported")


@pytest.mark.parametrize(
    ("name", "stands_for", "what"),
    [
        ("os.link", refused, "links"),
        ("os.link", lambda *a: None, "links"),
        ("os.fsync", refused, "append and flush"),
        ("fcntl.flock", refused, "locks between processes here"),
        ("fcntl.flock", lambda *a: None, "locks between processes here"),
        ("pathlib.Path.rename", lambda *a: None, "rename over a file"),
        ("os.O_EXCL", 0, "exclusive creation"),
        ("time.time", lambda now=time.time: now() + 1000, "clock of the folder against this machine's"),
    ],
)
def test_what_does_not_hold_is_found(name, stands_for, what, tmp_path, monkeypatch):
    monkeypatch.setattr(name, stands_for)
    assert [each for each, ok, _ in probe(tmp_path) if not ok] == [what]
    assert os.listdir(tmp_path) == []
