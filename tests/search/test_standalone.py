"""Under an Optuna study of one's own."""

from dataclasses import replace

import optuna
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from harness import Problem
from harness.search import objective, standalone
from harness.store import Store
from tests.kit.tiny import RESULT, finish
from tests.search.here import SEARCHED


def test_an_objective_for_a_study_of_ones_own():
    own = optuna.create_study(direction="maximize")
    work = objective(SEARCHED, rung="baseline")
    own.optimize(work, n_trials=2)
    assert set(own.best_params) == {"optimizer.lr"}
    for trial in own.trials:
        ((seed, score),) = trial.user_attrs["scores"].items()
        assert Store().read(trial.user_attrs["spec"], int(seed))["metrics"]["top1"] == trial.value == score
        assert list(trial.intermediate_values) == [0, 1]
    failing = objective(replace(SEARCHED, space={"batch_size": IntDistribution(999, 1000)}), "baseline")
    bad = optuna.create_study(direction="maximize")
    bad.optimize(failing, n_trials=1, catch=Problem)
    assert "are fewer than batch_size=" in bad.trials[0].user_attrs["why"]


def test_a_run_that_the_pruner_gives_up_is_left_at_a_checkpoint():
    own = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=101))
    own.optimize(objective(SEARCHED, rung="baseline"), n_trials=1)
    (trial,) = own.trials
    assert (trial.state, list(trial.intermediate_values)) == (TrialState.PRUNED, [0])
    assert (trial.user_attrs["spec"], 0) not in Store()
    assert [e["event"] for e in Store().events(trial.user_attrs["spec"], 0)][-2:] == ["checkpoint", "interrupted"]


def test_a_run_that_another_process_has_is_waited_for(monkeypatch):
    monkeypatch.setattr(standalone, "RETRY", 0)
    asked = []

    def attempt(run, store, device, say, stop):
        asked.append(run)
        if len(asked) == 1:
            return {"kind": "held", "pid": "7"}
        rows = [{"epoch": epoch, "top1": 90.0} for epoch in range(2)]
        finish(store, run[0].id, run[1], RESULT | {"epochs": rows})
        return {"kind": "finished"}

    monkeypatch.setattr(standalone, "attempt", attempt)
    own = optuna.create_study(direction="maximize")
    own.optimize(objective(SEARCHED, rung="baseline"), n_trials=1)
    assert own.trials[0].value == 90
    assert len(asked) == 2
