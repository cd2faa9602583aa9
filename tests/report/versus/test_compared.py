import math

import numpy as np
import pytest
import scipy

from harness import Problem
from harness.report.versus import compare, side
from harness.store import Store
from tests.kit.records import keep, record
from tests.kit.tiny import finish, known
from tests.report.versus.conftest import BASE, COSINE


def test_two_rungs_are_paired_by_seed_as_a_textbook_has_it(here):
    found = compare(side("s:baseline"), side("s:one"))
    (row,) = found.rows
    gains = [13, 23, 14]
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(gains), scipy.stats.sem(gains))
    assert [row["gain"][name] for name in ("value", "low", "high")] == pytest.approx([50 / 3, low, high])
    assert row["gain"]["p"] == pytest.approx(scipy.stats.ttest_1samp(gains, 0).pvalue)
    assert (row["gain"]["pairs"], row["gain"]["test"], found.paired) == (3, "t", True)
    assert row["verdict"] == "helps"
    assert (row["a"]["name"], row["b"]["name"]) == ("s:baseline", "s:one")
    assert row["a"]["score"]["mean"] == pytest.approx(187 / 3)
    other = compare(side("s:one"), side("s:baseline")).rows[0]
    assert other["gain"]["value"] == pytest.approx(-50 / 3)
    assert other["verdict"] == "hurts"


def test_where_seeds_do_not_pair_it_is_welchs_test(there, here):
    found = compare(side("s:one"), side(f"{there}:s:two"))
    (row,) = found.rows
    test = scipy.stats.ttest_ind([88, 85, 65, 70], [88, 85, 64], equal_var=False)
    low, high = test.confidence_interval()
    assert not found.paired
    assert (row["gain"]["pairs"], row["gain"]["test"]) == (0, "welch")
    assert [row["gain"][name] for name in ("value", "low", "high")] == pytest.approx([-2, low, high])
    assert row["gain"]["p"] == pytest.approx(test.pvalue)
    assert row["verdict"].startswith("not resolved (MDE ")


def test_one_seed_in_common_does_not_pair_and_two_do(here):
    store = Store()
    for seed, score in ((2, 60.0), (5, 70.0), (6, 80.0)):
        finish(store, "other", seed, record(score, tested=100))
    assert not compare(side("s:one"), side(known("other"))).paired
    finish(store, "other", 1, record(62.0, tested=100))
    found = compare(side("s:one"), side(known("other")))
    assert found.paired
    assert found.rows[0]["gain"]["value"] == pytest.approx((62 - 85 + 60 - 64) / 2)
    assert (found.rows[0]["gain"]["pairs"], found.rows[0]["b"]["n"]) == (2, 4)


def test_one_run_a_side_gives_a_difference_and_no_verdict(here):
    store = Store()
    finish(store, "other", 0, record(60.0, tested=100))
    (row,) = compare(side("s:one"), side(known("other"))).rows
    assert row["gain"]["value"] == -28
    assert math.isnan(row["gain"]["p"])
    assert row["verdict"] == ""
    finish(store, "elsewhere", 9, record(61.0, tested=100))
    found = compare(side(known("other")), side(known("elsewhere")))
    assert (found.paired, found.rows[0]["gain"]["value"], found.rows[0]["verdict"]) == (False, 1, "")


def test_studies_are_judged_together_and_the_same_runs_are_said_to_be(there, here):
    found = compare(side("s"), side(f"{there}:s"))
    assert not found.paired, "seeds of `two` are others there"
    assert [row["gain"]["value"] for row in found.rows] == pytest.approx([0, 1, 77 - 238 / 3])
    p = [row["gain"]["p"] for row in found.rows]
    assert [row["gain"]["adjusted"] for row in found.rows] == pytest.approx([1, 1, 1])
    assert p[2] == pytest.approx(scipy.stats.ttest_ind([88, 85, 65, 70], [88, 85, 65], equal_var=False).pvalue)
    assert ["elsewhere" in row["marks"] for row in found.rows] == [True] * 3, "unpaired ones too"
    one = compare(side("s:one"), side(f"{there}:s:one")).rows[0]
    assert one["marks"] == ["elsewhere"]
    store = Store(there / "store")
    for here_too in (Store(), store):
        for seed in range(2):
            finish(here_too, "bits", seed, record(50.0, network=f"n{seed}", tested=100))
    spec_id = known("bits")
    assert compare(side(spec_id), side(f"{there}:{spec_id}")).rows[0]["verdict"] == "the same runs, bit for bit"


def test_other_test_images_are_no_comparison(here):
    store = Store()
    for seed in range(3):
        finish(store, "fewer", seed, record(60.0, tested=50))
        splits = {"splits": {"test": "other"}}
        finish(store, "others", seed, record(60.0) | {"images": {"train": 10, "test": 100} | splits})
        finish(
            store, "own", seed, record(70.0 + seed) | {"images": {"train": 10, "test": 100, "splits": {"test": "x"}}}
        )
    told = "not comparable: tested on other images"
    assert compare(side("s:one"), side(known("fewer"))).rows[0]["verdict"] == told
    assert compare(side(known("own")), side(known("others"))).rows[0]["verdict"] == told
    assert compare(side("s:one"), side(known("own"))).rows[0]["verdict"] != told, "a record of before does not tell"


def test_what_nothing_explains_is_no_comparison(here):
    keep(Store(), BASE | {"epochs": 2.0}, 0, 90.0, tested=100, seen={"order": "x", "rates": "Step", "weights": "w0"})
    odd = keep(
        Store(), BASE | {"epochs": 2.0}, 1, 90.0, tested=100, seen={"order": "x", "rates": "Step", "weights": "w0"}
    )
    found = compare(side("t:baseline"), side(odd))
    assert found.rows[0]["verdict"] == "not comparable: differs in order"
    assert found.rows[0]["gain"] is None
    assert found.rows[0]["showed"]["unexplained"] == ["weights", "order"]


def test_scores_of_other_metrics_are_refused(here):
    metrics = {"score": "mAP", "metrics": {"mAP": 50.0, "mAP_area": 50.0}, "by_class": {}, "correct": ""}
    for seed in range(2):
        finish(Store(), "boxes", seed, record(50.0) | metrics)
    with pytest.raises(Problem, match="are scored by top-1 and mAP"):
        compare(side("s:one"), side(known("boxes")))


def test_a_side_whose_runs_are_damaged_is_named(here):
    for seed in range(3):
        path = here / "store" / known("one") / str(seed) / "result.json"
        path.write_text(path.read_text().replace("88", "87").replace("85", "84").replace("64", "63"))
    with pytest.raises(Problem, match="s:baseline and s:one: no run of one side is whole"):
        compare(side("s:baseline"), side("s:one"))


def test_specifications_and_what_runs_showed(here):
    (row,) = compare(side("t:baseline"), side("t:cosine")).rows
    assert row["specification"] == {"schedule": ["Step", "Cosine"], "schedule.by": [0.1, None]}
    assert row["showed"] == {"differs": ["rates"], "unexplained": [], "same": ["weights", "order"]}
    due = [{"expected": kind, "seen": "as due"} for kind in ("Step", "Cosine")]
    assert row["checks"] == [{"part": "schedule", "what": "rate", "a": due[0], "b": due[1]}]
    assert COSINE["epochs"] == BASE["epochs"]
