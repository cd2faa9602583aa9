from harness import study
from harness.store import Store
from harness.study import plan
from tests.kit.tiny import BASELINE, STUDY, finish


def test_described_says_how_many_specifications_are_new(tmp_path):
    p, store = plan(STUDY, design="shapley"), Store(tmp_path)
    assert study.describe(p, store)["specs"] == {"asked": 8 + 4, "new": 12}  # each half without a teacher has its own
    finish(store, BASELINE.id, 1, {"status": "finished"})
    assert study.describe(p, store)["specs"]["new"] == 11
