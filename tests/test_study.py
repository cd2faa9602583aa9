from functools import partial

import pytest

from harness import Problem, study
from harness.spec import Spec, assign, upstream
from harness.store import Store
from harness.study import Study, plan
from harness.tricks.cosine import cosine
from harness.tricks.mixup import mixup
from harness.tricks.warmup import warmup
from tests.tiny import BASELINE, STUDY, finish


def test_the_ladder_is_cumulative():
    specs = study.ladder(BASELINE, (partial(warmup, epochs=0.5), cosine, mixup))
    assert [s.schedule.warmup is not None for s in specs] == [False, True, True, True]
    assert [type(s.schedule.shape).__name__ for s in specs] == ["Step", "Step", "Cosine", "Cosine"]
    assert [len(s.mix) for s in specs] == [0, 0, 0, 1]


def test_runs_are_asked_for_once_and_upstream_first():
    p = plan(STUDY)
    runs = p.runs()
    teacher = upstream(p.rungs[-1].spec)[0]
    assert runs[0] == (teacher, 0)
    assert len(runs) == len(set(runs)) == 1 + 4 * 2
    assert p.runs(["baseline"]) == [(BASELINE, 0), (BASELINE, 1)]


def test_missing_runs_are_those_the_store_has_not(tmp_path):
    p, store = plan(STUDY), Store(tmp_path)
    finish(store, BASELINE.id, 1, {"status": "finished"})
    todo = study.missing(p.runs(), store)
    assert (BASELINE, 1) not in todo
    assert (BASELINE, 0) in todo
    described = study.describe(p, store)
    assert described["runs"] == {"asked": 9, "missing": 8}
    assert described["rungs"][0]["missing"] == 1


def test_a_setting_of_the_baseline_holds_in_every_rung_and_in_the_teacher():
    p = plan(STUDY, [("optimizer.lr", 0.2)])
    assert {r.spec.optimizer.lr for r in p.rungs} == {0.2}
    assert upstream(p.rungs[-1].spec)[0].optimizer.lr == 0.2


def test_a_setting_of_a_tricks_part_is_made_where_the_trick_is_and_in_what_is_built_on_it():
    p = plan(STUDY, [("mix.alpha", 0.4), ("schedule.warmup.epochs", 0.25)])
    assert [r.spec.mix[0].alpha for r in p.rungs if r.spec.mix] == [0.4, 0.4]
    teacher = upstream(p.rungs[-1].spec)[0]
    assert teacher.mix[0].alpha == 0.4
    assert teacher.schedule.warmup.epochs == 0.25


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("nosuch.field", 1, "no slot 'nosuch'"),
        ("mix.beta", 1, "no rung has it; mix holds Mixup\\(alpha\\)"),
        ("epochs", "many", "valid integer"),
        ("schedule.warmup.epochs", 2, "must be less than epochs=2"),
        ("optimizer.lr", -1, "greater than 0"),
    ],
)
def test_a_setting_that_will_not_do_is_one_clear_line(path, value, said):
    with pytest.raises(Problem, match=said) as problem:
        plan(STUDY, [(path, value)])
    assert "\n" not in str(problem.value)


def test_a_trick_that_changes_nothing_is_refused():
    def idle(spec: Spec) -> Spec:
        """idle: nothing."""
        return spec

    with pytest.raises(Problem, match="idle changes nothing"):
        plan(Study("s", "", BASELINE, (idle,), (0,)))


@pytest.mark.parametrize(("count", "seeds"), [(None, (7, 3)), (1, (7,)), (2, (7, 3)), (4, (7, 3, 0, 1))])
def test_more_or_fewer_seeds_begin_with_the_studys_own(count, seeds):
    assert plan(Study("s", "", BASELINE, (), (7, 3)), seeds=count).seeds == seeds


def test_fewer_images_than_a_batch():
    with pytest.raises(Problem, match="597 training images are fewer than batch_size=600"):
        study.check(plan(STUDY, [("batch_size", 600)]))


def test_titles_come_from_the_tricks_docstrings():
    assert [r.title for r in plan(STUDY).rungs] == ["baseline", "+ LR warmup", "+ mixup", "+ distillation"]
    assert [r.name for r in plan(STUDY).rungs] == ["baseline", "warmup", "mixup", "distillation"]


def test_settings_are_read_as_json_else_text_and_parts_by_kind():
    assert study.setting("epochs=3") == ("epochs", 3)
    assert study.setting("data.root=a=b") == ("data.root", "a=b")
    path, part = study.setting('schedule.shape={"kind": "Cosine"}')
    assert type(assign(BASELINE, path, part).schedule.shape).__name__ == "Cosine"
    with pytest.raises(Problem, match="write slot"):
        study.setting("epochs")


def test_studies_are_found_by_name_in_the_folder_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "bare.py").write_text('"""Nothing yet."""\n')
    monkeypatch.chdir(tmp_path)
    assert study.available() == {"bare": "Nothing yet."}
    with pytest.raises(Problem, match="no study 'digits'.*there are: bare"):
        study.load("digits")
