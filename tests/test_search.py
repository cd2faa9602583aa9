"""Searches on a tiny study; where what is trained does not matter, by runs that only write their record."""

import json
import math
import multiprocessing
import subprocess
import sys
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from harness import Problem, report, search, trials
from harness.engine import Interrupted, execute
from harness.parts.data import Digits
from harness.search import make, run_search
from harness.spec import sources, upstream
from harness.store import Store, garbage
from harness.study import Study
from harness.tricks.cosine import cosine
from tests.kit.tiny import BASELINE, RESULT, STUDY, finish, whole

LR = FloatDistribution(0.01, 1, log=True)
SPACE = {"optimizer.lr": LR, "mix.alpha": FloatDistribution(0.1, 1), "teacher.temperature": FloatDistribution(1, 20)}
SEARCHED = replace(STUDY, space=SPACE)
LONG = Study("long", "", BASELINE.but(epochs=9), (cosine,), (0, 1, 2, 3, 4), {"optimizer.lr": LR})
PEAK = 0.2


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def fake(monkeypatch):
    """Runs that only write their record: top-1 falls with the distance of the rate from 0.2. Gives (seed, epoch)s."""
    done = []

    def write(spec, seed, store, device, say, stop, every):
        with store.claim(spec.id, seed) as claim:
            behind = [e["epoch"] for e in store.events(spec.id, seed) if e["event"] == "epoch"]
            claim.begin({"spec": {}, "resolved": {}})
            say({"kind": "started"})
            rows = []
            for epoch in range(spec.epochs):
                score = 95 - 10 * abs(math.log(spec.optimizer.lr / PEAK)) - 2 * (spec.epochs - 1 - epoch) + 0.1 * seed
                rows.append({"epoch": epoch, "top1": round(score, 2)})
                if epoch not in behind:
                    claim.note("epoch", **rows[-1])
                    done.append((spec.id, seed, epoch))
                    say({"kind": "epoch", "at": rows[-1]})
                    if stop():
                        claim.note("interrupted", safe=True)
                        raise Interrupted
            images = {"train": 10, "test": 10_000}
            told = {"epochs": rows, "metrics": {"top1": rows[-1]["top1"]}, "macs": 2 * 10**9, "images": images}
            claim.finish(whole(told | {"sources": sources.of(spec)}), {})

    monkeypatch.setattr(trials, "execute", write)
    return done


def serve(searched, stop=lambda: False):
    """The trials that a worker leaves, and what it said."""
    said = []
    trials.serve(searched, Store(), "cpu", said.append, stop)
    return trials.opened(searched).trials, said


def after(looks):
    """A `stop` that says so when it was asked so many times."""
    times = iter(range(looks))
    return lambda: next(times, None) is None


def seen(trial):
    return trial.number, trial.state, trial.params, trial.values, trial.intermediate_values


# --- a search, the same each time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_search_that_is_interrupted_again_and_again_has_the_trials_of_one_that_is_not(
    sampler, fake, tmp_path, monkeypatch
):
    searched = make(LONG, "baseline", sampler=sampler, trials=13)  # of which TPE draws 10 at random
    whole, _ = serve(searched)
    epochs = list(fake)
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "other"))
    fake.clear()
    pauses = 0
    while True:
        found, _ = serve(searched, after(11))
        pauses += any(trial.state == TrialState.WAITING for trial in found)
        if sum(trial.state in trials.DONE for trial in found) == searched.trials:
            break
    assert [seen(trial) for trial in found] == [seen(trial) for trial in whole]
    assert fake == epochs, "and no epoch was trained twice"
    assert pauses > 1
    assert len(whole) == (5 if sampler == "grid" else 13)
    assert {trial.state for trial in whole} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(epochs) < 9 * len(whole), "those that were given up trained less"
    assert serve(searched)[1] == [], "what is done is not begun again"


def test_another_seed_draws_other_values_and_more_trials_go_on(fake):
    first, _ = serve(make(LONG, "baseline", trials=3))
    more, _ = serve(make(LONG, "baseline", trials=5))
    assert [t.params for t in more[:3]] == [t.params for t in first]
    assert len(more) == 5
    other = replace(make(LONG, "cosine", trials=3), seed=1)
    assert serve(other)[0][0].params["optimizer.lr"] != first[0].params["optimizer.lr"]


