import os

from harness.bench import claims as bench
from harness.bench.claims import RUNS, claims, counted, show_claims


def test_own_runs_are_all_finished_and_the_same_ones_once():
    own, took, mean = claims(2, same=False)
    assert own == {"finished": 2 * RUNS}
    assert 0 < mean < took
    same, _, _ = claims(2, same=True)
    assert same["finished"] <= RUNS, "each once, but for those that both found held"
    assert same.total() == 2 * RUNS


def test_calls_are_counted_and_let_be_afterwards(tmp_path):
    before = os.stat
    with counted() as calls:
        os.mkdir(tmp_path / "a")
        os.stat(tmp_path / "a")
        os.stat(tmp_path / "a")
    assert calls == {"mkdir": 1, "stat": 2}
    assert os.stat is before


def test_a_claim_takes_few_calls_and_one_of_a_run_that_is_there_fewer(tmp_path):
    store = bench.Store(tmp_path)
    bench.take(store, 0)
    totals = []
    for _ in range(2):
        with counted() as calls:
            bench.take(store, 1)
        totals.append(calls.total())
    assert totals[0] <= 100
    assert totals[1] <= 30


def test_it_is_shown(capsys):
    show_claims(1)
    assert "a run that is finished:" in capsys.readouterr().out
