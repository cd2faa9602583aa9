import itertools

import numpy as np
import pytest

from harness.report import search as report
from tests.kit.trials import SEARCH, mixed


def test_the_text_says_what_was_found_in_numbers(whole):
    text = whole[1].text
    assert "Trial 3 is the best of 10 complete trials: 93.50 ± 0.71 % top-1 (mean ± s.d. of 2 seeds)" in text
    pool = [90.0, 91.0, 85.25, 93.5, 88.0, 91.5, 92.0, 10.0, 90.5, 89.0, 93.0]  # no failed one
    half, before = (np.mean([max(own) for own in itertools.combinations(pool, n)]) for n in (5, 10))
    assert f"rises by {93.5 - half:.2f} points from 5 to 11 of the trials" in text
    assert f"by {93.5 - before:.3f} with the last one" in text
    assert f"{(93.5 - 93.0) / 11:.3f} with" in text
    assert "This search looked at the test set once, by the chosen configuration." in text


@pytest.mark.parametrize(
    ("tested", "said"),
    [
        ([], "was not looked at."),
        (["a"], "looked at the test set once, by the chosen configuration."),
        (["a", "a"], "looked at the test set once, by the chosen configuration."),
        (["b", "a", "c"], "looked at the test set 3 times, by the chosen configuration and 2 other configurations."),
        (["b", "c"], "looked at the test set twice, by 2 configurations."),
    ],
)
def test_looks_at_the_test_set_are_counted(tested, said):
    assert report.test_said({"tested": tested, "chosen": {"spec_id": "a"}}).endswith(said)


def test_a_search_by_another_metric_says_which():
    trials = report.read(mixed())
    assert report.scored(SEARCH) == report.scored({}) == report.scored({"objectives": ["own"]}) == "top-1"
    other = SEARCH | {"objectives": ["mIoU"]}
    assert report.scored(other) == "mIoU"
    assert "93.50 ± 0.71 % mIoU (mean" in report.best_said(trials, "mIoU")
    assert report.trial_table(trials, [], "", "mIoU").columns[1] == "validation mIoU (%)"
    assert ("Objectives", "validation mIoU, the more the better") in report.how_said(other, trials)
    drawn = [
        (report.history("s", trials, "mIoU"), "validation mIoU (%)"),
        (report.best_of_n("s", [1.0, 2.0], "mIoU"), "best validation mIoU (%)"),
    ]
    assert [figure.axes[0].get_ylabel() for figure, _ in drawn] == [said for _, said in drawn]