def test_trials_of_the_same_values_are_trained_once_and_told_to_the_pruner_alike(fake):
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK, 0.1))})
    found, _ = serve(make(study, "baseline", trials=6, sampler="random", pruner="none"))
    assert len({trial.user_attrs["spec"] for trial in found}) == 2
    assert len(fake) == 2 * 9
    by_value = {trial.params["optimizer.lr"]: (trial.value, trial.intermediate_values) for trial in found}
    assert all(by_value[t.params["optimizer.lr"]] == (t.value, t.intermediate_values) for t in found)
    assert sorted(by_value[PEAK][1]) == list(range(9))
    assert by_value[PEAK][0] == pytest.approx(95)


def test_a_run_that_was_given_up_is_told_again_from_its_first_epoch_and_trained_no_further(fake, monkeypatch):
    early = optuna.pruners.ThresholdPruner(lower=60, n_warmup_steps=3)
    monkeypatch.setattr(trials, "pruner", lambda searched: early)
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK, 0.01))})
    found, _ = serve(make(study, "baseline", trials=8, sampler="random"))
    bad = [trial for trial in found if trial.params["optimizer.lr"] != PEAK]
    assert len(bad) > 1
    assert {trial.state for trial in bad} == {TrialState.PRUNED}
    assert [list(trial.intermediate_values) for trial in bad] == [[0, 1, 2, 3]] * len(bad)
    assert len(fake) == 9 + 4


def test_the_steps_of_a_second_seed_follow_those_of_the_first(fake):
    found, _ = serve(make(LONG, "baseline", trials=1, seeds=2))
    steps = found[0].intermediate_values
    assert list(steps) == list(range(18))
    assert steps[9] == pytest.approx(steps[0] + 0.1), "the fake's seed 1 is a tenth better"


def test_the_score_is_the_mean_over_seeds_and_a_wilcoxon_pruner_is_told_seeds(fake):
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK, 0.5))})
    searched = make(study, "baseline", trials=6, seeds=5, pruner="wilcoxon", sampler="random")
    found, _ = serve(searched)
    best = search.choice(searched, trials.opened(searched))
    assert best.params == {"optimizer.lr": PEAK}
    assert best.value == pytest.approx(95 + 0.1 * (0 + 1 + 2 + 3 + 4) / 5)
    assert best.user_attrs["scores"] == {str(seed): pytest.approx(95 + 0.1 * seed) for seed in range(5)}
    assert best.user_attrs["seconds"] == 5
    assert list(best.intermediate_values) == [0, 1, 2, 3, 4]
    pruned = [trial for trial in found if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(list(trial.intermediate_values) == [0, 1, 2, 3] for trial in pruned), "p of 4 pairs is 1/16, of 3 1/8"


def test_of_equal_trials_the_first_is_chosen_and_two_aims_have_a_front(fake):
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK,))})
    searched = make(study, "baseline", trials=3)
    serve(searched)
    assert search.choice(searched, trials.opened(searched)).number == 0
    two = make(LONG, "cosine", trials=3, minimize="gmacs")
    found, _ = serve(two)
    assert [trial.values[1] for trial in found] == [2, 2, 2], "2e9 multiply-adds"
    best = search.choice(two, trials.opened(two))
    assert best.values[0] == max(trial.values[0] for trial in found), "as cheap as the others, and better"


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_trial_that_cannot_be_made_says_why_and_the_search_goes_on(fake):
    study = replace(LONG, space={"batch_size": CategoricalDistribution((64, 4096))})
    found, said = serve(make(study, "baseline", trials=3, sampler="random"))
    failed = [trial for trial in found if trial.state == TrialState.FAIL]
    assert len(found) - len(failed) == 3
    assert failed
    assert {t.user_attrs["why"] for t in failed} == {
        f"trial {t.number}: 477 training images are fewer than batch_size=4096" for t in failed
    }
    assert [event["number"] for event in said if event["kind"] == "trial"] == [t.number for t in found]


def test_where_all_fail_there_is_an_end(fake):
    study = replace(LONG, space={"batch_size": IntDistribution(4096, 9999)})
    found, _ = serve(make(study, "baseline", trials=4))
    assert [trial.state for trial in found] == [TrialState.FAIL] * 4


