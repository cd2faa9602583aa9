from dataclasses import replace
from functools import partial

import pytest

from harness import Problem, file_name, study
from harness.parts.data import Holdout
from harness.parts.stopping import EarlyStopping
from harness.spec import Branches, Spec, declares, upstream
from harness.stats.designs import DESIGNS, Options
from harness.store import Store
from harness.study import Decide, Study, plan
from harness.tricks.cosine import cosine
from harness.tricks.distillation import distillation
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.warmup import warmup
from tests.kit import backbones
from tests.kit.tiny import BASELINE, STUDY, TRICKS

distill = TRICKS[-1]


def test_the_ladder_is_cumulative():
    tricks = (partial(warmup, epochs=0.5), cosine, mixup)
    specs = [rung.spec for rung in plan(Study("s", "", BASELINE, tricks, (0,))).rungs]
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


def test_backbones_are_of_the_seeds_of_what_stands_on_them():
    p = plan(backbones.STUDY)
    inner = [rung.spec.model.backbone for rung in p.rungs]
    first = [(spec, seed) for spec in inner for seed in (0, 1, 2)]
    assert p.runs() == [*first, *((rung.spec, seed) for rung in p.rungs for seed in (0, 1, 2))]
    assert p.runs(["label_smoothing"]) == [*first[3:], *((p.rungs[1].spec, seed) for seed in (0, 1, 2))]


def test_a_late_setting_of_a_backbone_is_made_in_its_teacher_too():
    tricks = (backbones.on_backbone(mixup), backbones.DISTILLED)
    p = plan(
        Study("s", "", backbones.DETECTOR, tricks, (0,)),
        [("model.backbone.mix.alpha", 0.4), ("model.backbone.epochs", 3)],
    )
    assert [[m.alpha for m in rung.spec.model.backbone.mix] for rung in p.rungs] == [[], [0.4], [0.4]]
    teacher, backbone = upstream(p.rungs[-1].spec)
    assert (teacher.mix[0].alpha, teacher.epochs, backbone.epochs) == (0.4, 5, 5), "mixup's 200 epochs of 120"
    assert {rung.spec.epochs for rung in p.rungs} == {1}
    with pytest.raises(Problem, match=r"did you mean model\.backbone\.mix\.alpha"):
        plan(Study("s", "", backbones.DETECTOR, tricks, (0,)), [("mix.alpha", 0.4)])


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
        ("mix.beta", 1, "no rung has it; mix holds Mixup\\(alpha\\)$"),
        ("optimizer.alpha", 1, "no rung has it; optimizer holds NAG.*; did you mean mix.alpha\\?"),
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


def test_branches_start_from_the_same_rung_and_share_their_teacherless_ways():
    tricks = (cosine, Branches((distill,), (mixup,), ((mixup, distill),)))
    p = plan(Study("s", "", BASELINE, tricks, (0,)))
    assert [r.title for r in p.rungs] == [
        *("baseline", "+ cosine decay", "+ distillation", "+ mixup", "+ mixup + distillation")
    ]
    assert [r.gain for r in p.rungs] == [None, (1, 0), (2, 1), (3, 1), (4, 1)]
    alone, _, both = (r.spec for r in p.rungs[2:])
    assert not alone.mix
    assert both.mix
    assert upstream(alone) != upstream(both), "with mixup the teacher is trained with mixup too"


def test_ways_are_ladders_of_their_own_and_what_later_ones_hold_is_named_for_their_first_step():
    tricks = (
        partial(warmup, epochs=1),
        Branches((cosine, Branches((mixup,), (distill,))), (larger, cosine, Branches((mixup,), (distill,)))),
    )
    p = plan(Study("s", "", BASELINE, tricks, (0,)))
    above = {r.name: p.rungs[r.gain[1]].name for r in p.rungs if r.gain}
    assert above == {
        **{"warmup": "baseline", "cosine": "warmup", "mixup": "cosine", "distillation": "cosine"},
        **{"larger": "warmup", "larger.cosine": "larger"},
        **{"larger.mixup": "larger.cosine", "larger.distillation": "larger.cosine"},
    }
    assert p.rungs[6].title == "+ cosine decay (twice the batch)"
    assert [r.spec.batch_size for r in p.rungs] == [BASELINE.batch_size] * 5 + [2 * BASELINE.batch_size] * 4


def test_a_setting_reaches_the_teacher_that_comes_with_its_part_in_one_trick():
    steps = partial(warmup, epochs=1), distill
    for tricks in (steps, (together,)):
        spec = plan(Study("s", "", BASELINE, tricks, (0,)), [("schedule.warmup.epochs", 0.5)]).rungs[-1].spec
        assert [inner.schedule.warmup.epochs for inner in (*upstream(spec), spec)] == [0.5, 0.5]


