"""Which parameters matter: two measures, with what shuffled scores would give."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness import one_line
from harness.report.figures import Array
from harness.report.search.read import ENOUGH, Trial, complete
from harness.report.words import count

if TYPE_CHECKING:
    pass


SHUFFLES = 99  # of the scores: 3 ms each for 100 trials of 4 parameters
POOL = (
    "Valid for random search, whose trials are independent. An adaptive sampler (TPE) draws later trials better than "
    "earlier ones: there the curve describes the trials seen, not what a shorter search would have reached."
)


@dataclass(frozen=True)
class Importance:
    path: str
    share: float  # of the sum over all parameters
    chance: float  # the share that 95 % of shuffles stay below
    resolved: bool  # at most 5 % of shuffled scores give as much


def importances(trials: Sequence[Trial]) -> list[Importance] | str:
    """By PED-ANOVA, the greatest first; or one line that says why there are none.

    How far a parameter's values in the best tenth of trials, five at least, are from those in all (Watanabe et al.
    2023). Held against the same of shuffled scores, for it is above 0 of pure noise too.
    """
    done = complete(trials)
    paths = list(dict.fromkeys(path for trial in done for path, own in trial.space.items() if not own.single()))
    if len(done) < ENOUGH:
        return f"Left out: they would rest on {count(len(done), 'complete trial')}, and below {ENOUGH} are noise."
    if len(paths) < 2:
        return "Left out: fewer than two parameters vary."
    scores = np.array([trial.score for trial in done])
    if np.ptp(scores) == 0:
        return "Left out: all scores are equal."
    try:
        own, shuffled = _ped_anova(done, paths, scores)
    except Exception as error:  # an evaluator that fails takes no report with it
        return f"Left out: PED-ANOVA failed: {one_line(f'{type(error).__name__}: {error}', 200)}"
    total = own.sum()
    if not total > 0:
        return "Left out: the best trials have the values of all."
    chance = np.quantile(shuffled, 0.95, axis=0) / total
    above = (1 + (shuffled >= own).sum(0)) / (1 + SHUFFLES) <= 0.05
    rows = zip(paths, (own / total).tolist(), chance.tolist(), above.tolist(), strict=True)
    return sorted((Importance(*row) for row in rows), key=lambda row: -row.share)


def _ped_anova(done: Sequence[Trial], paths: list[str], scores: Array) -> tuple[Array, Array]:
    """Importances of the scores, and shuffles x parameters of them shuffled."""
    import optuna

    with _quiet():
        copy = optuna.create_study()  # in memory: a database would be asked for all trials at each shuffle
        for trial in done:
            copy.add_trial(optuna.create_trial(params=dict(trial.values), distributions=dict(trial.space), value=0.0))
        judge = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=max(0.1, 5 / len(done)))

        def of(values: Array) -> list[float]:
            found = optuna.importance.get_param_importances(
                copy, evaluator=judge, params=paths, target=lambda trial: -float(values[trial.number]), normalize=False
            )
            return [found[path] for path in paths]

        rng = np.random.default_rng(0)
        return np.array(of(scores)), np.array([of(rng.permutation(scores)) for _ in range(SHUFFLES)])


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna neither logs a study of the report's own nor warns that a target is to be low: it is."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