def test_trials_beyond_those_asked_for_give_themselves_up(fake):
    searched = make(LONG, "baseline", trials=2)
    study = trials.opened(searched)
    others = [study.ask(), study.ask()]
    work = trials.Objective("long", LONG.baseline, searched.space, (0,), 0.2, Store())
    trials._one_trial(searched, study, work, set(), ExitStack())
    assert [t.state for t in study.trials] == [TrialState.RUNNING, TrialState.RUNNING, TrialState.FAIL]
    assert study.trials[2].user_attrs["why"] == "surplus"
    assert fake == []
    assert trials.failures(study.trials) == 0
    study.tell(others[0], state=TrialState.FAIL)
    trials._one_trial(searched, study, work, set(), ExitStack())
    assert study.trials[3].state == TrialState.COMPLETE, "one of those before failed"


def test_a_trial_whose_process_died_is_taken_up_under_its_number_and_one_that_kills_has_failed(fake):
    searched = make(LONG, "baseline", trials=2)
    lost = trials.opened(searched).ask()
    drawn = lost.suggest_float("optimizer.lr", LR.low, LR.high, log=True)
    with trials.flocked(searched.folder / "0"):
        trials.revive(searched, trials.opened(searched), set())
        assert trials.opened(searched).trials[0].state == TrialState.RUNNING, "its process lives"
    found, _ = serve(searched)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 2
    assert found[0].params["optimizer.lr"] == drawn
    assert found[0].user_attrs["deaths"] == 1
    study = trials.opened(replace(searched, trials=3))
    study.ask()
    for _ in range(3):
        trials.revive(searched, study, set())
        if study.trials[2].state == TrialState.WAITING:
            study.ask()
    assert study.trials[2].state == TrialState.FAIL
    assert study.trials[2].user_attrs["why"] == "its process died, 3 times"


def test_a_killed_worker_loses_no_trial_and_doubles_none():
    searched = make(SEARCHED, "baseline", trials=3)
    killed, said = [], []

    def see(event):
        said.append(event)
        if event["kind"] == "epoch" and not killed and event["run"][0].optimizer.lr != said[0]["run"][0].optimizer.lr:
            (worker,) = multiprocessing.active_children()
            killed.append(worker.pid)
            worker.kill()

    best = run_search(searched, Store(), ["cpu"], see)
    found = trials.opened(searched).trials
    assert killed
    assert [event["text"] for event in said if event["kind"] == "remark"] == [
        "a process was killed by SIGKILL: another takes its trial up again"
    ]
    assert [trial.state for trial in found] in ([TrialState.COMPLETE] * 3,)
    assert [trial.user_attrs.get("deaths", 0) for trial in found] == [0, 1, 0]
    assert len({trial.user_attrs["spec"] for trial in found}) == 3
    assert sorted(run[0] for run in Store()) == sorted(trial.user_attrs["spec"] for trial in found)
    assert (best.left, best.stopped) == (0, False)
    assert best.described["counts"] == {"complete": 3, "pruned": 0, "fail": 0, "running": 0, "waiting": 0}


def test_a_torn_line_of_the_journal_is_cut_off_before_the_next(fake):
    searched = make(LONG, "baseline", trials=2)
    with_one, _ = serve(replace(searched, trials=1))
    open_before = trials.opened(searched)
    with searched.path.open("ab") as file:
        file.write(b'{"op_code": 8, "worker_id": "')
    found, _ = serve(searched)
    assert seen(found[0]) == seen(with_one[0])
    assert len(found) == 2
    assert len(open_before.trials) == 2, "who had it open reads on"
    assert all(json.loads(line) for line in searched.path.read_text().splitlines())


def test_a_journal_that_is_no_journal_is_said_in_a_line(fake):
    searched = make(LONG, "baseline", trials=1)
    searched.path.parent.mkdir(parents=True)
    searched.path.write_text("{no journal\n{at all\n")
    with pytest.raises(Problem, match="cannot be read.*move it aside"):
        serve(searched)


