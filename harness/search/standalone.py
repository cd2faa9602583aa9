"""A search's trials under an Optuna study of a user's own."""

import time
from collections.abc import Generator
from dataclasses import dataclass

import optuna

from harness.engine import RETRY, Event, settle
from harness.engine.worker import attempt
from harness.search.search import Search
from harness.search.trial import Score, life
from harness.store import Store
from harness.study import Run


@dataclass
class Objective:
    """What Optuna maximizes: the validation score of a rung with a trial's values, in percent, the mean over its seeds.

    It trains where it stands, one run at a time. With `minimize` of the search a pair, the second seconds of training,
    or multiply-adds an image / 1e9. Raises what `harness.search.trial.life` does. The trial's user attributes are
    "spec", "scores" by seed, "seconds" and "gmacs".
    """

    search: Search
    store: Store
    place: str = "cpu"

    def __call__(self, trial: optuna.Trial) -> Score:
        """Train the rung with the values that `trial` draws, a run a seed, and score it."""
        own = life(self.search, f"{self.search.study}@objective", trial, self.store, lambda event: None)
        try:
            run = next(own)
            while True:
                run = self._train(run, own)
        except StopIteration as end:
            score: Score = end.value
            return score

    def _train(self, run: Run, own: Generator[Run, Event, Score]) -> Run:
        """Train a run while the trial wants it: the run that it wants then. Raises what ends the trial."""
        wanted, end = run, None

        def say(event: Event) -> None:
            nonlocal wanted, end
            if end is None:
                try:
                    wanted = own.send({**event, "run": run})
                except Exception as ended:  # not within the run, which would have failed by it
                    end = ended

        event = attempt(run, self.store, settle(self.place), say, lambda: end is not None)
        if event["kind"] == "held":
            time.sleep(RETRY)
        say(event)
        if end:
            raise end
        return wanted
