from itertools import pairwise

import pytest

from harness import Problem, study
from harness.spec import assign, upstream
from harness.study import plan
from tests.kit.tiny import BASELINE, STUDY


def test_settings_are_read_as_json_else_text_and_parts_by_kind():
    assert study.setting("epochs=3") == ("epochs", 3)
    assert study.setting("data.root=a=b") == ("data.root", "a=b")
    path, part = study.setting('schedule.shape={"kind": "Cosine"}')
    assert type(assign(BASELINE, path, part).schedule.shape).__name__ == "Cosine"
    with pytest.raises(Problem, match="write slot"):
        study.setting("epochs")
    with pytest.raises(Problem, match="^--set model: unknown kind 'X'; known: "):
        study.setting('model={"kind": "X"}')


def test_a_setting_may_name_any_part_there_is_and_its_words_say_it_again():
    ascent = study.setting("ascent=SharpnessAware")
    spaced = study.setting('augment=["Flip", "Shift"]'), study.setting("model.blocks=[1, 2]")
    p = plan(STUDY, [ascent, ("optimizer", "Adam"), *spaced])
    assert {type(r.spec.ascent[0]).__name__ for r in p.rungs} == {"SharpnessAware"}
    assert {type(inner.optimizer).__name__ for r in p.rungs for inner in (*upstream(r.spec), r.spec)} == {"Adam"}
    again = [study.setting(text) for flag, text in pairwise(p.command) if flag == "--set"]
    assert [r.spec for r in plan(STUDY, again).rungs] == [r.spec for r in p.rungs]
