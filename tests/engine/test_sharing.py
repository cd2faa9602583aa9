"""How many runs share a card: by made-up memory, cores and rates. No GPU has seen any of this."""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from harness import Problem
from harness.engine import sharing
from harness.engine.sharing import Card, Choice, _Clock, _Enough, _trained, choose, chosen, shared
from harness.study import plan
from harness.train import PLAIN, How
from tests.kit import backbones
from tests.kit.prices import PRICE
from tests.kit.tiny import BASELINE, STUDY

GB = 1e9


@pytest.mark.parametrize(
    ("rates", "runs", "ask", "why"),
    [
        ({}, 1, 1, ""),
        ({1: 100.0}, 1, 2, ""),
        ({1: 100.0, 2: 190.0}, 2, 4, ""),
        ({1: 100.0, 2: 190.0, 4: 340.0}, 4, 8, ""),
        ({1: 100.0, 2: 190.0, 4: 340.0, 8: 350.0}, 4, None, "3.4 times the images/s of one; 8 would give 3.5"),
        ({1: 100.0, 2: 190.0, 4: 340.0, 8: 600.0}, 8, None, "6 times the images/s of one"),
        ({1: 100.0, 2: 116.0, 4: 133.0}, 2, None, "1.2 times the images/s of one; 4 would give 1.3"),
        ({1: 100.0, 2: 114.0}, 1, None, "2 would give 1.1 times the images/s"),
        ({1: 100.0, 2: 80.0}, 1, None, "2 would give 0.8 times the images/s"),
        ({1: 100.0, 2: 190.0, 4: 0.0}, 2, None, "1.9 times the images/s of one; 4 at once did not run"),
        ({1: 100.0, 2: 0.0}, 1, None, "2 at once did not run"),
        ({1: 0.0}, 1, None, "how fast one is could not be measured"),
    ],
)
def test_more_share_a_card_as_long_as_that_pays(rates, runs, ask, why):
    assert choose(1 * GB, 80 * GB, 64, rates) == Choice(runs, ask, why)


GREAT = {1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}


@pytest.mark.parametrize(
    ("memory", "there", "cores", "runs", "why"),
    [
        (8, 80, 64, 8, "8 times the images/s of one"),  # 8 x 1.25 x 8 GB are 80
        (8.01, 80, 64, 4, "4 times the images/s of one; 8 do not fit: one is given 10 GB, and 80 GB are free"),
        (33, 80, 64, 1, "2 do not fit: one is given 41.2 GB, and 80 GB are free"),
        (100, 80, 64, 1, "2 do not fit: one is given 125 GB, and 80 GB are free"),  # one alone is the user's to try
        (1, 80, 7, 4, "4 times the images/s of one; more want more cores: there are 7 for each card"),
        (1, 80, 1, 1, "more want more cores: there is 1 for each card"),
    ],
)
def test_no_more_than_memory_and_cores_bear(memory, there, cores, runs, why):
    assert choose(memory * GB, there * GB, cores, GREAT) == Choice(runs, None, why)


def test_nothing_is_measured_where_nothing_depends_on_it():
    assert choose(50 * GB, 80 * GB, 64, {}).ask is None
    assert choose(1 * GB, 80 * GB, 1, {}).ask is None


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def fake(rates, beside=0.0):
    """A measurement that gives `rates` of each card, and notes what it was asked."""
    asked = []

    def measure(spec, card, n):
        asked.append((spec.id, card.place, n))
        if rates[card.kind].get(n) is None:
            raise Problem("out of memory")
        return rates[card.kind][n], beside

    return measure, asked


RUNS = plan(STUDY).runs()
PRICES = {spec.id: PRICE for spec, _ in RUNS}  # 3 GB, 100 s


def test_each_kind_of_card_is_measured_once_by_what_takes_longest(cores):
    cards = [Card("cuda:0", "H100", 80 * 10**9), Card("cuda:1", "T4", 15 * 10**9), Card("cuda:2", "H100", 70 * 10**9)]
    measure, asked = fake({"H100": {1: 100.0, 2: 180.0, 4: 190.0}, "T4": {1: 10.0, 2: 10.0}})
    own = PRICES | {BASELINE.id: PRICE.__class__(400.0, "records", 3e9, "records", 1.0, 1.0)}
    said = []
    found = chosen(RUNS, cards, own, measure, said.append)
    assert found.places == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:2"], "in turns: few runs spread over all"
    assert asked == [(BASELINE.id, "cuda:0", 1), (BASELINE.id, "cuda:0", 2), (BASELINE.id, "cuda:0", 4)] + [
        (BASELINE.id, "cuda:1", n) for n in (1, 2)
    ]
    assert found.lines == [
        "2 runs share cuda:0, cuda:2 (H100) each: 1.8 times the images/s of one; 4 would give 1.9",
        "1 run on cuda:1 (T4): 2 would give 1 times the images/s",
    ]
    assert found.slower == pytest.approx(5 / (1.8 + 1 + 1.8))
    assert said[0] == "timing 1 run on cuda:0"


