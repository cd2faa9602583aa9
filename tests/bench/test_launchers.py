from dataclasses import replace

import pytest

from harness import Problem
from harness.bench.launchers import Overhead, overhead
from harness.engine import Engine
from harness.simulate.check import sleeping
from harness.store import Store
from tests.engine.test_local import FORKS
from tests.kit.tiny import Lying


def test_what_no_run_had_is_shared_among_them():
    # 4 runs of 3 s by 2 places, the first after 1 s: 2 x (9 - 1) - 12 = 4 s of a place over, 1 s a run
    assert Overhead(first=1, wall=9, own=12, places=2).each(4) == 1


def test_a_run_that_sleeps_takes_as_long_and_what_is_more_is_seen(tmp_path):
    store = Store(tmp_path)
    seen = overhead(Engine(store, ["cpu"], method=FORKS), store, [(sleeping(0.4), 0)])
    assert 0.4 <= seen.own < seen.wall
    assert seen.first > 0
    assert seen.each(1) == pytest.approx(seen.wall - seen.first - seen.own)
    assert replace(seen, wall=seen.wall + 1).each(1) == pytest.approx(seen.each(1) + 1)


def test_a_run_that_fails_ends_it(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(Problem, match="a run failed"):
        overhead(Engine(store, ["cpu"], method=FORKS), store, [(sleeping(0.0).having("augment", Lying()), 0)])
