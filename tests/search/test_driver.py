"""Searches on a tiny study; where what is trained does not matter, by runs that only write their record."""

import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from harness.engine import Engine
from harness.search import queue, storage
from harness.search.driver import Driver, _Flight, run_search
from harness.search.search import make
from harness.search.storage import opened
from harness.spec import upstream
from harness.store import Store
from harness.study import plan
from tests.search.here import LONG, PEAK, SEARCHED, Here, seen, serve, trained


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_search_that_is_interrupted_again_and_again_has_the_trials_of_one_that_is_not(
    sampler, fake, tmp_path, monkeypatch
):
    searched = make(LONG, "baseline", sampler=sampler, trials=13)  # of which TPE draws 10 at random
    whole, _ = fake.serve(searched)
    epochs = list(fake)
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "other"))
    fake.clear()
    pauses = 0
    while True:
        found, _ = fake.serve(searched, epochs=10)
        pauses += any(trial.state == TrialState.WAITING for trial in found)
        if sum(trial.state in queue.DONE for trial in found) == searched.trials:
            break
    assert [seen(trial) for trial in found] == [seen(trial) for trial in whole]
    assert fake == epochs, "and no epoch was trained twice"
    assert pauses > 1
    assert len(whole) == (5 if sampler == "grid" else 13)
    assert {trial.state for trial in whole} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(epochs) < 9 * len(whole), "those that were given up trained less"
    assert fake.serve(searched)[1] == [], "what is done is not begun again"


def test_another_seed_draws_other_values_and_more_trials_go_on(fake):
    first, _ = fake.serve(make(LONG, "baseline", trials=3))
    more, _ = fake.serve(make(LONG, "baseline", trials=5))
    assert [t.params for t in more[:3]] == [t.params for t in first]
    assert len(more) == 5
    other = replace(make(LONG, "cosine", trials=3), seed=1)
    assert fake.serve(other)[0][0].params["optimizer.lr"] != first[0].params["optimizer.lr"]


def test_trials_of_the_same_values_are_trained_once_and_told_to_the_pruner_alike(fake):
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK, 0.1))})
    found, _ = fake.serve(make(study, "baseline", trials=6, sampler="random", pruner="none"))
    assert len({trial.user_attrs["spec"] for trial in found}) == 2
    assert len(fake) == 2 * 9
    by_value = {trial.params["optimizer.lr"]: (trial.value, trial.intermediate_values) for trial in found}
    assert all(by_value[t.params["optimizer.lr"]] == (t.value, t.intermediate_values) for t in found)
    assert sorted(by_value[PEAK][1]) == list(range(9))
    assert by_value[PEAK][0] == pytest.approx(95)


def test_a_run_that_was_given_up_is_told_again_from_its_first_epoch_and_trained_no_further(fake, monkeypatch):
    early = optuna.pruners.ThresholdPruner(lower=60, n_warmup_steps=3)
    monkeypatch.setattr(storage, "pruner", lambda searched: early)
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK, 0.01))})
    found, _ = fake.serve(make(study, "baseline", trials=8, sampler="random"))
    bad = [trial for trial in found if trial.params["optimizer.lr"] != PEAK]
    assert len(bad) > 1
    assert {trial.state for trial in bad} == {TrialState.PRUNED}
    assert [list(trial.intermediate_values) for trial in bad] == [[0, 1, 2, 3]] * len(bad)
    assert len(fake) == 9 + 4


def test_a_trial_that_cannot_be_made_says_why_and_the_search_goes_on(fake):
    study = replace(LONG, space={"batch_size": CategoricalDistribution((64, 4096))})
    found, said = fake.serve(make(study, "baseline", trials=3, sampler="random"))
    failed = [trial for trial in found if trial.state == TrialState.FAIL]
    assert len(found) - len(failed) == 3
    assert failed
    assert {t.user_attrs["why"] for t in failed} == {
        f"trial {t.number}: 477 training images are fewer than batch_size=4096" for t in failed
    }
    assert [event["number"] for event in said if event["kind"] == "trial"] == [t.number for t in found]


def test_where_all_fail_there_is_an_end(fake):
    study = replace(LONG, space={"batch_size": IntDistribution(4096, 9999)})
    found, _ = fake.serve(make(study, "baseline", trials=4))
    assert [trial.state for trial in found] == [TrialState.FAIL] * 4


def test_trials_beyond_those_asked_for_give_themselves_up():
    searched, said = make(LONG, "baseline", trials=2), []
    study = opened(searched)
    others = [study.ask(), study.ask()]
    driver = Driver(searched, Engine(Store(), ["cpu"]), said.append)
    assert driver._take() is None
    assert [t.state for t in study.trials] == [TrialState.RUNNING, TrialState.RUNNING, TrialState.FAIL]
    assert study.trials[2].user_attrs["why"] == "surplus"
    assert said == [{"kind": "trial", "number": 2}]
    assert queue.failures(study.trials) == 0
    study.tell(others[0], state=TrialState.FAIL)
    assert driver._take().trial.number == 3, "one of those before failed"
    driver.put_back()
    driver.close()