@declares("schedule", "teacher")
def together(spec: Spec) -> Spec:
    """both: warmup, and a teacher that has it."""
    return distill(warmup(spec, epochs=1))


def test_tricks_that_no_way_has_together_are_put_together_by_no_design():
    apart = Study("s", "", BASELINE, (cosine, Branches((mixup,), (distill,))), (0,))
    assert len(plan(apart).rungs) == 4
    with pytest.raises(Problem, match="--design shapley puts all tricks together, and no way of the study does"):
        plan(apart, design="shapley")


def test_every_rung_has_a_name_of_its_own():
    def mixup_2(spec):
        return spec.but(batch_size=7)

    ways = Branches((partial(mixup, alpha=0.1),), (partial(mixup, alpha=0.3),), (mixup_2,))
    names = [rung.name for rung in plan(Study("s", "", BASELINE, (ways,), (0,))).rungs]
    assert len(set(names)) == len(names) == 4


def test_a_rung_that_two_ways_begin_with_is_said():
    with pytest.raises(Problem, match="s: mixup_2 is the same specification as mixup"):
        plan(Study("s", "", BASELINE, (Branches((mixup,), (mixup, distill)),), (0,)))
    with pytest.raises(Problem, match="Branches takes ways, each a tuple of tricks"):
        Branches(mixup, cosine)


def larger(spec: Spec) -> Spec:
    """twice the batch: nothing else."""
    return spec.but(batch_size=2 * spec.batch_size)


@pytest.mark.parametrize("design", ["ladder", "leave-one-out", "add-one", "shapley", "factorial"])
def test_the_same_tricks_are_the_same_run_under_every_design(design):
    p = plan(STUDY, design=design)
    by_tricks = {frozenset(r.on): r.spec.id for r in plan(STUDY, design="shapley").rungs}
    assert len(by_tricks) == 8
    assert all(by_tricks[frozenset(r.on)] == r.spec.id for r in p.rungs)
    for rung in p.rungs:
        assert bool(rung.spec.mix) == (1 in rung.on)
        assert bool(rung.spec.teacher) == (2 in rung.on)
        assert bool(rung.spec.schedule.warmup) == (0 in rung.on)


def test_leave_one_out_says_what_else_differs():
    p = plan(STUDY, design="leave-one-out")
    also = {r.name: r.also for r in p.rungs}
    assert also["without_mixup"] == ("teacher",), "whose teacher was trained with mixup"
    assert also["without_distillation"] == ()
    assert all(r.also == () for r in plan(STUDY).rungs)


def test_labels_keep_reports_of_designs_and_settings_apart():
    labels = [plan(STUDY, settings, design=design).label for settings in ([], [("epochs", 3)]) for design in DESIGNS]
    assert len(set(labels)) == len(labels)
    assert labels[0] == "tiny"
    assert labels[1] == "tiny@leave-one-out"
    assert [file_name(label) for label in labels] == labels, "a folder may be called so"


def test_mixup_is_set_against_as_many_epochs_without_it():
    ladder = plan(STUDY, same_epochs=True).rungs
    assert [r.title for r in ladder] == [
        *("baseline", "+ LR warmup", "+ LR warmup, 3 epochs", "+ mixup", "+ distillation")
    ]
    assert [r.gain for r in ladder] == [None, (1, 0), (2, 1), (3, 2), (4, 3)]
    assert [r.spec.epochs for r in ladder] == [2, 2, 3, 3, 3]
    assert ladder[2].spec == ladder[1].spec.but(epochs=3)
    left = {r.name: (i, r) for i, r in enumerate(plan(STUDY, same_epochs=True, design="leave-one-out").rungs)}
    (place, without), (control_place, control) = left["without_mixup"], left["without_mixup_3_epochs"]
    assert (without.spec.epochs, control.spec.epochs) == (2, 3)
    assert control.gain == (0, control_place), "what mixup gives"
    assert without.gain == (control_place, place), "what the length gives"
    with pytest.raises(Problem, match="--design shapley has not"):
        plan(STUDY, same_epochs=True, design="shapley")


def test_a_trick_that_changes_what_it_does_not_declare_stops_the_plan():
    @declares("epochs")
    def sly(spec: Spec) -> Spec:
        """sly: longer, and with a larger batch."""
        return spec.but(epochs=spec.epochs + 1, batch_size=64)

    def silent(spec: Spec) -> Spec:
        """silent: two slots, and no word."""
        return spec.but(epochs=9, batch_size=64)

    def one(spec: Spec) -> Spec:
        """one: a slot of its own needs no word."""
        return spec.but(epochs=9)

    with pytest.raises(Problem, match="s: sly declares epochs, and changes batch_size too"):
        plan(Study("s", "", BASELINE, (partial(sly),), (0,)))
    with pytest.raises(
        Problem, match="silent changes batch_size, epochs: put @declares\\('batch_size', 'epochs'\\) on it"
    ):
        plan(Study("s", "", BASELINE, (silent,), (0,)))
    assert len(plan(Study("s", "", BASELINE, (one,), (0,))).rungs) == 2


