"""Classes of made-up records, against hand arithmetic."""

import math
import statistics

import pytest

from harness.report import frames
from harness.store import Store
from tests.kit import transfers
from tests.kit.records import record

NAN = math.nan
LADDER = {name: transfers.LADDER[name] for name in ("baseline", "efficient")}
FOUND = {"baseline": (50.0, 54.0, 49.0), "efficient": (61.0, 61.0, 64.0)}  # AP of cats, by seed


def boxes(cat):
    """Cats are 7 boxes; of emus there is none."""
    return {"cat": {"AP": cat, "AP_area": cat + 1, "n": 7}, "emu": {"AP": NAN, "AP_area": NAN, "n": 0}}


def filled(root, made, score="mAP"):
    """A store with (value, classes) of each seed of each rung."""
    store = Store(root / "store")
    for name, rows in made.items():
        for seed, (value, by_class) in enumerate(rows):
            own = transfers.result(value, score) | ({"by_class": by_class} if by_class else {})
            transfers.add(store, transfers.resolved(name), seed, own)
    return store


def test_a_class_has_mean_and_sd_over_seeds(tmp_path):
    store = filled(tmp_path, {name: [(value, boxes(value)) for value in values] for name, values in FOUND.items()})
    plan = transfers.plan(ladder=LADDER)
    found = frames.classes(plan, frames.runs(plan, store))
    assert list(found["rung"]) == ["baseline", "baseline", "efficient", "efficient"]
    assert list(found["class"]) == ["cat", "emu"] * 2
    for place, values in enumerate(FOUND.values()):
        cat, emu = found[found["place"] == place].itertuples()
        assert (cat.score, cat.runs, cat.n) == ("AP", 3, 7)
        assert (cat.mean, cat.sd) == pytest.approx((sum(values) / 3, statistics.stdev(values)))
        assert (emu.runs, emu.n) == (0, 0)
        assert math.isnan(emu.mean)


def test_a_class_that_one_seed_has_no_number_for_is_told_by_the_others(tmp_path):
    """IoU of a class that is nowhere labelled is 0 where it was answered, and none where it was not."""
    rows = [
        (value, {"10": {"IoU": pole, "n": 0}, "2": {"IoU": road, "n": 9}})
        for value, road, pole in ((40.0, 80.0, 0.0), (80.0, 80.0, NAN))
    ]
    plan = transfers.plan("ade20k_segmentation", ladder={"baseline": transfers.LADDER["baseline"]})
    found = frames.classes(plan, frames.runs(plan, filled(tmp_path, {"baseline": rows}, "mIoU")))
    road, pole = found.itertuples()
    assert (road._4, pole._4) == ("2", "10")
    assert (road.score, road.runs, road.mean, road.sd) == ("IoU", 2, 80.0, 0.0)
    assert (pole.runs, pole.mean) == (1, 0.0)
    assert math.isnan(pole.sd)


def test_a_refused_run_tells_of_no_class(tmp_path):
    store = filled(tmp_path, {"baseline": [(50.0, boxes(50.0)), (54.0, boxes(54.0))]})
    plan = transfers.plan(ladder=LADDER)
    every = frames.runs(plan, store)
    every.loc[0, "status"] = "refused"
    assert frames.classes(plan, every)["mean"].iloc[0] == 54.0


def test_records_of_before_have_no_classes(tmp_path):
    plan = transfers.plan(ladder=LADDER)
    every = frames.runs(plan, filled(tmp_path, {"baseline": [(50.0, {})]}))
    assert len(every) == 1
    assert frames.classes(plan, every) is None
    assert frames.classes(plan, every[:0]) is None
    assert frames.read._flat(transfers.whole(record(50.0)))["by_class"] == {}