def test_a_database_goes_on_too_and_calls_trials_stale_whose_process_is_gone(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "HEARTBEAT", 1)
    monkeypatch.setattr(trials, "GRACE", 1)
    short = replace(LONG, baseline=BASELINE)
    searched = make(short, "baseline", trials=3, storage=f"sqlite:///{tmp_path}/trials.db", pruner="none")
    found, _ = serve(searched, after(2))
    assert [trial.state for trial in found] == [TrialState.WAITING]
    found, _ = serve(replace(searched, trials=2))
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lost = trials.opened(searched).ask()
    drawn = lost.suggest_float("optimizer.lr", LR.low, LR.high, log=True)
    found, _ = serve(searched)
    assert [trial.state for trial in found[2:]] == [TrialState.FAIL, TrialState.COMPLETE]
    assert found[3].params["optimizer.lr"] == drawn
    assert found[3].system_attrs["failed_trial"] == 2
    assert trials.failures(found) == 0, "it was tried again"
    study = trials.opened(searched)
    study._storage.create_new_trial(study._study_id)  # by a process that died before its first sign of life
    found, _ = serve(replace(searched, trials=4))
    assert [trial.state for trial in found[4:]] == [TrialState.FAIL, TrialState.COMPLETE]


def test_half_an_id_that_a_full_disk_left_is_not_one_with_the_next(home):
    path = home / "searches" / "long@search.specs"
    path.parent.mkdir(parents=True)
    path.write_text("\n0123456789")
    trials.named_by("long@search", LONG.baseline)
    assert garbage.remembered(home) == {LONG.baseline.id}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://here", "is no address of a database that Optuna knows"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:1/none", "cannot be reached: OperationalError.*refused"),
        ("oracle+cx_oracle://me:secret@127.0.0.1:1/none", "its driver is missing"),
        ("postgresql+psycopg2://me:a/secret@127.0.0.1:1/none", "cannot be reached|is no address"),
        ("sqlite:///spoilt.db", r"spoilt.db is damaged \(.*\): move the file aside, or name another; runs that its"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_in_a_line_without_its_password(url, said, monkeypatch, tmp_path):
    monkeypatch.setattr(trials, "RETRY", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spoilt.db").write_bytes(b"a list of cats\n" * 20)
    with pytest.raises(Problem, match=said) as problem:
        serve(make(LONG, "baseline", storage=url))
    assert "\n" not in str(problem.value)
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"space": {"optimizer.lr": FloatDistribution(0.1, 1)}}, "SPACE differs: optimizer.lr was .*log=True.* and is"),
        ({"seeds": (0, 1)}, "seeds was \\[0\\] and is \\[0, 1\\]"),
        ({"rung": 1}, "spec differs: schedule.shape was Step and is Cosine"),
    ],
)
def test_another_search_under_the_same_name_is_refused(changed, said, fake):
    searched = make(LONG, "baseline", trials=1)
    trials.opened(searched)
    if "rung" in changed:
        changed = {"rung": replace(searched.rung, spec=cosine(searched.rung.spec))}
    with pytest.raises(Problem, match=f"{said}.*; to begin anew, move .* aside"):
        trials.opened(replace(searched, **changed))
    trials.opened(replace(searched, trials=9))


@pytest.fixture
def own(monkeypatch):
    """The digests of a user's parts, to be set."""
    made = {}
    monkeypatch.setattr(sources, "of", lambda spec: dict(made))
    monkeypatch.setattr(sources, "digest", made.get)
    return made


def test_trials_that_another_source_made_are_taken_only_where_that_is_asked_for(fake, own):
    own["mine.Part"] = "a"
    once = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK,))})
    serve(make(once, "baseline", trials=1))
    own["mine.Part"] = "b"
    searched = make(once, "baseline", trials=2)
    with pytest.raises(Problem, match=r"mine.Part was a and is b; .* move .*\.log aside, or --accept-stale to go on$"):
        trials.opened(searched)
    accepted = make(once, "baseline", trials=2, accept_stale=True)
    found, _ = serve(accepted)
    assert [trial.value for trial in found] == [95, 95]
    assert len(fake) == 9, "the second trial has the run of the first"
    said = "the source of mine.Part changed since long@search-baseline was begun: its trials are taken as they are"
    assert trials.doubt(accepted, trials.opened(accepted)).startswith(said)
    searched.path.unlink()
    assert trials.doubt(searched, trials.opened(searched)) == ""
    serve(searched)
    assert len(fake) == 18, "and else it is trained anew"


def test_a_search_of_a_time_before_sources_were_noted_says_so(fake, own):
    searched = make(LONG, "baseline")
    assert trials.doubt(searched, trials.opened(searched)) == ""
    own["mine.Part"] = "a"
    searched = make(LONG, "baseline")
    said = "by a version that did not note the source of mine.Part, which may have changed since; to begin anew, move "
    assert said in trials.doubt(searched, trials.opened(searched))


