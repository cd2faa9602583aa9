"""Rungs at the length that a target takes: of made-up curves, whose least length is known, and nothing is trained."""

from functools import partial

import pytest

from harness import Problem, ablate, report, study
from harness.report import target
from harness.store import Store
from harness.study import Study
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.warmup import warmup
from tests.kit.records import record
from tests.kit.tiny import BASELINE, finish_spec

SEEDS = (0, 1)
NEEDS = {"baseline": 11, "label_smoothing": 6, "warmup": 200}
TRICKS = (label_smoothing, partial(warmup, epochs=1))
OWN = Study("own", "", BASELINE, TRICKS, SEEDS)


def planned(own=OWN, **more):
    return study.aimed(study.plan(own), own, 90, **more)


def train(plan, store):
    """A stand-in for training: accuracies that rise by a point an epoch, and cross 90 at what the rung needs."""
    done = 0
    for rung in plan.rungs:
        for seed in SEEDS:
            if (rung.spec.id, seed) not in store:
                top1 = min(99.0, 90.0 + rung.spec.epochs - NEEDS[rung.name]) + (0.5 if seed else -0.5)
                finish_spec(store, rung.spec, seed, record(max(top1, 1.0), epochs=rung.spec.epochs, tested=200))
                done += 1
    return done


def rounds(plan, store, most=50):
    """Rounds until nothing is due, and the plan that they end in."""
    for n in range(most):
        plan = study.reaching(plan, store)
        if not train(plan, store):
            return n, plan
    raise AssertionError("it never ends")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    return Store()


def test_each_rung_ends_at_the_least_length_that_reaches_it(store):
    _, plan = rounds(planned(longest=40), store)
    assert [rung.spec.epochs for rung in plan.rungs] == [11, 6, 40]
    told = study.describe(plan, store)["target"]
    assert told["score"] == 90
    assert [(rung["reached"], rung["low"], rung["ended"]) for rung in told["rungs"]] == [
        (11, 10, True),
        (6, 5, True),
        (None, 40, True),
    ]
    assert plan.label == "own@target-90"
    assert [rung.spec.but(epochs=2) for rung in plan.rungs] == [rung.spec for rung in study.plan(OWN).rungs]


def test_stopped_after_any_round_it_goes_on_and_trains_nothing_twice(store, tmp_path):
    whole, _ = rounds(planned(longest=40), store)
    other, trained = Store(tmp_path / "other"), 0
    for _ in range(whole):
        plan = study.reaching(planned(longest=40), other)  # a new process each time
        trained += train(plan, other)
    assert trained == len(list(store)) == len(list(other))
    assert {key[0] for key in other} == {key[0] for key in store}
    told = study.describe(study.reaching(planned(longest=40), other), other)
    assert set(report.asked(told)) == set(store), "what was tried is the plan's, for archives and garbage"
    assert {(spec.id, seed) for spec, seed in study.walked(plan)} == set(store)


def test_lengths_that_a_part_does_not_agree_with_are_not_tried(store):
    """A warm-up of one epoch is shorter than two."""
    plan = planned(longest=40)
    assert plan.target.lengths[0][0] == 1
    assert plan.target.lengths[2][0] == 2
    with pytest.raises(Problem, match="none of the lengths to try will do"):
        planned(longest=1)


def test_a_studys_own_lengths(store):
    _, plan = rounds(planned(Study("own", "", BASELINE, TRICKS, SEEDS, epochs=(2, 8, 16, 32))), store)
    assert [rung.spec.epochs for rung in plan.rungs] == [16, 8, 32]
    published = dict(zip(NEEDS, (12, 5, 9), strict=True))
    other = Store(store.root.parent / "other")
    n, plan = rounds(planned(Study("own", "", BASELINE, TRICKS, SEEDS, epochs=published)), other)
    assert n == 1
    assert [walk.reached for walk in plan.target.walks] == [12, None, None]
    with pytest.raises(Problem, match="EPOCHS has nothing for warmup"):
        planned(Study("own", "", BASELINE, TRICKS, SEEDS, epochs={"baseline": 3, "label_smoothing": 3}))
    with pytest.raises(Problem, match="--longest 9: own has EPOCHS of its own"):
        planned(Study("own", "", BASELINE, TRICKS, SEEDS, epochs=(2,)), longest=9)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("(2, 4, 8)", True),
        ("{'baseline': 4}", True),
        ("(4, 2)", False),
        ("(0, 2)", False),
        ("3", False),
        ("{3: 4}", False),
    ],
)
def test_epochs_of_a_file_are_checked(tmp_path, text, fine):
    path = tmp_path / "mine.py"
    path.write_text(f"from tests.kit.tiny import BASELINE, TRICKS\nSEEDS = (0,)\nEPOCHS = {text}\n")
    if fine:
        assert study.load(str(path)).epochs == eval(text)
    else:
        with pytest.raises(Problem, match="EPOCHS must be"):
            study.load(str(path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "0"], "above 0"),
        (["--target", "90", "--design", "shapley"], "has not"),
        (["--target", "90", "--only", "baseline"], "leave out --only"),
        (["--target", "90", "--decide", "1"], "leave out --decide"),
        (["--longest", "9"], "goes with --target"),
    ],
)
def test_what_does_not_go_with_it_is_said_in_a_line(words, said, store):
    with pytest.raises(Problem, match=said):
        ablate.run(ablate.parser().parse_args([*words, "--dry-run"]))


