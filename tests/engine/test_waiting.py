from harness.engine.waiting import Waiting, key
from tests.kit.tiny import BASELINE

A, B, C = ((BASELINE.but(epochs=epochs), 0) for epochs in (2, 3, 4))


def every(waiting, now=0.0):
    return list(iter(lambda: waiting.due(now), None))


def test_the_last_added_come_last_and_the_first_before_all_in_their_order():
    waiting = Waiting()
    waiting.last(C)
    waiting.first([A, B])
    assert every(waiting) == [A, B, C]
    assert every(waiting) == [], "each was looked at"
    assert all(key(run) in waiting for run in (A, B, C)), "and waits on"


def test_a_run_is_due_from_its_time_on():
    waiting = Waiting()
    waiting.last(A, due=2.0)
    waiting.last(B)
    assert every(waiting, 1.9) == [B]
    assert every(waiting, 2.0) == [A]


def test_a_run_is_due_again_when_one_before_it_has_ended_and_keeps_its_turn():
    waiting = Waiting()
    waiting.last(A)
    waiting.last(B)
    assert every(waiting) == [A, B]
    waiting.after(B, [C])
    waiting.after(A, [C])
    assert every(waiting) == []
    waiting.ended(key(C))
    assert every(waiting) == [A, B]
    waiting.ended(key(C))
    assert every(waiting) == [], "it ended once"


def test_a_run_that_went_away_is_passed_over_even_where_it_comes_again():
    waiting = Waiting()
    waiting.first([A])
    waiting.after(A, [C])
    waiting.drop(key(A))
    waiting.ended(key(C))
    assert not waiting
    assert every(waiting) == []
    waiting.last(A, due=1.0)
    waiting.last(B, due=5.0)
    assert every(waiting) == []
    assert every(waiting, 1.0) == [A]


def test_a_run_added_anew_has_its_new_turn_alone():
    waiting = Waiting()
    waiting.first([A])
    waiting.drop(key(A))
    waiting.last(B)
    waiting.last(A)
    assert every(waiting) == [B, A]
