"""The scheduler, by events made by hand: no process, no clock, no store."""

import pytest

from harness.engine.scheduler import RETRIES, RETRY, Listed, Scheduler, Start, Stop, key
from harness.spec import upstream
from tests.kit import backbones
from tests.kit.tiny import BASELINE, tiny_plan

A, B, C = ((BASELINE.but(epochs=epochs), 0) for epochs in (2, 3, 4))
STUDENT = (tiny_plan().rungs[-1].spec, 0)
TEACHER = (upstream(STUDENT[0])[0], 0)
ON = [(backbones.DETECTOR, seed) for seed in (0, 1)]
UNDER = [(upstream(backbones.DETECTOR)[0], seed) for seed in (0, 1)]
NAMES = {key(run): f"{name} {run[1]}" for name, runs in (("detector", ON), ("backbone", UNDER)) for run in runs}
PAIR = (BASELINE.but(ranks=2), 0)
NAMES |= {key(PAIR): "pair"}
NAMES |= {key(A): "a", key(B): "b", key(C): "c", key(STUDENT): "student", key(TEACHER): "teacher"}
LOST = {"kind": "lost", "why": "it was killed"}


class Asked(Listed):
    """A source to which runs may be added, and which stops those that it is told to at an event."""

    def __init__(self, *runs):
        super().__init__(runs)
        self.more, self.stops, self.seen = False, {}, []

    @property
    def over(self):
        return not self.left and not self.more

    def see(self, event):
        self.seen.append(event["kind"])
        return self.stops.get(event["kind"], ())


class World:
    """A scheduler, its clock and what is stored; `do` tells what it orders, in words."""

    def __init__(self, *runs, stored=(), source=None):
        self.stored, self.now = {key(run) for run in stored}, 0.0
        self.elsewhere = set()
        self.scheduler = Scheduler(source or Listed(runs), self.stored.__contains__, self.elsewhere.__contains__)

    def do(self, free=1):
        return self.told(self.scheduler.orders(free, self.now))

    def hear(self, run, kind, **fields):
        if kind == "finished":
            self.stored.add(key(run))
        return self.told(self.scheduler.hear(run, {"kind": kind, **fields}, self.now))

    def stop(self):
        return self.told(self.scheduler.stop())

    def told(self, orders):
        words = []
        for order in orders:
            if isinstance(order, Start | Stop):
                words.append(f"{type(order).__name__.lower()} {NAMES[key(order.run)]}")
            else:
                more = [str(order[name]) for name in ("why", "text", "reused") if name in order]
                words.append(" ".join([NAMES[key(order["run"])], order["kind"], *more]))
        return words


def test_a_free_place_has_one_run_in_the_order_asked_for():
    world = World(A, B, C)
    assert world.do(free=2) == ["start a", "start b"]
    assert world.do(free=0) == []
    assert world.hear(A, "epoch", at={"epoch": 0}) == ["a epoch"]
    assert world.hear(B, "finished") == ["b finished"]
    assert world.do() == ["start c"]
    assert world.hear(C, "failed", why="it cannot") == ["c failed it cannot"]
    assert not world.scheduler.over
    assert world.hear(A, "finished") == ["a finished"]
    assert world.scheduler.over


def test_what_is_there_already_is_not_started():
    world = World(A, B, stored=[A])
    assert world.do() == ["a finished True", "start b"]


def test_a_run_asked_for_twice_is_started_once():
    world = World(A, A, B)
    assert world.do(free=3) == ["start a", "start b"]


@pytest.mark.parametrize("asked", [(TEACHER, STUDENT, A), (STUDENT, A), (STUDENT, TEACHER, A)])
def test_what_a_run_builds_on_goes_first_even_where_nobody_asked_for_it(asked):
    world = World(*asked)
    assert world.do() == ["start teacher"]
    assert world.do() == ["start a"], "others do not wait for it"
    assert world.do() == []
    world.hear(TEACHER, "finished")
    assert world.do(free=1)[-1] == "start student"


def test_a_record_that_goes_away_while_others_wait_is_made_anew():
    world = World(STUDENT)
    world.do()
    world.hear(TEACHER, "finished")
    world.stored.clear()
    assert world.do() == ["start teacher"]