def test_two_trials_of_the_same_values_share_a_run_and_one_that_is_given_up_leaves_it_to_the_other(fake, monkeypatch):
    class First(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 0 and trial.last_step == 3

    monkeypatch.setattr(storage, "pruner", lambda searched: First())
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK,))})
    found, said = fake.serve(make(study, "baseline", trials=2), places=2)
    assert [trial.state for trial in found] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert len(fake) == 9, "the run was not stopped"
    assert [event["number"] for event in said if event["kind"] == "trial"] == [0, 1]


def test_as_many_trials_as_places_are_under_way_and_the_seeds_of_one_take_turns(fake):
    found, said = fake.serve(make(LONG, "baseline", trials=5, seeds=2, pruner="none"), places=2)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 5
    busy = [0]
    for event in said:
        busy.append(busy[-1] + {"begun": 1, "trial": -1}.get(event["kind"], 0))
    assert max(busy) == 2
    started = [event["run"][1] for event in said if event["kind"] == "started"]
    assert started[:4] == [0, 0, 1, 1]


def test_a_trial_under_way_gives_signs_of_life_to_a_database(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "GRACE", 1)
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    searched = make(LONG, "baseline", trials=2, storage=f"sqlite:///{tmp_path}/trials.db")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        driver = Driver(searched, Engine(Store(), ["cpu"]), lambda event: None)
        dead = opened(searched).ask()  # nobody gives any for it
        flight = driver._take()
        time.sleep(3.5)
        queue.revive(searched, opened(searched), {dead._trial_id, flight.trial._trial_id})
    assert [t.state for t in opened(searched).trials][:2] == [TrialState.FAIL, TrialState.RUNNING]
    driver.put_back()
    driver.close()


def test_no_trial_begins_when_the_time_is_up(fake):
    searched = make(LONG, "baseline", trials=2)
    best = run_search(searched, Engine(Store(), ["cpu"], launcher=Here(fake.body)), timeout=1e-9)
    assert (best.left, best.stopped, best.trial) == (2, False, None)
    assert opened(searched).trials == []


def test_a_killed_worker_loses_no_trial_and_doubles_none():
    searched = make(SEARCHED, "baseline", trials=3)
    engine = Engine(Store(), ["cpu"])
    killed, said = [], []

    def see(event):
        said.append(event)
        if event["kind"] == "epoch" and not killed and event["run"][0].optimizer.lr != said[0]["run"][0].optimizer.lr:
            killed.append(event["run"])
            engine.launcher.workers[0].process.kill()

    best = run_search(searched, engine, see)
    found = opened(searched).trials
    notes = [event for event in said if event["kind"] == "note"]
    assert (notes[0]["run"], notes[0]["text"]) == (killed[0], "is taken up again, its process was killed by SIGKILL")
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 3
    assert len({trial.user_attrs["spec"] for trial in found}) == 3
    assert sorted(run[0] for run in Store()) == sorted(trial.user_attrs["spec"] for trial in found)
    assert (best.left, best.stopped) == (0, False)
    assert best.described["counts"] == {"complete": 3, "pruned": 0, "fail": 0, "running": 0, "waiting": 0}


def after(looks):
    """A `stop` that says so when it was asked so many times."""
    times = iter(range(looks))
    return lambda: next(times, None) is None


def test_a_trial_that_was_interrupted_goes_on_from_its_checkpoint():
    searched = make(SEARCHED, "baseline", trials=1)
    found, _ = serve(searched, partial(trained, stop=after(5)), epochs=1)
    assert found[0].state == TrialState.WAITING
    again, said = serve(searched)
    assert next(e["text"] for e in said if e["kind"] == "note").startswith("goes on from epoch ")
    assert (again[0].number, again[0].state, again[0].params) == (0, TrialState.COMPLETE, found[0].params)


def test_what_a_trial_builds_on_is_not_stopped_though_no_trial_asked_for_it():
    """As where its record was moved aside meanwhile, and the engine trains it again by itself."""
    driver = Driver(make(SEARCHED, trials=1), Engine(Store(), ["cpu"]), lambda event: None)
    spec = plan(SEARCHED).rungs[-1].spec
    driver.flights = [_Flight(None, iter(()), ExitStack(), (spec, 0))]
    (inner,) = upstream(spec)
    assert driver.see({"kind": "started", "run": (inner, 0)}) == ()
    stranger = (spec.but(epochs=1), 0)
    assert driver.see({"kind": "started", "run": stranger}) == (stranger,)
