"""Classes of made-up records, against hand arithmetic."""

import base64
import math
import statistics
import zlib

import numpy as np
import pytest

from harness.report import frames
from harness.store import Store
from tests.kit import transfers
from tests.kit.records import plan, record
from tests.kit.tiny import finish

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


def answered(said, labels):
    """What a record keeps of answers to images of those labels."""
    right = np.array(said) == np.array(labels)
    packed = base64.b85encode(zlib.compress(np.array(said, "<u2").tobytes())).decode()
    return {"correct": np.packbits(right).tobytes().hex(), "answers": packed, "tested": len(said)}, 100 * right.mean()


def test_what_each_class_makes_of_a_gain_by_hand(tmp_path):
    """Eight images, two of class 0, three of 1, three of 2; the last is right in no run."""
    labels = [0, 0, 1, 1, 1, 2, 2, 2]
    below = [[0, 1, 0, 1, 1, 2, 0, 0], [0, 0, 0, 0, 1, 2, 0, 1]]
    above = [[0, 0, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 2, 2, 1]]
    store = Store(tmp_path / "store")
    for name, runs in (("baseline", below), ("one", above)):
        for seed, said in enumerate(runs):
            kept, top1 = answered(said, labels)
            finish(store, name, seed, record(top1, **kept))
    p = plan(seeds=(0, 1))
    p["rungs"] = p["rungs"][:2]
    every = frames.runs(p, store)
    found = frames.class_gains(p, every)
    # by seed, in images: class 0 +1 and 0, class 1 +1 and +2, class 2 -1 and +1; an image is 12.5 points
    assert found["class"].tolist() == ["0", "1", "2"]
    assert found["gain"].tolist() == pytest.approx([12.5 * 0.5, 12.5 * 1.5, 0])
    assert found["gain"].sum() == pytest.approx(frames.rungs(p, every)["gain"].iloc[1])
    every["names"], every["classes"] = [["emu", "cat", "dog", "fox"]] * 4, 4
    named = frames.class_gains(p, every)
    assert named["class"].tolist() == ["emu", "cat", "dog", "fox"], "in the data's order, with what none had right"
    assert named["gain"].tolist() == pytest.approx([*found["gain"], 0])
    every.at[1, "answers"] = ""
    assert frames.class_gains(p, every) is None, "a record of before tells no answers"


def test_answers_that_are_not_of_one_test_set_tell_nothing(tmp_path):
    store = Store(tmp_path / "store")
    for name, labels in (("baseline", [0, 1]), ("one", [1, 0])):
        kept, top1 = answered(labels, labels)
        finish(store, name, 0, record(top1, **kept))
    p = plan(seeds=(0,))
    p["rungs"] = p["rungs"][:2]
    assert frames.class_gains(p, frames.runs(p, store)) is None


def test_gains_of_ap_are_of_each_class(tmp_path):
    made = {name: [(value, boxes(value)) for value in values] for name, values in FOUND.items()}
    p = transfers.plan(ladder=LADDER)
    found = frames.class_gains(p, frames.runs(p, filled(tmp_path, made)))
    assert found["class"].tolist() == ["cat"], "no emu is there"
    half = 4.302653 * 4 / math.sqrt(3)  # 11, 7 and 15: s.d. 4, and t of two degrees of freedom
    assert found.loc[0, ["gain", "low", "high"]].tolist() == pytest.approx([11, 11 - half, 11 + half])
