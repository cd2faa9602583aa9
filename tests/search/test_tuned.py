"""Searches for each rung of a ladder: alike, and only for what tuning may change."""

from functools import partial

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from harness import Problem
from harness.search import tuned
from harness.spec import declares
from harness.study import Study, plan, retuned, spare_seed
from harness.tricks.mixup import mixup
from tests.kit.tiny import BASELINE, TRICKS

LR, ALPHA = FloatDistribution(0.01, 1, log=True), FloatDistribution(0.1, 1)


def study(*tricks, **space):
    paths = {name.replace("__", "."): distribution for name, distribution in space.items()}
    return Study("tiny", "", BASELINE, tricks, (0, 1), paths)


@declares("optimizer.lr")
def faster(spec):
    """faster: another rate."""
    return spec.but(optimizer=spec.optimizer.but(lr=0.5))


def test_rungs_are_searched_alike_each_in_the_space_it_has():
    own = study(*TRICKS[1:2], optimizer__lr=LR, mix__alpha=ALPHA)
    made = tuned.searches(own, plan(own), 8, "random")
    assert [list(search.space) for search in made] == [["optimizer.lr"], ["optimizer.lr", "mix.alpha"]]
    assert {(s.trials, s.sampler, s.pruner, s.seed, s.seeds, s.share) for s in made} == {
        (8, "random", "none", 0, (2,), tuned.SHARE)
    }
    assert not any(search.accept_stale for search in made)
    assert all(search.accept_stale for search in tuned.searches(own, plan(own), 8, "random", accept_stale=True))
    assert spare_seed(plan(own)) == 2
    assert len({search.label for search in made}) == 2


def test_budgets_and_designs_have_searches_of_their_own():
    own = study(*TRICKS[1:2], optimizer__lr=LR)
    labels = {
        search.label
        for design in ("ladder", "add-one")
        for trials in (2, 3)
        for search in tuned.searches(own, plan(own, design=design), trials, "random")
    }
    assert len(labels) == 8


def test_what_a_trick_changes_is_not_tuned_away():
    own = study(faster, optimizer__lr=LR)
    with pytest.raises(Problem, match=r"tiny: faster changes optimizer.lr, which tuning would undo"):
        tuned.searches(own, plan(own), 2, "random")
    more = study(mixup, partial(mixup, alpha=0.7), mix__alpha=ALPHA, optimizer__lr=LR)
    with pytest.raises(Problem, match=r"mix.alpha, which tuning would undo"):
        tuned.searches(more, plan(more), 2, "random")


def test_what_is_set_is_not_searched():
    own = study(*TRICKS[1:2], optimizer__lr=LR, batch_size=CategoricalDistribution((64, 128)))
    made = tuned.searches(own, plan(own, [("optimizer.lr", 0.3)]), 2, "random")
    assert [list(search.space) for search in made] == [["batch_size"]] * 2
    with pytest.raises(Problem, match="none of the paths of SPACE left to search"):
        tuned.searches(own, plan(own, [("optimizer.lr", 0.3), ("batch_size", 64)]), 2, "random")


def test_a_tuned_plan_says_what_else_differs_between_its_rungs():
    own = study(*TRICKS[:1], optimizer__lr=LR)
    made = plan(own)
    specs = [rung.spec.but(optimizer=rung.spec.optimizer.but(lr=0.1 * (i + 2))) for i, rung in enumerate(made.rungs)]
    tuned = retuned(made, own, specs, {"trials": 2, "sampler": "random"}, ["--tuned", "2"])
    assert [rung.also for rung in tuned.rungs] == [(), ("optimizer",)]
    assert tuned.label == "tiny@tuned-2-random"
    assert tuned.command == (*made.command, "--tuned", "2")
    assert made.rungs[1].also == ()
