import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from harness.report import search as report
from tests.kit.trials import study_of


def searched(score, n=60, seed=0):
    rng = np.random.default_rng(seed)
    space = {name: FloatDistribution(0, 1) for name in "abc"}
    draws = rng.uniform(size=(n, 3))
    return study_of(
        create_trial(params=dict(zip("abc", map(float, x), strict=True)), distributions=space, value=score(x, rng))
        for x in draws
    )


def test_importances_are_optunas_and_above_chance_where_there_is_an_effect():
    study = searched(lambda x, rng: 90 - 10 * (x[1] - 0.3) ** 2 + 0.05 * rng.normal())
    rows = report.importances(report.read(study))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.1)
    theirs = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert {row.path: row.share for row in rows} == pytest.approx(theirs)
    assert (rows[0].path, rows[0].resolved) == ("b", True)
    assert [row.resolved for row in rows[1:]] == [False, False]
    assert report.matters_said(rows).startswith("What matters most: b (")


def test_importances_of_noise_are_within_chance():
    found = [report.importances(report.read(searched(lambda x, rng: rng.normal(), 20, seed))) for seed in range(5)]
    assert sum(row.resolved for rows in found for row in rows) <= 4  # of 15, of which 0.75 are expected; 4 s.d.
    assert report.matters_said([report.Importance("a", 1.0, 2.0, False)]).startswith("No parameter")


def test_importances_that_fail_cost_a_line(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(optuna.importance, "get_param_importances", broken)
    level = optuna.logging.get_verbosity()
    said = report.importances(report.read(searched(lambda x, rng: float(x[0]))))
    assert said == "Left out: PED-ANOVA failed: RuntimeError: two lines"
    assert optuna.logging.get_verbosity() == level
