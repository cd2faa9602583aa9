from harness.study import plan
from tests.kit.tiny import STUDY


def test_titles_come_from_the_tricks_docstrings():
    assert [r.title for r in plan(STUDY).rungs] == ["baseline", "+ LR warmup", "+ mixup", "+ distillation"]
    assert [r.name for r in plan(STUDY).rungs] == ["baseline", "warmup", "mixup", "distillation"]