def test_what_may_differ_between_neighbours_follows_from_what_was_changed(tmp_path):
    described = study.describe(plan(STUDY), Store(tmp_path))
    may = {r["name"]: set(r["may"]) for r in described["rungs"]}
    assert "order" not in may["warmup"] | may["mixup"] | may["distillation"]
    assert "rates" in may["warmup"]
    assert "mixing" in may["mixup"]
    assert "mixing" not in may["warmup"]


def test_seeds_where_needed_begin_with_the_first_look(tmp_path):
    leaning = plan(STUDY, decide=Decide(0.3, (2, 3, 5), "moderated"))
    assert leaning.settings == ("seeds until gains are known to ± 0.3, looking at 2, 3, 5, by moderated tests",)
    p = plan(STUDY, decide=Decide(0.3, (2, 3, 5)))
    assert p.label != leaning.label
    assert p.seeds == (0, 1, 2, 3, 4)
    some = replace(p, counts=(2, 3, 5, 5))
    assert [len(r["seeds"]) for r in study.describe(some, Store(tmp_path))["rungs"]] == [2, 3, 5, 5]
    assert len(some.runs()) == 1 + 2 + 3 + 5 + 5


def test_tricks_that_are_called_alike_are_one_and_twice_is_said():
    def again():
        return partial(distillation, model=BASELINE.model.but(width=8))

    study_ = Study("s", "", BASELINE, (cosine, Branches((again(),), ((mixup, again()),))), (0,))
    assert [r.name for r in plan(study_).rungs] == ["baseline", "cosine", "distillation", "mixup+distillation"]
    assert len(plan(study_, design="shapley").rungs) == 8
    with pytest.raises(Problem, match="s: cosine is there twice"):
        plan(Study("s", "", BASELINE, (cosine, Branches((cosine, mixup))), (0,)))


def test_two_of_a_kind_are_told_apart_on_a_ladder_and_no_players_of_a_game():
    two = Study("s", "", BASELINE, (label_smoothing, partial(label_smoothing, smoothing=0.2)), (0,))
    assert [r.name for r in plan(two).rungs] == ["baseline", "label_smoothing", "label_smoothing_2"]
    with pytest.raises(Problem, match="is the same specification as"):
        plan(two, design="factorial")


@pytest.mark.parametrize(
    ("design", "options", "said"),
    [
        ("ladder", Options(pairs=3), "--orders goes with --design shapley"),
        ("shapley", Options(pairs=1), "take at least 2"),
        ("shapley", Options(fraction=1), "--fraction goes with --design factorial"),
    ],
)
def test_options_of_another_design_are_said(design, options, said):
    with pytest.raises(Problem, match=said):
        plan(STUDY, design=design, options=options)


@pytest.mark.parametrize("design", sorted({*DESIGNS} - {"ladder"}))
def test_designs_of_no_tricks_are_said(design):
    with pytest.raises(Problem, match="TRICKS is empty"):
        plan(Study("s", "", BASELINE, (), (0,)), design=design)


def test_a_trick_without_a_return_is_said():
    with pytest.raises(Problem, match="s, lost: gives NoneType, where a Spec is due"):
        plan(Study("s", "", BASELINE, (lost,), (0,)))


def lost(spec: Spec) -> None:
    spec.but(epochs=3)


def test_branches_that_train_as_long_share_the_rung_they_are_set_against():
    both = (cosine, Branches((mixup,), ((mixup, distill),)))
    rungs = plan(Study("s", "", BASELINE, both, (0,)), same_epochs=True).rungs
    assert [r.name for r in rungs] == ["baseline", "cosine", "cosine_3_epochs", "mixup", "mixup+distillation"]
    assert [r.gain for r in rungs] == [None, (1, 0), (2, 1), (3, 2), (4, 2)]


def test_a_path_of_an_empty_slot_says_that_it_holds_nothing():
    with pytest.raises(Problem, match=r"^--set rates.biases: no rung has it; rates holds nothing"):
        plan(STUDY, [("rates.biases", 2)])


def test_a_stop_by_a_score_that_the_task_has_not_is_refused():
    held = BASELINE.but(data=Holdout(of=BASELINE.data), stop=(EarlyStopping(keep="val_mAP"),))
    with pytest.raises(Problem, match=r"^baseline: stop goes by val_mAP, and there is val_loss, val_top1 to go by$"):
        study.check(plan(replace(STUDY, baseline=held, tricks=())))
