"""Under an Optuna study of one's own."""

from dataclasses import replace

import optuna
from optuna.distributions import IntDistribution

from harness import Problem
from harness.search import objective
from harness.store import Store
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
