"""Small clusters by hand, and what holds for any."""

import itertools
from math import inf

import numpy as np
import pytest

from harness import Problem
from harness.engine import RETRIES
from harness.engine.scheduler import key
from harness.simulate.cluster import Cluster, Weather, bound, work
from harness.simulate.orders import ORDERS
from tests.kit.tiny import BASELINE, tiny_plan

A, B, C = ((BASELINE.but(epochs=epochs), 0) for epochs in (2, 3, 4))
TEACHER, *STUDENTS = tiny_plan().runs(["distillation"])
RUNS = [(BASELINE, seed) for seed in range(40)]


def lengths(*pairs):
    return {key(run): seconds for run, seconds in pairs}


def train(gpus, lengths, runs, **weather):
    return Cluster(gpus, lengths, Weather(**weather)).train(runs)


def struck(monkeypatch, *strikes):
    """Attempts that die, or are preempted, after so many seconds; those after them last."""
    left = itertools.chain(strikes, itertools.repeat((inf, inf)))
    monkeypatch.setattr(Weather, "strikes", lambda self, run, attempt: next(left))


def test_three_runs_on_two_gpus():
    """One has 3 s and then 2 s, the other 4 s: 1 of 10 s idle."""
    told = train(2, lengths((A, 3.0), (B, 4.0), (C, 2.0)), [A, B, C])
    assert (told.makespan, told.bound, told.trained, told.held) == (5.0, 4.5, 9.0, 10.0)
    assert told.idle == pytest.approx(0.1)
    assert (told.wasted, told.deaths, told.preempted, told.failed) == (0, 0, 0, 0)


def test_a_teacher_goes_first_and_its_students_are_a_chain():
    """The teacher's 5 s and a student's 2 s; A meanwhile. Whoever is offered first."""
    taken = lengths((TEACHER, 5.0), (STUDENTS[0], 2.0), (STUDENTS[1], 2.0), (A, 1.0))
    for runs in ([*STUDENTS, A, TEACHER], [TEACHER, A, *STUDENTS]):
        told = train(3, taken, runs)
        assert (told.makespan, told.bound) == (7.0, 7.0)
    assert train(1, taken, [TEACHER, A, *STUDENTS]).makespan == 10.0


def test_a_death_loses_what_was_trained_after_the_last_checkpoint(monkeypatch):
    """Of 10 s, 7 are done; the checkpoint is at 5 s, half way: 2 s are trained twice."""
    struck(monkeypatch, (7.0, inf))
    told = train(1, lengths((A, 10.0)), [A], checkpoint=5.0)
    assert (told.makespan, told.wasted, told.trained, told.deaths) == (12.0, 2.0, 12.0, 1)


def test_checkpoints_go_on_in_the_next_attempt(monkeypatch):
    """Dead at 7 s, gone on from 5; dead after 4 s more, at 9, gone on from 5 again: 2 + 4 s twice."""
    struck(monkeypatch, (7.0, inf), (4.0, inf))
    assert train(1, lengths((A, 10.0)), [A], checkpoint=5.0).wasted == 6.0


def test_a_preempted_run_loses_nothing(monkeypatch):
    struck(monkeypatch, *[(inf, 3.0)] * 3)
    told = train(1, lengths((A, 10.0)), [A], checkpoint=5.0)
    assert (told.makespan, told.wasted, told.preempted, told.deaths) == (10.0, 0.0, 3, 0)


def test_a_preempted_run_is_kept_where_it_was_and_goes_on_from_there_after_a_death(monkeypatch):
    """Kept at 7 s, which is between checkpoints; dead after 1 s more."""
    struck(monkeypatch, (inf, 7.0), (1.0, inf))
    assert train(1, lengths((A, 10.0)), [A], checkpoint=5.0).wasted == 1.0


def test_a_run_that_dies_too_often_fails_with_what_builds_on_it(monkeypatch):
    struck(monkeypatch, *[(1.0, inf)] * (RETRIES + 1))
    taken = lengths((TEACHER, 5.0), (STUDENTS[0], 2.0), (STUDENTS[1], 2.0))
    told = train(1, taken, [TEACHER, *STUDENTS], checkpoint=5.0)
    assert (told.failed, told.deaths, told.makespan) == (3, 3, 3.0)


