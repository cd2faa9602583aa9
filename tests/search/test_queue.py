"""Trials whose process is gone."""

from dataclasses import replace

from optuna.trial import TrialState

from harness.search import queue
from harness.search.search import make
from harness.search.storage import flocked, opened
from tests.search.here import LONG, LR


def test_a_trial_whose_process_died_is_taken_up_under_its_number_and_one_that_kills_has_failed(fake):
    searched = make(LONG, "baseline", trials=2)
    lost = opened(searched).ask()
    drawn = lost.suggest_float("optimizer.lr", LR.low, LR.high, log=True)
    with flocked(searched.folder / "0"):
        queue.revive(searched, opened(searched), set())
        assert opened(searched).trials[0].state == TrialState.RUNNING, "its process lives"
    found, _ = fake.serve(searched)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 2
    assert found[0].params["optimizer.lr"] == drawn
    assert found[0].user_attrs["deaths"] == 1
    study = opened(replace(searched, trials=3))
    study.ask()
    for _ in range(3):
        queue.revive(searched, study, set())
        if study.trials[2].state == TrialState.WAITING:
            study.ask()
    assert study.trials[2].state == TrialState.FAIL
    assert study.trials[2].user_attrs["why"] == "its process died, 3 times"