# the table
def test_what_is_saved_by_hand(store):
    """Accuracies rise by a point an epoch, and seed 1 is a point above seed 0: it needs an epoch less, in each rung."""
    _, plan = rounds(planned(longest=40), store)
    described = study.describe(plan, store) | {"decide": None}
    table = target.frame(described, store).set_index("rung")
    assert table.loc["baseline", "epochs_by_seed"] == pytest.approx({0: 11.5, 1: 10.5})
    assert table.loc["label_smoothing", "epochs_by_seed"] == pytest.approx({0: 6.5, 1: 5.5})
    assert table.loc["label_smoothing", "epochs_saved"] == pytest.approx(5)
    assert table.loc["label_smoothing", "seconds_saved"] == pytest.approx(2.5), "half a second an epoch"
    assert table.loc["warmup", "epochs_by_seed"] == {}
    (line,) = [line for line in target.notes(described, table) if "warmup" in line.lower()]
    assert line.endswith("never reached 90 %: 1.00 after 40 epochs.")
    told = target.told(described, table.reset_index(), [(1, 0)])
    assert told[0].startswith(
        "To 90 % top-1 baseline takes 11.00 ± 0.71 epochs, label smoothing takes 6.00 ± 0.71 epochs."
    )
    assert "Saved in total: +5.00 epochs, 45 %" in told[0]
    assert target.told(described, table.reset_index(), [(2, 0)]) == [], "warmup never got there"
    report.remember(described)
    again = report.recall(report.to_target("own", 90))
    made = report.render(again, store)
    assert "epochs to 90 % top-1" in made.text
    assert "not reached by 40" in made.text
    assert made.told["target"][1]["epochs_saved"] == pytest.approx(5)
    assert "Cost to the target" not in (made.folder / "findings.md").read_text(), "the last rung never got there"
    assert {"target.md", "target.csv", "target.png"} <= {path.name for path in made.folder.iterdir()}


def test_findings_and_the_page_tell_what_all_tricks_save(store):
    _, plan = rounds(planned(Study("own", "", BASELINE, TRICKS[:1], SEEDS), longest=40), store)
    made = report.render(study.describe(plan, store), store)
    told = (made.folder / "findings.md").read_text()
    assert told.startswith("# own, 10 images: what was found")
    assert told.index("- A ladder of 2 rungs") < told.index(
        "## Cost to the target\n\n- To 90 % top-1 baseline takes 11.00"
    )
    page = (made.folder / "index.html").read_text()
    assert "Cost to the target" in page
    assert all(f'<th scope="col">{name}</th>' in page for name in ("epochs", "epochs saved", "verdict")), "not hidden"


def test_what_is_not_all_there_is_said_and_not_reckoned(store):
    plan = study.reaching(planned(longest=40), store)
    train(plan, store)
    plan = study.reaching(plan, store)
    table = target.frame(study.describe(plan, store), store)
    assert not table["ended"].any()
    assert table["epochs"].isna().all()
    assert "missing; the same command goes on" in " ".join(target.notes(study.describe(plan, store), table))


def test_the_command_goes_round_by_round_to_the_report(store, monkeypatch, capsys):
    """Training is a stand-in, as above; all else is the command's own."""

    def instead(plan, described, asked, engine, tracker, tally):
        tally.trained += train(plan, engine.store)

    monkeypatch.setattr(ablate, "train", instead)
    monkeypatch.setattr(study, "load", lambda address: OWN)
    options = ablate.parser().parse_args(["own", "--target", "90", "--longest", "40", "--jobs", "1"])
    assert ablate.run(options) == 0
    out = capsys.readouterr().out
    total = len(list(store))
    assert f"{total} runs trained, 0 reused" in out
    assert "epochs to 90 % top-1" in out
    assert ablate.run(options) == 0
    assert f"0 runs trained, {total} reused" in capsys.readouterr().out
