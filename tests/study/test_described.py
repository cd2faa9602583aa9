from harness import study
from harness.store import Store
from harness.study import plan
from tests.kit import backbones
from tests.kit.tiny import BASELINE, STUDY, finish


def test_described_says_how_many_specifications_are_new(tmp_path):
    p, store = plan(STUDY, design="shapley"), Store(tmp_path)
    assert study.describe(p, store)["specs"] == {"asked": 8 + 4, "new": 12}  # each half without a teacher has its own
    finish(store, BASELINE.id, 1, {"status": "finished"})
    assert study.describe(p, store)["specs"]["new"] == 11


def test_each_upstream_tells_its_seeds_and_how_many_are_missing(tmp_path):
    store, p = Store(tmp_path), plan(backbones.STUDY)
    finish(store, BASELINE.id, 1, {"status": "finished"})
    told = study.describe(p, store)["upstream"]
    assert [(row["of"], row["seeds"], row["missing"]) for row in told] == [
        ("baseline", [0, 1, 2], 2),
        ("label_smoothing", [0, 1, 2], 3),
    ]
    assert told[0]["id"] == BASELINE.id
    (teacher,) = study.describe(plan(STUDY), store)["upstream"]
    assert (teacher["of"], teacher["seeds"], teacher["missing"]) == ("distillation", [0], 1)
