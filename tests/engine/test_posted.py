"""Orders, workers and their ends, with a cluster that is told by hand which workers there are."""

import pytest

from harness import Problem
from harness.engine import Engine
from harness.engine.posted import UNFIT, Posted
from harness.store import Store
from tests.kit.tiny import BASELINE, finish

RUNS = [(BASELINE, seed) for seed in range(3)]


class Cluster(Posted):
    """Begins workers that do nothing."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.look, self.there, self.begun, self.ended, self.away = 0.0, set(), 0, [], False

    def nodes(self):
        return ["a", "b"]

    def begin(self, count, node=""):
        names = {f"w{self.begun + i}" for i in range(count)}
        self.begun += count
        self.there |= names
        return names

    def present(self):
        return None if self.away else self.workers & self.there

    def ask(self, worker):
        self.ended.append(("asked", worker))

    def end(self, worker):
        self.ended.append(("ended", worker))


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(Store(tmp_path / "store"), 2)
    yield made
    made.close()


def test_there_are_as_many_workers_as_orders_and_no_more_than_jobs(cluster):
    assert cluster.free() == 2
    first = cluster.start(RUNS[0])
    assert cluster.poll(0) == []
    assert cluster.begun == 1
    cluster.start(RUNS[1])
    assert cluster.free() == 0
    cluster.poll(0)
    assert cluster.begun == 2
    assert cluster.box.take("w0")[0] == first
    cluster.box.say("w0", first, {"kind": "finished"})
    assert cluster.poll(0) == [(first, {"kind": "finished"})]
    cluster.start(RUNS[2])
    cluster.poll(0)
    assert cluster.begun == 2, "w0 is there, and takes it"


def test_a_worker_that_is_gone_with_an_order_is_told_and_others_come_for_the_rest(cluster):
    lost, waits = cluster.start(RUNS[0]), cluster.start(RUNS[1])
    cluster.poll(0)
    cluster.box.take("w0")
    cluster.there.clear()
    ((order, event),) = cluster.poll(0)
    assert (order, event["kind"]) == (lost, "lost")
    assert "w0" in event["why"]
    assert cluster.poll(0) == []
    assert cluster.begun == 3, "one for the order that nobody took"
    assert cluster.box.take("w2")[0] == waits


def test_what_was_said_before_the_end_counts(cluster):
    order = cluster.start(RUNS[0])
    cluster.poll(0)
    cluster.box.take("w0")
    heard = cluster.box.words

    def late():
        cluster.box.say("w0", order, {"kind": "finished"})
        cluster.box.words = heard
        return iter(())

    cluster.box.words = late  # it says so just after it was listened to
    cluster.there.clear()
    assert cluster.poll(0) == [(order, {"kind": "finished"})]


def test_a_cluster_that_cannot_be_asked_has_lost_nothing(cluster):
    order = cluster.start(RUNS[0])
    cluster.poll(0)
    cluster.box.take("w0")
    cluster.there.clear()
    cluster.away = True
    assert cluster.poll(0) == []
    cluster.away = False
    assert [(o, e["kind"]) for o, e in cluster.poll(0)] == [(order, "lost")]


def test_stopping_takes_back_what_waits_and_asks_who_trains(cluster):
    taken, waits = cluster.start(RUNS[0]), cluster.start(RUNS[1])
    cluster.poll(0)
    cluster.box.take("w1")
    cluster.stop(taken)
    cluster.stop(waits)
    assert cluster.poll(0) == [(waits, {"kind": "interrupted"})]
    assert [cluster.box.to_stop(order) for order in (taken, waits)] == [True, False]
    assert cluster.ended == [], "its worker goes on to the next"
    cluster.kill(taken)
    assert cluster.ended == [("ended", "w1")]


UNLIKE = {"kind": "unfit", "why": "node7 has torch 1, and not 2"}


def test_workers_of_another_version_are_turned_away_and_then_the_user_is_told(cluster):
    cluster.start(RUNS[0])
    for turned in range(UNFIT):
        assert cluster.poll(0) == []
        cluster.box.say(f"w{turned}", None, UNLIKE)
    assert cluster.poll(0) == []
    with pytest.raises(Problem, match=f"{UNFIT} workers in a row began no run: node7 has torch 1"):
        cluster.poll(0)


def test_a_node_that_is_no_good_ends_no_run_of_others(cluster):
    """Jobs that end at once are begun there again and again, while others train for days."""
    trains, _ = cluster.start(RUNS[0]), cluster.start(RUNS[1])
    cluster.poll(0)
    cluster.box.take("w0")
    for turned in range(1, UNFIT + 1):
        cluster.box.say(f"w{turned}", None, UNLIKE)
        cluster.poll(0)
        cluster.poll(0)
    assert cluster.begun == UNFIT + 1, "no more, for now"
    cluster.box.say("w0", trains, {"kind": "finished"})
    assert cluster.poll(0) == [(trains, {"kind": "finished"})]
    cluster.start(RUNS[2])
    cluster.poll(0)
    assert cluster.begun == UNFIT + 2, "not three in a row"


def test_workers_that_end_before_they_say_a_word_are_not_begun_for_ever(cluster):
    """A job whose Python is not there, or that is given too little memory."""
    cluster.start(RUNS[0])
    for _ in range(2 * UNFIT):
        cluster.poll(0)
        cluster.there.clear()
        if len(cluster.unfit) == UNFIT:
            break
    with pytest.raises(Problem, match=r"3 workers in a row began no run: worker w2 ended before it said a word"):
        cluster.poll(0)


def test_one_that_found_nothing_to_do_was_no_failure(cluster):
    cluster.start(RUNS[0])
    for _ in range(2 * UNFIT):
        cluster.poll(0)
        for worker in cluster.there:
            cluster.box.say(worker, None, {"kind": "here"})
        cluster.there.clear()
    cluster.poll(0)
    assert cluster.begun > UNFIT


def test_a_controller_that_begins_no_worker_is_asked_again_but_for_the_first(cluster, monkeypatch):
    begin = cluster.begin

    def away(count, node=""):
        raise Problem("sbatch: Unable to contact slurm controller")

    cluster.begin = away
    cluster.start(RUNS[0])
    with pytest.raises(Problem, match="sbatch"):
        cluster.poll(0)
    cluster.begin = begin
    cluster.poll(0)
    cluster.start(RUNS[1])
    cluster.begin = away
    assert cluster.poll(0) == cluster.poll(0) == []
    cluster.begin = begin
    cluster.poll(0)
    assert cluster.begun == 2


def test_a_controller_that_ends_no_worker_keeps_none_of_the_others_from_that(cluster):
    def end(worker):
        cluster.ended.append(worker)
        raise Problem("scancel: Unable to contact slurm controller")

    cluster.end = end
    orders = [cluster.start(run) for run in RUNS[:2]]
    cluster.poll(0)
    for worker in ("w0", "w1"):
        cluster.box.take(worker)
    for order in orders:
        cluster.kill(order)
    assert cluster.ended == ["w0", "w1"]


def test_a_worker_that_we_know_nothing_of_may_have_an_order_and_die(cluster):
    """sbatch gave no answer, and had begun it."""
    order = cluster.start(RUNS[0])
    cluster.poll(0)
    cluster.there.add("w7")
    cluster.box.take("w7")
    assert cluster.poll(0) == []
    cluster.there.discard("w7")
    assert [(o, e["kind"]) for o, e in cluster.poll(0)] == [(order, "lost")]


def test_an_order_that_a_worker_could_not_read_goes_to_another(cluster):
    """It took it, and found other data on its machine."""
    order = cluster.start(RUNS[0])
    cluster.poll(0)
    cluster.box.take("w0")
    cluster.box.say("w0", None, {"kind": "unfit", "why": "it has other data"})
    assert cluster.poll(0) == [(order, {"kind": "lost", "why": "it has other data"})]
    assert cluster.free() == 2


def test_nothing_is_left_of_the_mailbox(cluster):
    cluster.start(RUNS[0])
    cluster.poll(0)
    folder = cluster.box.folder
    assert folder.exists()
    cluster.close()
    assert not folder.parent.exists()
    assert cluster.ended == [("asked", "w0")]


def test_the_engine_hears_of_a_kept_run_and_orders_it_again(cluster):
    """A job whose time is over keeps its run: another goes on with it, as often as it takes."""
    engine, kinds, kept = Engine(cluster.store, ["cpu"], launcher=cluster), [], 0
    poll = cluster.poll

    def worker(seconds):
        nonlocal kept
        cluster._staff()
        (name,) = cluster.workers
        if order := cluster.box.take(name):
            if kept < 5:
                kept += 1
                cluster.box.say(name, order[0], {"kind": "kept", "why": "its time is over"})
                cluster.there.discard(name)
            else:
                finish(cluster.store, BASELINE.id, 0, {})
                cluster.box.say(name, order[0], {"kind": "finished"})
        return poll(0)

    cluster.poll = worker
    kinds = [event["kind"] for event in engine.events(RUNS[:1])]
    assert kinds == ["note"] * 5 + ["finished"]
