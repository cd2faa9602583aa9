import math

import numpy as np
import pytest

from harness import Problem
from harness.report.pilots import pilot, with_all_seeds
from tests.kit.records import designed, plan, rung
from tests.kit.tiny import known


def test_the_noise_is_that_of_the_gains_by_hand(full):
    """Of `full` the gains are 2, 1, 3 and -1, 1, -2.5."""
    found = pilot(plan(), full)
    sds = [np.std(gains, ddof=1) for gains in ([2, 1, 3], [-1, 1, -2.5])]
    assert [row["sd"] for row in found.rows] == pytest.approx(sds)
    assert found.noise.sd == pytest.approx(math.sqrt((sds[0] ** 2 + sds[1] ** 2) / 2))
    assert [(row["rung"], row["over"], row["pairs"]) for row in found.rows] == [
        ("one", "baseline", 3),
        ("two", "one", 3),
    ]
    assert (found.of, found.score, found.noise.rows) == ("s", "top-1", 2)


def test_a_design_without_gains_is_held_to_its_first_rung(full):
    rungs = [rung("baseline"), rung("one", on=(0,)), rung("two", on=(0, 1))]
    found = pilot(designed("shapley", rungs, "AB"), full)
    assert [row["over"] for row in found.rows] == ["baseline", "baseline"]
    assert found.rows[1]["sd"] == pytest.approx(np.std([1, 2, 0.5], ddof=1))


def test_gains_that_are_no_comparison_tell_nothing(full):
    for name, order in (("baseline", "a"), ("one", "b")):
        full.add(name, 0, 90.0, seen={"order": order})
    found = pilot(designed("ladder", [rung("baseline"), rung("one", [1, 0]), rung("two", [2, 1])]), full)
    assert [row["rung"] for row in found.rows] == ["two"]


def test_without_two_seeds_there_is_none(store):
    for name in ("baseline", "one"):
        store.add(name, 0, 90.0)
    with pytest.raises(Problem, match="s: no two rungs have two seeds in common"):
        pilot(plan(), store)


def test_seeds_of_any_plan_count_and_only_finished_ones(full):
    full.add("one", 7, 90.0)
    (full.folder(known("one"), 1) / "result.json").unlink()
    found = with_all_seeds(plan(seeds=[0]), full)
    assert [own["seeds"] for own in found["rungs"]] == [[0, 1, 2], [0, 2, 7], [0, 1, 2]]