@pytest.mark.parametrize("gpus", [1, 3, 7, 40, 64])
def test_equal_lengths_go_in_waves(gpus):
    told = train(gpus, dict.fromkeys(map(key, RUNS), 6.0), RUNS)
    assert told.makespan == -(-40 // gpus) * 6.0


def test_runs_of_several_ranks_have_as_many_gpus():
    """Five GPUs: two pairs and A for 3 s, then two pairs."""
    pairs = [(BASELINE.but(ranks=2), seed) for seed in range(4)]
    runs = [*pairs[:2], A, *pairs[2:]]
    told = train(5, dict.fromkeys(map(key, runs), 3.0), runs)
    assert (told.makespan, told.trained, told.held, told.bound) == (6.0, 27.0, 30.0, 27 / 5)
    assert told.failed == 0
    with pytest.raises(Problem, match="--gpus 1: a run takes 2"):
        train(1, dict.fromkeys(map(key, runs), 3.0), runs)


@pytest.fixture(params=range(3))
def drawn(request):
    """A teacher, its two students and forty runs, of lengths drawn."""
    runs = [TEACHER, *STUDENTS, *RUNS]
    return runs, dict(zip(map(key, runs), np.random.default_rng(request.param).exponential(50, len(runs)), strict=True))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("weather", [{}, {"death": 2000.0, "preemption": 60.0, "checkpoint": 7.0}])
def test_no_order_is_below_the_bound_and_each_is_within_grahams_of_it(drawn, order, weather):
    runs, taken = drawn
    for gpus in (1, 2, 5, 16, 64):
        told = train(gpus, taken, ORDERS[order](runs, taken), **weather)
        assert told.makespan >= told.bound * (1 - 1e-12)
        assert told.failed == 0, "else less is trained"
        assert told.trained - told.wasted == pytest.approx(sum(taken.values()))
        if not weather:
            assert told.makespan <= told.bound * (2 - 1 / gpus) * (1 + 1e-12)


def test_more_gpus_are_never_worse_by_more_than_grahams_anomaly(drawn):
    runs, taken = drawn
    spans = {gpus: train(gpus, taken, runs).makespan for gpus in (1, 2, 3, 5, 8, 13, 40)}
    for few, many in itertools.pairwise(spans):
        assert spans[many] <= spans[few] * (2 - 1 / many)


def test_the_same_draw_is_the_same_weather_and_another_is_another(drawn):
    runs, taken = drawn
    one, same, other = (train(5, taken, runs, death=100.0, preemption=50.0, draw=draw) for draw in (0, 0, 1))
    assert one == same
    assert one != other
    assert one.deaths > 0


def test_deaths_come_at_their_rate():
    """In 4,000 GPU-seconds one a 40 s: 100 ± 10; checkpoints so close that little is lost. Hardly a run has three."""
    told = train(3, dict.fromkeys(map(key, RUNS), 10.0), RUNS, death=40.0, checkpoint=1e-3)
    many = [train(3, dict.fromkeys(map(key, RUNS), 10.0), RUNS, death=40.0, checkpoint=1e-3, draw=i) for i in range(10)]
    assert sum(told.deaths for told in many) == pytest.approx(sum(told.trained for told in many) / 40, abs=25)
    assert told.wasted < 1e-3 * told.deaths + 1e-12


def test_stragglers_take_twice_as_long_wherever_they_run():
    seconds = {BASELINE.id: 3.0}
    slow = work(RUNS, seconds, Weather(stragglers=0.25))
    assert set(slow.values()) == {3.0, 6.0}
    assert sum(value == 6.0 for value in slow.values()) == pytest.approx(10, abs=8)
    assert work(RUNS[::-1], seconds, Weather(stragglers=0.25)) == slow
    assert set(work(RUNS, seconds, Weather()).values()) == {3.0}
    assert set(work(RUNS, seconds, Weather(stragglers=1.0)).values()) == {6.0}


def test_the_bound_is_of_the_work_or_of_the_longest_chain():
    taken = lengths((TEACHER, 5.0), (STUDENTS[0], 2.0), (STUDENTS[1], 3.0), (A, 10.0))
    runs = [STUDENTS[1], A, TEACHER, STUDENTS[0]]
    assert bound(runs, taken, 1) == 20.0
    assert bound(runs, taken, 4) == 10.0
    assert bound(runs, taken | lengths((A, 1.0)), 4) == 8.0