def test_what_builds_on_a_failed_run_fails_with_it_and_the_rest_goes_on():
    world = World(TEACHER, STUDENT, A)
    world.do()
    assert world.hear(TEACHER, "failed", why="it cannot") == ["teacher failed it cannot"]
    assert world.do() == ["student failed the run it builds on failed", "start a"]


def test_a_backbone_of_the_same_seed_goes_first_and_dooms_its_own_seed_alone():
    world = World(*ON)
    assert UNDER[0][0].id == A[0].id, "it is a run like any other, which a study of its own may have trained"
    assert world.do(free=2) == ["start a", "start backbone 1"]
    assert world.hear(UNDER[0], "failed", why="it cannot") == ["a failed it cannot"]
    assert world.do() == ["detector 0 failed the run it builds on failed"]
    world.hear(UNDER[1], "finished")
    assert world.do() == ["start detector 1"]


def test_a_failed_run_that_is_asked_for_anew_is_tried_anew():
    source = Asked(A)
    world = World(source=source)
    source.more = True
    world.do()
    world.hear(A, "failed", why="it cannot")
    source.left.append(A)
    assert world.do() == ["start a"]


def test_a_run_whose_process_is_lost_is_taken_up_again_and_fails_at_last():
    world = World(A, B)
    for _ in range(RETRIES):
        assert world.do() == ["start a"], "before others"
        assert world.hear(A, "lost", why="it was killed") == ["a note is taken up again, it was killed"]
    assert world.do() == ["start a"]
    (failed,) = world.scheduler.hear(A, LOST, 0.0)
    assert failed == {"kind": "failed", "run": A, "why": "it was killed, 3 times", "deaths": 3}
    assert world.do() == ["start b"]


def test_deaths_are_counted_from_the_last_epoch_that_a_run_came_past():
    """A run of weeks sees many machines die; one that dies at the same place each time is at fault itself."""
    world = World(A)
    for epoch in range(RETRIES + 3):
        assert world.do() == ["start a"]
        assert world.hear(A, "epoch", at={"epoch": epoch}) == ["a epoch"]
        assert world.hear(A, "lost", why="it was killed") == ["a note is taken up again, it was killed"]
    for _ in range(RETRIES - 1):
        assert world.do() == ["start a"]
        world.hear(A, "epoch", at={"epoch": epoch})  # once more: from its last checkpoint
        assert world.hear(A, "lost", why="it was killed") == ["a note is taken up again, it was killed"]
    assert world.do() == ["start a"]
    world.hear(A, "epoch", at={"epoch": epoch})
    assert world.hear(A, "lost", why="it was killed") == ["a failed it was killed, 3 times"]


def test_what_others_hold_is_asked_of_the_store_before_a_place_is_given_to_it():
    """A place may be a job of a cluster, which would be begun to find that out."""
    world = World(A)
    world.do()
    world.hear(A, "held", pid="7")
    world.elsewhere.add(key(A))
    for _ in range(100):
        world.now += RETRY
        assert world.do() == []
    world.elsewhere.clear()
    world.now += 20
    assert world.do() == ["start a"]


def test_a_run_that_was_kept_goes_on_in_another_place_as_often_as_it_takes():
    world = World(A, B)
    assert world.do() == ["start a"]
    for _ in range(RETRIES + 3):
        assert world.hear(A, "kept", why="its time was over") == ["a note waits for another place, its time was over"]
        assert world.do() == ["start a"], "before the next"
    world.told(world.scheduler.stop())
    assert world.hear(A, "kept", why="its time was over") == ["a interrupted"]


def test_what_others_hold_is_said_once_and_asked_for_again_later():
    world = World(A, B)
    world.do()
    assert world.hear(A, "held", pid="7") == ["a note is being trained by process 7"]
    assert world.do() == ["start b"], "meanwhile"
    world.hear(B, "finished")
    assert world.do() == []
    world.now += RETRY
    assert world.do() == ["start a"]
    assert world.hear(A, "held", pid="7") == []
    world.stored.add(key(A))
    world.now += RETRY
    assert world.do() == ["a finished True"]
    assert world.scheduler.over


def test_what_others_hold_for_long_is_asked_for_ever_more_seldom():
    world, asked = World(A), 0
    while world.now < 600:
        if world.do():
            asked += 1
            world.hear(A, "held", pid="7")
        world.now += RETRY
    assert 60 < asked < 300, "and not 2,400 times"


