import os
import threading

import pytest

from harness import Problem
from harness.engine import mailbox
from harness.engine.mailbox import Mailbox
from harness.store import Store
from harness.train import How
from tests.kit.tiny import BASELINE

RUN = (BASELINE, 3)


@pytest.fixture
def box(tmp_path):
    return Mailbox.made(Store(tmp_path / "store"), 60.0, None)


def test_a_worker_is_told_how_to_train(box, tmp_path):
    assert (box.terms.every, box.terms.how) == (60, How())
    assert Mailbox.made(Store(tmp_path / "store"), 5.0, None, How(curve_every=3)).terms.how == How(curve_every=3)


def test_an_order_is_had_by_one_worker_of_many(box):
    for number in range(40):
        box.post(number, (BASELINE, number))
    had = {}

    def work(name):
        while order := box.take(name):
            had.setdefault(name, []).append(order)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    orders = [order for each in had.values() for order in each]
    assert sorted(number for number, _ in orders) == list(range(40))
    assert all(run == (BASELINE, number) for number, run in orders)
    assert box.takers() == {number: name for name, each in had.items() for number, _ in each}


def test_what_a_worker_says_is_heard_once_and_whole_lines_alone(box):
    box.say("a", 1, {"kind": "started"})
    assert [*box.words()] == [("a", 1, {"kind": "started"})]
    box.say("a", 1, {"kind": "finished"})
    said = box.folder / "said" / "a"
    whole = said.read_bytes()
    said.write_bytes(whole[:-5])
    assert [*box.words()] == []
    said.write_bytes(whole)
    assert [*box.words()] == [("a", 1, {"kind": "finished"})]


def test_a_word_for_which_there_is_no_space_leaves_nothing_of_it(box, monkeypatch):
    box.say("a", 1, {"kind": "started"})
    write = os.write
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", lambda file, text: write(file, text[:9]))  # what is left of a disk
        with pytest.raises(OSError, match="No space left"):
            box.say("a", 1, {"kind": "epoch"})
    box.say("a", 1, {"kind": "finished"})
    assert [event["kind"] for _, _, event in box.words()] == ["started", "finished"]


def test_an_order_can_be_taken_back_until_a_worker_has_it(box):
    box.post(1, RUN)
    box.post(2, RUN)
    assert box.take("a") == (1, RUN)
    assert box.recall(2)
    assert not box.recall(1)
    assert box.take("b") is None
    assert box.takers() == {1: "a"}


def test_a_rename_that_says_it_was_not_done_may_have_been(box, monkeypatch):
    """NFS: the answer to the first request is lost, and the second finds nothing to rename."""
    box.post(1, RUN)
    rename = os.rename

    def twice(source, to):
        rename(source, to)
        raise FileNotFoundError(source)

    monkeypatch.setattr(mailbox.os, "rename", twice)
    assert box.take("a") == (1, RUN)


def test_orders_in_a_folder_that_others_may_write_are_not_followed(box):
    assert box.terms.store == str(box.folder.parent.parent / "store")
    os.chmod(box.folder, 0o777)
    with pytest.raises(Problem, match="can be written by others"):
        _ = box.terms


def test_a_machine_that_does_not_see_the_folder_is_told_so(tmp_path):
    with pytest.raises(Problem, match="does this machine see the folder of runs"):
        _ = Mailbox(tmp_path / "mail" / "none").terms


def test_a_word_that_a_full_disk_tore_hides_none_after_it(box):
    box.say("a", 1, {"kind": "started"})
    with (box.folder / "said" / "a").open("ab") as file:
        file.write(b'\n{"order": 1, "ev')
    box.say("a", 1, {"kind": "finished"})
    assert [event["kind"] for _, _, event in box.words()] == ["started", "finished"]


def test_a_folder_that_its_command_took_along_has_no_orders(box):
    box.remove()
    assert box.take("a") is None
    assert not box.to_stop(1)