def test_chosen_values_are_tested_by_the_source_of_today(own):
    own["mine.Part"] = "b"
    searched = make(SEARCHED, "baseline")
    spec, store = searched.rung.spec, Store()
    for seed in searched.final:
        finish(store, spec.id, seed, RESULT | {"sources": {"mine.Part": "a"}})
    best = search.Best({"chosen": {}}, None, spec, 0, stopped=False)
    for accepts, made in ((True, "a"), (False, "b")):
        search.tested(replace(searched, accept_stale=accepts), best, OneProcess(store, ["cpu"]), NoTracker())
        assert {store.read(spec.id, seed)["sources"]["mine.Part"] for seed in searched.final} == {made}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "long has no SPACE"),
        ({"mix.beta": LR}, "SPACE: mix.beta: no rung has it"),
        ({"mix.alpha": LR, "optimizer.lr": FloatDistribution(0, 1)}, "SPACE: optimizer.lr: .*greater than 0, not 0"),
        ({"batch_size": FloatDistribution(16, 128)}, "SPACE: batch_size: .*valid integer"),
        ({"batch_size": CategoricalDistribution((16, "many"))}, "SPACE: batch_size: .*valid integer.*'many'"),
        ({"optimizer.momentum": FloatDistribution(0.5, 1)}, "SPACE: optimizer.momentum: .*less than 1"),
        ({"mix.alpha": LR}, "baseline has none of the paths of SPACE: mix.alpha"),
    ],
)
def test_a_space_that_will_not_do_is_said_in_a_line(space, said):
    study = replace(STUDY, name="long", space=space)
    with pytest.raises(Problem, match=said) as problem:
        make(study, "baseline")
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rung": "nosuch"}, "--rung nosuch: no such rung in long; there are: baseline, cosine"),
        ({"minimize": "gmacs", "pruner": "median"}, "--minimize has no early stopping: leave out --pruner median"),
        ({"share": 1.0}, "--share 1: must be above 0 and below 1"),
        ({"storage": "trials.db"}, "--storage trials.db: write a URL"),
        ({"storage": "postgresql:/me:secret@host/base"}, r"--storage postgresql:/me:\*\*\*@host/base: write a URL"),
        ({"pruner": "wilcoxon", "seeds": 4}, "can end a trial after its 4th seed: --seeds 4"),
        ({"sampler": "cmaes"}, "needs the package cmaes: pip install cmaes"),
        ({"seed": -1}, "--seed -1: must be 0 or more"),
    ],
)
def test_options_that_will_not_do_are_said_in_a_line(options, said, monkeypatch):
    monkeypatch.setattr(trials, "find_spec", lambda name: None)
    with pytest.raises(Problem, match=said):
        trials.opened(make(LONG, **options))


@pytest.mark.parametrize(
    ("distribution", "points"),
    [
        (FloatDistribution(1, 5), [1, 2, 3, 4, 5]),
        (FloatDistribution(0.01, 100, log=True), [0.01, 0.1, 1, 10, 100]),
        (FloatDistribution(0, 0.3, step=0.1), [0, 0.1, 0.2, 0.3]),
        (IntDistribution(1, 3), [1, 2, 3]),
        (IntDistribution(16, 256, log=True), [16, 32, 64, 128, 256]),
        (IntDistribution(0, 100), [0, 25, 50, 75, 100]),
        (IntDistribution(0, 60, step=10), [0, 10, 20, 30, 40, 50, 60]),
        (CategoricalDistribution(("a", None)), ["a", None]),
    ],
)
def test_a_grid_cuts_ranges(distribution, points):
    assert trials.cut(distribution) == (
        points if isinstance(distribution, CategoricalDistribution) else pytest.approx(points)
    )


def test_labels_name_the_rung_and_keep_settings_apart():
    assert make(LONG).label == "long@search-cosine"
    labels = {make(LONG, settings=[("epochs", epochs)]).label for epochs in (9, 10)}
    assert len(labels) == 2
    both = replace(LONG, tricks=((cosine, *STUDY.tricks[:1]),))
    assert make(both).label.startswith("long@search-cosine-warmup-")


# --- the test set ---------------------------------------------------------------------------------------------------


