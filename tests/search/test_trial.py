"""What a trial tells its pruner, and what it comes to."""

from dataclasses import replace

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from harness.report import search
from harness.search import trial
from harness.search.outcome import choice, describe
from harness.search.search import make
from harness.search.storage import opened
from harness.store import garbage
from tests.search.here import LONG, PEAK


def test_the_steps_of_a_second_seed_follow_those_of_the_first(fake):
    found, _ = fake.serve(make(LONG, "baseline", trials=1, seeds=2))
    steps = found[0].intermediate_values
    assert list(steps) == list(range(18))
    assert steps[9] == pytest.approx(steps[0] + 0.1), "the fake's seed 1 is a tenth better"


def test_the_score_is_the_mean_over_seeds_and_a_wilcoxon_pruner_is_told_seeds(fake):
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK, 0.5))})
    searched = make(study, "baseline", trials=6, seeds=5, pruner="wilcoxon", sampler="random")
    found, _ = fake.serve(searched)
    best = choice(searched, opened(searched))
    assert best.params == {"optimizer.lr": PEAK}
    assert best.value == pytest.approx(95 + 0.1 * (0 + 1 + 2 + 3 + 4) / 5)
    assert best.user_attrs["scores"] == {str(seed): pytest.approx(95 + 0.1 * seed) for seed in range(5)}
    assert best.user_attrs["seconds"] == 5
    assert list(best.intermediate_values) == [0, 1, 2, 3, 4]
    pruned = [trial for trial in found if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(list(trial.intermediate_values) == [0, 1, 2, 3] for trial in pruned), "p of 4 pairs is 1/16, of 3 1/8"


def test_of_a_metric_that_is_better_lower_the_score_is_its_negative_and_the_least_is_chosen(fake, home):
    """The fake's runs take a second each: all trials are equal, and the first is the best."""
    searched = make(LONG, "baseline", trials=2, seeds=2, metric="seconds", sampler="random")
    found, _ = fake.serve(searched)
    assert [trial.value for trial in found] == [-1, -1]
    assert choice(searched, opened(searched)).number == 0
    assert found[0].intermediate_values == {}
    told = describe(searched, opened(searched))
    assert (told["objectives"], told["metric"], told["better"]) == (["seconds"], "seconds", "lower")
    made = search.render(told, opened(searched), home / "page")
    assert "Trial 0 is the best of 2 complete trials: -1.00 ± 0.00 s −seconds" in made.text
    assert "validation −seconds (s)" in made.text
    assert "validation seconds, the less the better" in (made.folder / "index.html").read_text()


def test_half_an_id_that_a_full_disk_left_is_not_one_with_the_next(home):
    path = home / "searches" / "long@search.specs"
    path.parent.mkdir(parents=True)
    path.write_text("\n0123456789")
    trial.named_by("long@search", LONG.baseline)
    assert garbage.remembered(home) == {LONG.baseline.id}
