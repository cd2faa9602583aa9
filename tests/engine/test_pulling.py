import os
import signal
import sys

import pytest

from harness.engine import pulling
from harness.engine.mailbox import Mailbox
from harness.engine.pulling import FAILED, FINISHED, KEPT, TURNED_AWAY, Puller
from harness.store import Store
from tests.kit.tiny import BASELINE, Lying


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {number: signal.getsignal(number) for number in (*pulling.STOPS, signal.SIGUSR1)}
    yield Mailbox.made(Store(), 0.0, None)
    for number, handler in before.items():
        signal.signal(number, handler)


def kinds(box):
    return [(order, event["kind"]) for _, order, event in box.words() if event["kind"] != "batch"]


def test_runs_are_trained_until_there_are_none(box):
    good, bad = BASELINE.but(epochs=1), BASELINE.but(epochs=1).having("augment", Lying())
    box.post(1, (good, 0))
    box.post(2, (bad, 0))
    assert Puller(box, "w", patience=0.0).pull() == FAILED
    said = kinds(box)
    assert [kind for order, kind in said if order == 1] == ["started", "epoch", "finished"]
    assert said[-1] == (2, "failed")
    assert (good.id, 0) in Store()
    assert (bad.id, 0) not in Store()


def test_it_leaves_after_as_many_as_it_is_told(box):
    for seed in range(2):
        box.post(seed, (BASELINE.but(epochs=1, batch_size=298), seed))
    assert Puller(box, "w", most=1).pull() == FINISHED
    assert os.listdir(box.folder / "orders") == ["000001"]


def test_who_cannot_say_the_end_of_a_run_leaves(box, monkeypatch):
    """Or its launcher would wait for that end, as long as it trains others."""
    for seed in range(2):
        box.post(seed, (BASELINE.but(epochs=1, batch_size=298), seed))
    say = Mailbox.say

    def full(self, worker, order, event):
        if event["kind"] == "finished":
            raise OSError(28, "No space left on device")
        say(self, worker, order, event)

    monkeypatch.setattr(Mailbox, "say", full)
    assert Puller(box, "w").pull() == FINISHED
    assert os.listdir(box.folder / "orders") == ["000001"]


def test_a_signal_keeps_the_run_and_it_goes_on_elsewhere(box, monkeypatch):
    box.post(1, (BASELINE, 0))
    say = Mailbox.say

    def warned(self, worker, order, event):
        say(self, worker, order, event)
        if event["kind"] == "epoch" and event["at"]["epoch"] == 0:
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Mailbox, "say", warned)
    assert Puller(box, "w").pull() == KEPT
    assert kinds(box)[-1] == (1, "kept")
    events = Store().events(BASELINE.id, 0)
    assert events[-1]["event"] == "interrupted"
    assert any(event["event"] == "checkpoint" for event in events)


def test_a_run_that_is_wanted_no_more_is_left_and_its_worker_takes_the_next(box, monkeypatch):
    monkeypatch.setattr(pulling, "GLANCE", 0.0)
    long, short = BASELINE.but(epochs=100_000), BASELINE.but(epochs=1)
    box.post(1, (long, 0))
    box.post(2, (short, 0))
    say = Mailbox.say

    def stops(self, worker, order, event):
        say(self, worker, order, event)
        if order == 1 and event["kind"] == "epoch":
            self.stop(1)

    monkeypatch.setattr(Mailbox, "say", stops)
    assert Puller(box, "w", patience=0.0).pull() == FINISHED
    assert [(order, kind) for order, kind in kinds(box) if kind in ("interrupted", "finished")] == [
        *((1, "interrupted"), (2, "finished")),
    ]


def test_data_that_is_named_from_where_the_command_was_given_is_found(box, monkeypatch, tmp_path):
    given = os.getcwd()
    monkeypatch.chdir(tmp_path)
    assert Puller(box, "w").enter()
    assert os.getcwd() == given


def test_a_device_that_is_not_there_turns_a_worker_away(box, tmp_path):
    box.remove()
    box.make(Store(), 0.0, "cuda:64")
    assert Puller(box, "w").pull() == TURNED_AWAY
    ((_, _, event),) = box.words()
    assert event["kind"] == "unfit"
    assert "cuda:64" in event["why"]


@pytest.mark.parametrize("what", ["torch", "commit"])
def test_another_version_takes_no_order(box, monkeypatch, what, capsys):
    box.post(1, (BASELINE, 0))
    mine = pulling.fitness()
    monkeypatch.setattr(pulling, "fitness", lambda: mine | {what: "another"})
    assert Puller(box, "w").pull() == TURNED_AWAY
    ((_, _, event),) = box.words()
    assert event["kind"] == "unfit"
    assert f"{what} another" in event["why"]
    assert f"{what} another" in capsys.readouterr().err
    assert os.listdir(box.folder / "orders") == ["000001"]


def test_a_mailbox_that_is_shut_or_gone_is_left(box):
    box.shut()
    assert Puller(box, "w").pull() == FINISHED
    box.post(1, (BASELINE, 0))
    assert Puller(box, "w").pull() == FINISHED
