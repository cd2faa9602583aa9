import numpy as np
import pandas as pd
import pytest
from optuna.trial import create_trial

from harness.report import search as report
from tests.kit.trials import DECAY, EPOCHS, RATE, SHAPE, done, mixed, rows_of, study_of


def test_best_trials_first_then_pruned_ones_then_the_rest(whole):
    folder, made = whole
    head, *rows = rows_of((folder / "trials.md").read_text())
    assert [row[0] for row in rows] == ["3", "11", "7", "6", "1", "9", "0", "10", "4", "8"]
    assert head[1:] == ["validation top-1 (%)", "optimizer.lr", "schedule.shape", "seconds", "state"]
    assert rows[0][1:] == ["93.50 ± 0.71", "0.1", "cosine", "60", "complete"]  # |93 - 94|/√2
    assert rows[3][-1] == "complete, takes up 5"
    assert [row[0] for row in rows_of(made.text)[1:]] == ["3", "11", "7", "6", "1"]
    everyone = report.ranked(report.read(mixed()))
    assert [trial.number for trial in everyone[-2:]] == [2, 5]
    assert report.state_of(everyone[-2]) == "pruned: at 85.25, step 1; below the median"
    assert report.state_of(everyone[-1]) == "failed: out of memory"


def test_the_csv_has_all_trials_unrounded(whole):
    table = pd.read_csv(whole[0] / "trials.csv")
    assert list(table["trial"]) == list(range(12))
    assert table.loc[3, "score_sd"] == np.std([93, 94], ddof=1)
    assert table["optimizer.lr"][1] == pytest.approx(
        10 ** (-4 + 1 / 3), rel=1e-14, abs=0
    )  # pandas reads to the last bit but one
    assert list(table["state"][[2, 5]]) == ["pruned", "failed"]
    assert (table["reached"][2], table["step"][2]) == (85.25, 1)
    assert np.isnan(table["score"][2])
    assert table["takes_up"][6] == 5


def test_the_space_as_searched():
    space = {"optimizer.lr": RATE, "decay.rate": DECAY, "epochs": EPOCHS, "schedule.shape": SHAPE}
    params = {"optimizer.lr": 0.1, "decay.rate": 0.1, "epochs": 20, "schedule.shape": "step"}
    trials = report.read(study_of([create_trial(params=params, distributions=space, value=1.0)]))
    assert report.space_table(report.scales(trials)).to_numpy().tolist() == [
        ["optimizer.lr", "float", "0.0001 to 1", "log"],
        ["decay.rate", "float", "0 to 0.3", "linear"],
        ["epochs", "int", "10 to 60", "steps of 10"],
        ["schedule.shape", "categorical", "cosine, step", "–"],
    ]


def test_a_cost_that_is_not_time_has_its_column():
    trials = report.read(study_of([done(90.0, cost=0.25)], ("maximize", "minimize")))
    table = report.trial_table(trials, [], "gmacs")
    assert table.to_numpy().tolist() == [["0", "90.00", "0.25", "60", "complete"]]
    assert table.columns[2] == "GFLOPs of one image's forward"