def test_the_plainest_case_is_one_line(cores):
    measure, _ = fake({"H100": {1: 100.0, 2: 190.0, 4: 340.0, 8: 350.0}})
    found = chosen(RUNS, [Card("cuda:0", "H100", 80 * 10**9)], PRICES, measure, lambda text: None)
    assert found.lines == ["4 runs share cuda:0: 3.4 times the images/s of one; 8 would give 3.5"]
    assert found.places == ["cuda:0"] * 4
    assert found.slower == pytest.approx(4 / 3.4)


def test_memory_is_of_the_largest_run_with_its_context_and_what_was_seen_beside(cores):
    """With 4 GB beside tensors a run is given 1.25 x (3 + .6 + 4) = 9.5 GB: of 30 GB two have enough, four not."""
    measure, asked = fake({"H100": {n: float(n) for n in (1, 2, 4, 8)}}, beside=4e9)
    card = Card("cuda:0", "H100", 30 * 10**9)
    found = chosen(RUNS, [card], PRICES, measure, lambda text: None)
    assert [n for *_, n in asked] == [1, 2]
    assert found.places == ["cuda:0"] * 2
    assert "one is given 9.5 GB" in found.lines[0]
    large = PRICES | {RUNS[0][0].id: PRICE.__class__(1.0, "records", 2e10, "records", 1.0, 1.0)}
    assert chosen(RUNS, [card], large, measure, lambda text: None).places == ["cuda:0"]


def test_of_several_cards_the_fullest_decides_and_of_specifications_the_most_device_time(cores):
    """A run is given 4.5 GB. Many short runs are more than one long one."""
    often, once = plan(STUDY).rungs[1].spec, BASELINE
    prices = PRICES | {once.id: PRICE.__class__(250.0, "records", 3e9, "records", 1.0, 1.0)}
    cards = [Card("cuda:0", "H100", 80 * 10**9), Card("cuda:1", "H100", 10 * 10**9)]
    measure, asked = fake({"H100": {n: float(n) for n in (1, 2, 4, 8)}})
    found = chosen([(once, 0), *((often, seed) for seed in range(3))], cards, prices, measure, lambda text: None)
    assert asked == [(often.id, "cuda:0", 1), (often.id, "cuda:0", 2)]
    assert found.places == ["cuda:0", "cuda:1"] * 2


def test_what_cannot_run_at_once_is_said_and_not_chosen(cores):
    measure, _ = fake({"H100": {1: 1.0, 2: 2.0, 4: None}})
    said = []
    found = chosen(RUNS, [Card("cuda:0", "H100", 80 * 10**9)], PRICES, measure, said.append)
    assert found.places == ["cuda:0"] * 2
    assert said[-1] == "4 on cuda:0: out of memory"


# --- the measurement --------------------------------------------------------------------------------------------------


