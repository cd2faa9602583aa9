"""How values are drawn, and what ends a poor trial early."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial

from harness import Problem
from harness.rng import stream
from harness.search.search import Search
from harness.search.space import cut


class Seeded(optuna.samplers.BaseSampler):
    """A sampler made anew for each trial, from the search's seed and the trial's number.

    So a trial's values depend on those before it and on nothing else: a search that was interrupted goes on as one that
    was not. Each value that is drawn by itself has a stream of its own, since some of a trial's may be there already.
    It hears of no trial's end: `inner` may be another's by then, and a grid would stop Optuna's own loop.
    """

    def __init__(self, make: Callable[[int], optuna.samplers.BaseSampler], seed: int) -> None:
        self.make, self.seed = make, seed
        self.inner = make(0)

    def _made(self, *purpose: str | int) -> optuna.samplers.BaseSampler:
        return self.make(int(stream(self.seed, "trial", *purpose).integers(2**32)))

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        storage = study._storage
        if isinstance(storage, BaseHeartbeat):
            storage.record_heartbeat(trial._trial_id)  # its last may be of another day, or there is none yet
        self.inner = self._made(trial.number)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        made = self._made(trial.number, param_name)
        return made.sample_independent(study, trial, param_name, param_distribution)


def sampler(search: Search) -> optuna.samplers.BaseSampler:
    """Raises Problem where one needs a package that is not there, or values that it cannot draw."""
    samplers = optuna.samplers
    if search.sampler == "cmaes":
        _needs("cmaes", "cmaes")
        if search.minimize:
            raise Problem("--sampler cmaes has one aim: leave out --minimize, or take tpe")
        if len([d for d in search.space.values() if not isinstance(d, CategoricalDistribution)]) < 2:
            raise Problem("--sampler cmaes needs two ranges in SPACE at least: take tpe")
        return Seeded(lambda seed: samplers.CmaEsSampler(seed=seed), search.seed)
    if search.sampler == "gp":
        _needs("torch", "gp")
        return Seeded(lambda seed: samplers.GPSampler(seed=seed), search.seed)
    if search.sampler == "grid":
        grid = {path: cut(distribution) for path, distribution in search.space.items()}
        return Seeded(lambda seed: samplers.GridSampler(grid, seed=search.seed), search.seed)
    if search.sampler == "random":
        return Seeded(lambda seed: samplers.RandomSampler(seed=seed), search.seed)
    return Seeded(lambda seed: samplers.TPESampler(seed=seed, constant_liar=True), search.seed)


def _needs(package: str, name: str) -> None:
    if not find_spec(package):
        raise Problem(f"--sampler {name} needs the package {package}: pip install {package}, or take tpe")


def pruner(search: Search) -> optuna.pruners.BasePruner:
    match search.pruner:
        case "hyperband":  # its resource is an epoch
            most = search.rung.spec.epochs * len(search.seeds)
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=most)
        case "median":
            return optuna.pruners.MedianPruner()
        case "wilcoxon":
            return optuna.pruners.WilcoxonPruner()
    return optuna.pruners.NopPruner()
