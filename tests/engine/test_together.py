"""One job in several processes at once."""

import os
import signal
import time

import pytest

from harness import Problem
from harness.engine import together as room
from harness.engine.together import together


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(room, "METHOD", "fork")


def meet(place, ready):
    began = time.monotonic()
    time.sleep(0.3 * (place == "late"))
    ready()
    return place, time.monotonic() - began, os.getpid()


def test_all_begin_at_once_and_answer_in_order():
    (one, waited, first), (other, _, second) = together(meet, ["early", "late"])
    assert (one, other) == ("early", "late")
    assert waited >= 0.25
    assert len({first, second, os.getpid()}) == 3


def fail(place, ready):
    if place == "bad":
        raise Problem("no such\nplace")
    if place == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    ready()


@pytest.mark.parametrize(("bad", "why"), [("bad", "^no such place$"), ("killed", "^a process was killed$")])
def test_one_that_fails_ends_all_and_says_why(bad, why):
    """The other waits for it at the barrier."""
    began = time.monotonic()
    with pytest.raises(Problem, match=why):
        together(fail, ["good", bad])
    assert time.monotonic() - began < 30


def large(place, ready):
    return "x" * 1_000_000


def test_an_answer_may_be_larger_than_a_pipe():
    assert [len(answer) for answer in together(large, ["a"])] == [1_000_000]


def sleep(place, ready):
    time.sleep(30)


def test_none_is_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(room, "LONGEST", 0.5)
    with pytest.raises(Problem, match="no answer in 0 s"):
        together(sleep, ["a"])