class OneProcess:
    """An engine that trains where it stands."""

    stopping = False

    def __init__(self, store, places):
        self.store, self.places = store, places

    def events(self, runs):
        for spec, seed in runs:
            execute(spec, seed, self.store, torch.device("cpu"))
            yield {"kind": "finished", "run": (spec, seed)}


class NoTracker:
    def __init__(self, *_):
        self.seen = []

    def see(self, event):
        assert event["kind"] not in ("begun", "trial")

    def close(self):
        return None


def test_the_test_set_is_met_by_the_chosen_values_alone_at_the_end(monkeypatch, capsys, home):
    def here(driver, count):
        assert count == 1
        trials.serve(driver.search, driver.store, "cpu", driver.see, lambda: False)

    monkeypatch.setattr(search._Driver, "run", here)
    monkeypatch.setattr("harness.engine.Engine", OneProcess)
    monkeypatch.setattr("harness.tracking.Tracker", NoTracker)
    monkeypatch.setattr("harness.study.load", lambda name: SEARCHED)
    options = search.parser().parse_args(["tiny", "--trials", "2", "--jobs", "1", "--device", "cpu"])
    met = []
    tested = search.tested

    def look(searched, best, *rest):
        met.append({run: Store().read(*run) for run in Store()})
        return tested(searched, best, *rest)

    monkeypatch.setattr(search, "tested", look)
    assert search.run(options) == 0
    out, err = capsys.readouterr()
    true = Digits().load()
    (before,) = met
    assert len(before) == 3, "two trials, and their one teacher"
    for record in before.values():
        assert record["images"]["digest"] != true.digest
        assert record["images"]["test"] == 597 - record["images"]["train"] == 120
    described = json.loads((home / "searches" / "tiny@search-distillation.json").read_text())
    new = {run: Store().read(*run) for run in Store() if run not in before}
    chosen = described["chosen"]
    assert {run[0] for run in new} == {chosen["spec_id"], upstream(make(SEARCHED).rung.spec)[0].id}
    assert {record["images"]["test"] for record in new.values()} == {len(true.labels("test"))}
    assert chosen["test"] == {str(seed): new[chosen["spec_id"], seed]["metrics"]["top1"] for seed in (0, 1)}
    assert described["tested"] == [chosen["spec_id"]]
    names = report.called("tiny@search-distillation")
    assert {run[0] for run in Store()} == set(names)
    assert set(names.values()) == {
        f"search-distillation, {what}" for what in ("trial 0", "trial 1", "upstream", "chosen")
    }
    assert "This search looked at the test set once, by the chosen configuration." in out
    assert f"optuna-dashboard {home}/searches/tiny@search-distillation.log" in out
    assert "[2/2] trial 1: top-1" in err

    monkeypatch.setattr(trials, "execute", None)
    assert search.run(options) == 0
    assert capsys.readouterr().out == out, "the same command only tells it again"


def test_an_objective_for_a_study_of_ones_own():
    own = optuna.create_study(direction="maximize")
    work = search.objective(SEARCHED, rung="baseline")
    own.optimize(work, n_trials=2)
    assert set(own.best_params) == {"optimizer.lr"}
    for trial in own.trials:
        ((seed, score),) = trial.user_attrs["scores"].items()
        assert Store().read(trial.user_attrs["spec"], int(seed))["metrics"]["top1"] == trial.value == score
        assert list(trial.intermediate_values) == [0, 1]
    failing = search.objective(replace(SEARCHED, space={"batch_size": IntDistribution(999, 1000)}), "baseline")
    bad = optuna.create_study(direction="maximize")
    bad.optimize(failing, n_trials=1, catch=Problem)
    assert "are fewer than batch_size=" in bad.trials[0].user_attrs["why"]


def test_a_trial_that_was_interrupted_goes_on_from_its_checkpoint():
    searched = make(SEARCHED, "baseline", trials=1)
    found, _ = serve(searched, after(5))
    assert found[0].state == TrialState.WAITING
    again, said = serve(searched)
    assert next(e["text"] for e in said if e["kind"] == "note").startswith("goes on from epoch ")
    assert (again[0].number, again[0].state, again[0].params) == (0, TrialState.COMPLETE, found[0].params)


def test_help_needs_neither_torch_nor_optuna():
    code = "import sys, harness.search as s; s.parser().format_help(); print({'torch', 'optuna'} & set(sys.modules))"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"