def test_batches_are_counted_from_when_all_are_ready_to_when_the_device_is_done(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(sharing, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def wait():
        now[0] += 0.5  # what was launched
        order.append("wait")

    clock = _Clock(1000, 3.0, lambda: order.append("ready"), wait)

    def loop():
        for _ in range(1000):
            now[0] += 0.1
            assert clock.due(epoch_done=False) is False
            assert clock.due(epoch_done=True) is False

    with pytest.raises(_Enough):
        loop()
    assert order == ["wait", "ready", "wait"]
    assert clock.took == pytest.approx(3.5, abs=0.11)
    assert clock.rate() == pytest.approx(30 / 3.5, rel=0.05)


@pytest.mark.parametrize("total", [2, 5, 11])
def test_a_short_run_is_timed_to_its_last_batch(total):
    clock = _Clock(total, 1e9, lambda: None, lambda: None)
    for _ in range(total - 1):
        clock.due(epoch_done=False)
    with pytest.raises(_Enough):
        clock.due(epoch_done=False)
    assert clock.batches == total
    assert clock.rate() > 0


def test_the_loop_itself_is_timed_whatever_it_stands_on(tiny, monkeypatch):
    """A distilled network whose teacher was never trained, and a detector without a trained backbone."""
    for spec in (plan(STUDY).rungs[-1].spec, backbones.DETECTOR):
        ready = []
        rate, free, tensors = _trained(spec, PLAIN, 0.05, 1, "cpu", lambda: ready.append(1))  # noqa: B023
        assert rate > 0
        assert (free, tensors, ready) == (0, 0, [1])
    seen = []
    monkeypatch.setattr(sharing, "train", lambda spec, seed, device, inner, keeper: seen.append(keeper.how))
    with pytest.raises(Problem, match="ended before it could be timed"):
        _trained(tiny, How(cuda_graphs=True), 0.05, 1, "cpu", lambda: None)
    assert seen == [How(cuda_graphs=True)], "as the command's own runs will be"
    with pytest.raises(Problem, match="single step"):
        _trained(tiny.but(batch_size=597, epochs=1), PLAIN, 0.05, 1, "cpu", lambda: None)


def test_what_a_process_has_beside_its_tensors_is_what_the_card_lost_more(monkeypatch):
    answers = {1: [(10.0, 70, 6)], 2: [(9.0, 60, 6), (8.0, 61, 6)]}
    monkeypatch.setattr(sharing, "together", lambda job, places: answers[len(places)])
    card = Card("cuda:0", "a", 80)
    assert sharing._measured(BASELINE, card, 1, PLAIN, 1) == (10.0, 4)
    assert sharing._measured(BASELINE, card, 2, PLAIN, 1) == (17.0, 0.0)


# --- with MPS ---------------------------------------------------------------------------------------------------------


class Server:
    def __init__(self, folder):
        self.folder, self.ended = folder, 0

    def end(self):
        self.ended += 1


def sharing_with(monkeypatch, server, rates, serves=True):
    """What is shared, where `server` is had; without `serves` no process of its clients can use a card."""
    cards = [Card("cuda:0", "H100", 80 * 10**9)]

    def together(job, places):
        if not serves and server and not server.ended:
            raise Problem("CUDA error: MPS client failed to connect")
        return [(cards, PRICES)]

    @contextmanager
    def served(say):
        yield server

    said = []
    monkeypatch.setattr(sharing, "together", together)
    monkeypatch.setattr(sharing, "served", served)
    monkeypatch.setattr(sharing, "_measured", lambda spec, card, n, how, cards: (rates[n], 0.0))
    with shared(RUNS, None, ["cuda:0"], said.append) as found:
        return found, said


def test_mps_is_told_where_runs_share_and_ended_where_none_do(cores, monkeypatch):
    for folder, whose in (("a", "MPS is started for this command"), (None, "by the MPS that is there")):
        server = Server(folder)
        found, _ = sharing_with(monkeypatch, server, {1: 1.0, 2: 2.0, 4: 2.0})
        assert found.lines[1:] == [f"sharing a card: {whose}"]
        assert not server.ended
        found, _ = sharing_with(monkeypatch, server, {1: 1.0, 2: 1.0})
        assert len(found.lines) == 1
        assert server.ended
    found, _ = sharing_with(monkeypatch, None, {1: 1.0, 2: 2.0, 4: 2.0})
    assert len(found.lines) == 1


def test_a_daemon_that_answers_and_serves_nobody_is_gone_on_without(cores, monkeypatch):
    server = Server("a")
    found, said = sharing_with(monkeypatch, server, {1: 1.0, 2: 2.0, 4: 2.0}, serves=False)
    assert server.ended
    assert found.places == ["cuda:0"] * 2
    assert len(found.lines) == 1
    assert said[0] == "MPS did not serve, going on without: CUDA error: MPS client failed to connect"
    with pytest.raises(Problem, match="failed to connect"):
        sharing_with(monkeypatch, Server(None), {}, serves=False)  # the user's own is the user's to mend


def test_runs_of_several_ranks_want_a_card_for_each():
    with shared([(BASELINE.but(ranks=2), 0)], None, ["cuda:0", "cuda:1"], print) as found:
        assert found.places == ["cuda:0", "cuda:1"]
        assert "2 ranks" in found.lines[0]


def test_a_survey_has_the_name_and_the_free_memory_of_each_card(monkeypatch):
    monkeypatch.setattr(sharing, "settle", torch.device)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (int(place[-1]) + 5, 100))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"card {place}")
    monkeypatch.setattr(sharing.Market, "prices", lambda self, specs: {"device": str(self.device)})
    cards, prices = sharing._looked_at(("cuda:0", "cuda:1"), [], None, "cuda:0", None)
    assert cards == [Card("cuda:0", "card cuda:0", 5), Card("cuda:1", "card cuda:1", 6)]
    assert prices == {"device": "cuda:0"}