def test_a_stop_of_everything_is_asked_once_and_starts_nothing_more():
    world = World(A, B, C)
    world.do(free=2)
    assert world.stop() == ["stop a", "stop b"]
    assert world.stop() == []
    assert world.do() == []
    assert world.hear(A, "interrupted") == ["a interrupted"]
    assert not world.scheduler.over
    assert world.hear(B, "lost", why="it was killed") == ["b interrupted"]
    assert world.scheduler.over


def test_a_run_that_others_hold_is_not_waited_for_by_who_stops():
    world = World(A)
    world.do()
    world.stop()
    assert world.hear(A, "held", pid="7") == ["a note is being trained by process 7"]
    assert world.scheduler.over


@pytest.mark.parametrize("end", [{"kind": "interrupted"}, LOST])
def test_one_run_is_stopped_by_its_source_and_the_others_go_on(end):
    source = Asked(A, B)
    source.stops = {"epoch": [A]}
    world = World(source=source)
    world.do(free=2)
    assert world.hear(A, "epoch", at={"epoch": 0}) == ["a epoch", "stop a"]
    assert world.hear(A, "epoch", at={"epoch": 0}) == ["a epoch"], "it is asked once"
    assert world.hear(A, end["kind"], why="it was killed") == ["a stopped"]
    assert world.hear(B, "finished") == ["b finished"]
    assert source.seen == ["epoch", "epoch", "stopped", "finished"]
    assert world.scheduler.over


def test_a_run_that_waits_is_stopped_without_a_word():
    source = Asked(STUDENT)
    source.stops = {"finished": [STUDENT]}
    world = World(source=source)
    world.do()
    assert world.hear(TEACHER, "finished") == ["teacher finished"]
    assert world.do() == []
    assert world.scheduler.over


def test_a_run_that_is_stopped_and_asked_for_again_is_started_again():
    source = Asked(A)
    source.stops, source.more = {"epoch": [A]}, True
    world = World(source=source)
    world.do()
    world.hear(A, "epoch", at={"epoch": 0})
    assert world.hear(A, "interrupted") == ["a stopped"]
    source.left.append(A)
    assert world.do() == ["start a"]


def test_a_source_that_may_have_more_is_asked_again():
    source = Asked()
    source.more = True
    world = World(source=source)
    assert world.do() == []
    assert not world.scheduler.over
    source.left.append(A)
    assert world.do() == ["start a"]


def test_a_run_that_waits_is_not_forgotten_where_what_it_builds_on_is_stopped_while_that_waits_too():
    source = Asked(STUDENT, A)
    source.stops = {"epoch": [TEACHER]}
    world = World(source=source)
    assert world.do(free=2) == ["start teacher", "start a"]
    assert world.hear(TEACHER, "kept", why="it was preempted")
    assert world.hear(A, "epoch", at={"epoch": 0}) == ["a epoch"]
    assert world.do() == ["start teacher"]


def test_what_builds_on_a_run_that_others_hold_goes_when_theirs_is_there():
    world = World(STUDENT)
    world.do()
    world.hear(TEACHER, "held", pid="7")
    assert world.do() == []
    world.stored.add(key(TEACHER))
    world.now += RETRY
    assert world.do() == ["teacher finished True", "start student"]


def test_a_run_that_others_hold_comes_after_those_that_waited_before():
    world = World(A, B, C)
    world.do()
    world.hear(A, "held", pid="7")
    world.now += RETRY
    assert world.do(free=3) == ["start a", "start b", "start c"], "the source is asked when nothing else is due"


def test_a_run_of_two_ranks_waits_for_two_places_and_none_goes_before_it():
    world = World(A, PAIR, B)
    assert world.do(free=2) == ["start a"]
    assert world.do(free=1) == []
    assert world.hear(A, "finished") == ["a finished"]
    assert world.do(free=2) == ["start pair"]
    assert world.do(free=0) == []
    assert world.hear(PAIR, "finished") == ["pair finished"]
    assert world.do(free=2) == ["start b"]


def test_a_run_of_more_ranks_than_there_are_places_fails():
    world = World(PAIR, B)
    assert world.do(free=1) == ["pair failed ranks=2 needs as many places, and there are 1", "start b"]
