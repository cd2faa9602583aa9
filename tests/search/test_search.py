"""What a search can be made of."""

from dataclasses import replace

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from harness import Problem
from harness.search import samplers
from harness.search.search import make
from harness.search.storage import opened
from harness.store import Store
from harness.tricks.cosine import cosine
from tests.kit.stores import ANSWERED
from tests.kit.tiny import RESULT, STUDY, finish
from tests.search.here import LONG, LR


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
    monkeypatch.setattr(samplers, "find_spec", lambda name: None)
    with pytest.raises(Problem, match=said):
        opened(make(LONG, **options))


def test_a_search_by_another_metric_is_another_and_tells_pruners_nothing_of_epochs():
    first, by_loss = make(LONG), make(LONG, metric="loss")
    assert by_loss.label == "long@search-cosine-loss"
    assert by_loss.words[-4:] == ["--metric", "loss", "--pruner", "none"]
    assert by_loss.definition == first.definition | {"metric": "loss", "pruner": "none"}
    assert "metric" not in first.definition, "those of before go on"
    assert (by_loss.sign, make(LONG, metric="balanced_accuracy").sign) == (-1, 1)
    assert make(LONG, metric="top1") == first
    with pytest.raises(Problem, match="--metric loss is not told each epoch: leave out --pruner hyperband"):
        make(LONG, metric="loss", pruner="hyperband")
    with pytest.raises(Problem, match="--metric rmse: no such metric"):
        make(LONG, metric="rmse")


def test_what_a_trial_is_worth_is_of_its_record_or_its_logits(tmp_path):
    store, spec = Store(tmp_path), LONG.baseline
    finish(store, spec.id, 0, RESULT | {"metrics": {"top1": 90.0, "test_loss": 0.4}}, arrays=ANSWERED)
    assert make(LONG).value(store, spec, 0) == 90
    assert make(LONG, metric="loss").value(store, spec, 0) == 0.4
    assert make(LONG, metric="worst_class").value(store, spec, 0) == pytest.approx(80), "of five images of class 1 four"
    finish(store, spec.id, 1, RESULT)
    with pytest.raises(Problem, match=f"--metric ece: the record of {spec.id}/1 has no logits: move it aside"):
        make(LONG, metric="ece").value(store, spec, 1)


def test_labels_name_the_rung_and_keep_settings_apart():
    assert make(LONG).label == "long@search-cosine"
    labels = {make(LONG, settings=[("epochs", epochs)]).label for epochs in (9, 10)}
    assert len(labels) == 2
    both = replace(LONG, tricks=((cosine, *STUDY.tricks[:1]),))
    assert make(both).label.startswith("long@search-cosine-warmup-")
