"""A search as a source of runs: it asks Optuna for trials where places are free, and tells it what they came to."""

import threading
import time
import warnings
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import TrialState

from harness import Problem
from harness.engine import RETRY, Engine, Event, Say, key
from harness.search import storage
from harness.search.outcome import Best, choice, describe
from harness.search.queue import is_surplus, left, revive
from harness.search.search import Search
from harness.search.space import assigned
from harness.search.storage import flocked, opened, reached
from harness.search.trial import Failed, Score, life, values
from harness.spec import needed
from harness.study import Run


def run_search(search: Search, engine: Engine, see: Say = lambda event: None, timeout: float | None = None) -> Best:
    """Do what is left of the trials, as many at once as the engine has places; none begins after `timeout` seconds.

    `see` is told what happens: the engine's events; "begun", with a trial's `number` and its first `run`; and "trial",
    with its `number`, once one is done. Trains nothing on all the data: see `tested`.

    Raises Problem where the storage cannot be used, holds another search, or goes away.
    """
    until = time.monotonic() + timeout if timeout else float("inf")
    with warnings.catch_warnings(), reached(search):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", module="optuna")
        driver = Driver(search, engine, see, until)
        try:
            with closing(engine.events(driver)) as events:
                for event in events:
                    see(event)
            driver.put_back()
        finally:
            driver.close()
        study = opened(search)
        best = choice(search, study)
        spec = assigned(search.rung.spec, best.params) if best else None
        return Best(describe(search, study), best, spec, left(search, study.trials), engine.stopping)


@dataclass(eq=False)
class _Flight:
    """A trial that is under way here, and the run that it waits for."""

    trial: optuna.Trial
    life: Generator[Run, Event, Score]
    held: ExitStack  # what tells others that it is under way
    run: Run | None = None
    asked: bool = False  # whether the engine was


class Beats:
    """Signs of life, to a database, of the trials that are under way here. In a journal each holds a file instead."""

    def __init__(self, where: BaseStorage) -> None:
        self.trials: set[int] = set()
        self.ended = threading.Event()
        if isinstance(where, BaseHeartbeat):
            threading.Thread(target=self._live, args=(where,), daemon=True).start()

    def _live(self, where: BaseHeartbeat) -> None:
        while not self.ended.wait(storage.HEARTBEAT):
            for trial_id in tuple(self.trials):
                where.record_heartbeat(trial_id)


class Driver:
    """The trials of a search as a source of runs; a trial is begun only where fewer are under way than places.

    So with one place the trials are the same each time: the values of one depend on the trials before it alone.
    """

    def __init__(self, search: Search, engine: Engine, say: Say, until: float = float("inf")) -> None:
        self.search, self.engine, self.say, self.until = search, engine, say, until
        self.study = opened(search)
        self.flights: list[_Flight] = []
        self.seen: set[int] = set()  # trials whose signs of life are known
        self.beats = Beats(self.study._storage)
        self.due = True  # whether there are trials to do, as far as we know
        self.again = 0.0  # when to look whether one may be begun

    @property
    def over(self) -> bool:
        return not self.flights and not (self.due and time.monotonic() < self.until)

    def next(self) -> Run | None:
        while True:
            for flight in self.flights:
                if not flight.asked:
                    flight.asked = True
                    return flight.run
            if not self._begin():
                return None

    def see(self, event: Event) -> Iterable[Run]:
        run = event["run"]
        for flight in self._wanting(run):
            if event["kind"] in ("finished", "stopped", "interrupted"):
                flight.asked = False  # it may want it still: one that was stopped as this trial began, for another's
            self._go_on(flight, event)
        below = {key(first) for f in self.flights if f.run for first in needed(*f.run)}
        return () if self._wanting(run) or key(run) in below else (run,)

    def put_back(self) -> None:
        """Leave what is under way to who comes next."""
        with flocked(self.search.folder / "turn"):  # else another may take one whose file is still held here
            for flight in list(self.flights):
                with suppress(UpdateFinishedTrialError):
                    self.study._storage.set_trial_state_values(flight.trial._trial_id, TrialState.WAITING)
                self._leave(flight)

    def close(self) -> None:
        for flight in list(self.flights):
            self._leave(flight)
        self.beats.ended.set()

    def _wanting(self, run: Run) -> list[_Flight]:
        return [flight for flight in self.flights if flight.run and key(flight.run) == key(run)]

    def _begin(self) -> bool:
        """Begin a trial, if one is due: whether that was so. Its values are drawn while no other's are."""
        full = len(self.flights) >= self.engine.jobs
        if full or not self.due or self.engine.stopping or not self.again <= time.monotonic() < self.until:
            return False
        with flocked(self.search.folder / "turn"):
            revive(self.search, self.study, self.seen)
            trials = self.study.get_trials(deepcopy=False)
            due = left(self.search, trials)
            self.due = due > 0
            if sum(trial.state == TrialState.RUNNING for trial in trials) >= due:
                self.again = time.monotonic() + RETRY
                return False
            flight = self._take()
        if flight:
            self._go_on(flight)
        return True

    def _take(self) -> _Flight | None:
        """A trial from the queue, or a new one, with its values; None where there is one too many."""
        trial = self.study.ask()
        own = life(self.search, self.search.label, trial, self.engine.store, self.say)
        flight = _Flight(trial, own, ExitStack())
        path = self.search.folder / str(trial.number)
        flight.held.enter_context(flocked(path))
        flight.held.callback(path.unlink, missing_ok=True)
        self.flights.append(flight)
        self.seen.add(trial._trial_id)
        self.beats.trials.add(trial._trial_id)
        if is_surplus(self.search, self.study, trial.number):
            trial.set_user_attr("why", "surplus")
            trial.storage.set_trial_system_attr(trial._trial_id, "grid_id", -1)  # its point is still to be done
            self._tell(flight, None, TrialState.FAIL)
            return None
        with suppress(Problem, UpdateFinishedTrialError):  # its life meets it again, and says it
            values(self.search, trial)
        return flight

    def _go_on(self, flight: _Flight, event: Event | None = None) -> None:
        try:
            run = flight.life.send(event) if event else next(flight.life)
        except StopIteration as end:
            self._tell(flight, end.value)
        except optuna.TrialPruned:
            self._tell(flight, None, TrialState.PRUNED)
        except Failed:
            self._tell(flight, None, TrialState.FAIL)
        except UpdateFinishedTrialError:  # it is no longer ours
            self._leave(flight)
        else:
            if not flight.run or key(run) != key(flight.run):
                flight.run, flight.asked = run, False

    def _tell(self, flight: _Flight, score: Score | None, state: TrialState | None = None) -> None:
        """Tell Optuna what a trial came to, unless it is no longer ours."""
        number = flight.trial.number
        with suppress(UpdateFinishedTrialError):
            ours = self.study.get_trials(deepcopy=False)[number].state == TrialState.RUNNING
            if ours:
                self.study.tell(flight.trial, score, state)
                self.say({"kind": "trial", "number": number})
        self._leave(flight)

    def _leave(self, flight: _Flight) -> None:
        self.flights.remove(flight)
        self.beats.trials.discard(flight.trial._trial_id)
        flight.held.close()
