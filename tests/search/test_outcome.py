"""What is chosen, and how it is tested."""

from dataclasses import replace
from types import SimpleNamespace

import torch
from optuna.distributions import CategoricalDistribution

from harness.engine import execute
from harness.search import outcome
from harness.search.outcome import choice
from harness.search.search import make
from harness.search.storage import opened
from harness.store import Store
from tests.kit.tiny import RESULT, finish
from tests.search.here import LONG, PEAK, SEARCHED


def test_of_equal_trials_the_first_is_chosen_and_two_aims_have_a_front(fake):
    study = replace(LONG, space={"optimizer.lr": CategoricalDistribution((PEAK,))})
    searched = make(study, "baseline", trials=3)
    fake.serve(searched)
    assert choice(searched, opened(searched)).number == 0
    two = make(LONG, "cosine", trials=3, minimize="gmacs")
    found, _ = fake.serve(two)
    assert [trial.values[1] for trial in found] == [2, 2, 2], "2e9 multiply-adds"
    best = choice(two, opened(two))
    assert best.values[0] == max(trial.values[0] for trial in found), "as cheap as the others, and better"


def test_chosen_values_are_tested_by_the_source_of_today(own):
    own["mine.Part"] = "b"
    searched = make(SEARCHED, "baseline")
    spec, store = searched.rung.spec, Store()
    for seed in searched.final:
        finish(store, spec.id, seed, RESULT | {"sources": {"mine.Part": "a"}})
    best = outcome.Best({"chosen": {}}, None, spec, 0, stopped=False)
    for accepts, made in ((True, "a"), (False, "b")):
        outcome.tested(
            replace(searched, accept_stale=accepts),
            best,
            OneProcess(store, ["cpu"]),
            SimpleNamespace(see=lambda event: None),
        )
        assert {store.read(spec.id, seed)["sources"]["mine.Part"] for seed in searched.final} == {made}


class OneProcess:
    """An engine that trains where it stands."""

    stopping = False

    def __init__(self, store, places):
        self.store, self.jobs = store, len(places)

    def events(self, runs):
        for spec, seed in runs:
            execute(spec, seed, self.store, torch.device("cpu"))
            yield {"kind": "finished", "run": (spec, seed)}
