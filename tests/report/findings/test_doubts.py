from harness.report import frames
from tests.kit.findings import fill, found, stack
from tests.kit.records import record
from tests.kit.tiny import finish, known


def test_costs_and_times_are_of_the_last_rung_against_the_first_and_of_every_run_once(store):
    for seed in range(2):
        finish(store, "baseline", seed, record(90.0 + seed))
        finish(store, "mixup", seed, record(91.0 + seed, macs=3_000_000) | {"seconds_per_epoch": 2.0, "seconds": 1000})
    finish(store, "teacher", 0, record(95.0) | {"seconds": 3600.0})
    teachers = [{"of": "mixup", "id": known(name)} for name in ("teacher", "teacher", "none")]
    p = stack(("mixup",), seeds=(0, 1), upstream=teachers)
    told = found(p, store)
    assert told["Cost"] == (
        "An epoch of mixup takes 2 s, one of baseline 0.5 s (× 4.00). These are medians by the clock, on a machine "
        "that may have been busy. An image takes 3 MFLOPs in mixup, and 1.5 MFLOPs in baseline (× 2.00). All 5 "
        "runs, 1 network trained first among them, took 1.6 h of training."
    )  # 2 · 1 + 2 · 1000 + 3600 s
    assert (
        "Another network is trained first, one for all seeds, for mixup. No interval"
        in told["What else may be in a gain"]
    )


def test_what_was_not_controlled_is_said_once_and_of_many_rungs_by_their_number(store):
    assert set(frames.MARKS) == {"budget_changed", "upstream", "emulated", "also", "elsewhere"}, "a mark has a sentence"
    p = stack(("a", "b", "c", "d"))
    for own in p["rungs"][1:]:
        own["also"] = ["teacher"]
    for i, name in enumerate(("baseline", "a", "b", "c", "d")):
        fill(store, [(name, (90.0, 91.0, 92.0 + i))], emulated=name != "baseline", device="b" if name == "d" else "a")
    text = found(p, store)["What else may be in a gain"]
    assert "The precision is emulated in 4 of 5 rungs: " in text
    assert "More than the trick differs for a (teacher); b (teacher); c (teacher); d (teacher)." in text
    assert "Hardware, commits or library versions differ between the runs compared for d." in text
    assert "atch norm" not in text
    fill(store, [("a", (90.0, 91.0, 92.5)), ("b", (90.0, 91.0, 92.5))])
    assert "emulated in c and d: " in found(p, store)["What else may be in a gain"]
    fill(store, [("b", (90.0, 91.0, 92.5))], emulated=True)
    assert "emulated in b, c and d: " in found(p, store)["What else may be in a gain"]
    fill(store, [(name, (90.0, 91.0, 92.5)) for name in ("baseline", "a")], emulated=True)
    assert "emulated in all 5 rungs: " in found(p, store)["What else may be in a gain"]
    p["rungs"][1]["microbatch"] = 8
    assert "batch norm saw one pass at a time" in found(p, store)["What else may be in a gain"]
    assert "length of training" not in text
    assert "first" not in text


def test_networks_of_each_seed_are_in_the_intervals_and_one_for_all_is_in_none(store):
    """As of a backbone, and of the teacher of one: a plan of before tells no seeds, and had teachers alone."""
    fill(store, [(name, (90.0, 91.0, 92.0)) for name in ("baseline", "a")])
    for seed in range(3):
        finish(store, "backbone", seed, record(95.0) | {"seconds": 100.0})
    own = {"id": known("backbone"), "seeds": [0, 1, 2]}
    both = [own | {"of": name} for name in ("baseline", "a")]
    told = found(stack(("a",), upstream=both), store)
    text = told["What else may be in a gain"]
    assert "first, one for each seed, for baseline and a. The intervals include the spread" in text
    assert "one for all seeds" not in text
    assert "All 9 runs, 3 networks trained first among them, took 5 min of training." in told["Cost"]
    teacher = {"of": "a", "id": known("teacher")}
    text = found(stack(("a",), upstream=[*both, teacher, teacher | {"seeds": [0]}]), store)[
        "What else may be in a gain"
    ]
    assert "first, one for all seeds, for a. No interval includes the spread" in text
    assert "one for each seed" in text
