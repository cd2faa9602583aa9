"""Trials of a search: where Optuna keeps them, how they are drawn, scored, stopped early, and taken up again.

A trial is values for some slots of one specification. What it trains is a run like any other, blinded: its top-1 is
that of training images held out, and its record is in the store, never trained twice and resumed from its checkpoint.
"""

import fcntl
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from harness import Problem, one_line, without_password
from harness.engine import RETRIES, RETRY, Event, Interrupted, Say, execute, settle, why
from harness.engine.worker import begin_as_worker
from harness.parts.holdout import blinded
from harness.paths import flock, runs, wait_for, write_all
from harness.rng import stream
from harness.spec import UPSTREAM_SEED, Spec, assign, upstream
from harness.store import EVERY, Held, Record, Store
from harness.study import Plan, Rung, check, stale

if TYPE_CHECKING:
    from harness.search import Search

HEARTBEAT, GRACE = 2, 10  # seconds between signs of life in a database, and without one until a trial is taken for dead
PATIENCE = 60  # seconds that a database may be away
CUTS = 5  # values of a range without a step, in a grid
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
Space = Mapping[str, BaseDistribution]
Values = Mapping[str, Any]
optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # the driver says a line a trial


# --- values ----------------------------------------------------------------------------------------------------------


def assigned(spec: Spec, values: Values) -> Spec:
    """`spec` with the values of a trial. Raises Problem where a field refuses one, or the path is not there."""
    for path, value in values.items():
        changed = assign(spec, path, value)
        if changed is None:
            raise Problem(f"{path}: the specification has no such path")
        spec = changed
    return spec


def samples(distribution: BaseDistribution) -> tuple[Any, ...]:
    """Of a range both ends and a value between; of a choice all."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    between = min(high, low + step) if step else low + (high - low) * 0.382  # no whole number, where the ends are
    return low, between, high


def cut(distribution: BaseDistribution) -> list[Any]:
    """The values of a grid: by the step, or 5 where there is none, even, or even in the logarithm."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = isinstance(distribution, IntDistribution)
    if step and (step > 1 or not whole or high - low < CUTS) and not distribution.log:
        count = int((high - low) / step + 1e-9) + 1
        return [low + i * step for i in range(count)]
    points = np.geomspace(low, high, CUTS) if distribution.log else np.linspace(low, high, CUTS)
    inner = (round(value) if whole else float(value) for value in points[1:-1])
    return list(dict.fromkeys([low, *inner, high]))  # the ends exactly


def suggest(trial: optuna.Trial, path: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(path, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(path, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(path, choices)
    raise AssertionError(distribution)


class Seeded(optuna.samplers.BaseSampler):
    """A sampler made anew for each trial, from the search's seed and the trial's number.

    So a trial's values depend on those before it and on nothing else: a search that was interrupted goes on as one that
    was not. Each value that is drawn by itself has a stream of its own, since some of a trial's may be there already.
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

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.inner.after_trial(study, trial, state, values)


def sampler(search: "Search") -> optuna.samplers.BaseSampler:
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


def pruner(search: "Search") -> optuna.pruners.BasePruner:
    match search.pruner:
        case "hyperband":  # its resource is an epoch
            most = search.rung.spec.epochs * len(search.seeds)
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=most)
        case "median":
            return optuna.pruners.MedianPruner()
        case "wilcoxon":
            return optuna.pruners.WilcoxonPruner()
    return optuna.pruners.NopPruner()


# --- storage ---------------------------------------------------------------------------------------------------------


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Hold the file at `path`; wait while another does. The kernel lets go when the owner dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        wait_for(file, path)
        yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


class JournalLock:
    """The lock of a journal: it dies with its owner, as the library's do not.

    Whoever takes it cuts off what a killed owner left of a line: else the next line would be one with it, and nobody
    could read on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held = ExitStack()

    def acquire(self) -> bool:
        self.held.enter_context(flocked(self.path.with_suffix(".lock")))
        with suppress(FileNotFoundError), self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read(1) != b"\n":
                file.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self.held.close()


class Database(RDBStorage):
    """A database that may go away for a while: whoever needs it waits, `PATIENCE` seconds at most.

    One that is not there at the beginning raises at once.
    """

    def __init__(self, url: str, **how: Any) -> None:
        super().__init__(url, **how)
        self.left: float | None = None  # when it went away, if it has
        self.back = -float("inf")  # when it came back, by the clock of time.monotonic
        sqlalchemy.event.listen(self.engine, "do_connect", self._connect)

    def _connect(self, dialect: Any, record: Any, words: Any, named: Any) -> Any:
        while True:
            try:
                connection = dialect.connect(*words, **named)
            except dialect.loaded_dbapi.OperationalError:
                self.left = self.left or time.monotonic()
                if time.monotonic() > self.left + PATIENCE:
                    raise
                time.sleep(RETRY)
                continue
            if self.left:
                self.left, self.back = None, time.monotonic()
            return connection

    def record_heartbeat(self, trial_id: int) -> None:
        with suppress(StorageInternalError):  # from a thread, which would print it and end; the next may get through
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """None where it was away, and those who live had no time for a sign of it."""
        return [] if time.monotonic() < self.back + GRACE else super()._get_stale_trial_ids(study_id)


@contextmanager
def reached(search: "Search") -> Iterator[None]:
    """Raises Problem where the storage does not answer."""
    try:
        yield
    except StorageInternalError as error:
        raise Problem(_trouble(search, error)) from None


def opened(search: "Search") -> optuna.Study:
    """The search in its storage, made where it is not there yet.

    Raises Problem where the storage cannot be used, or holds another search under this name.
    """
    definition = search.definition
    with warnings.catch_warnings(), flocked(search.folder / "turn"):  # two that make a fresh database at once fail
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats, and Wilcoxon's pruner
        for attempt in range(3):
            try:
                study = optuna.create_study(
                    storage=_storage(search),
                    study_name=search.label,
                    directions=["maximize", "minimize"] if search.minimize else ["maximize"],
                    sampler=sampler(search),
                    pruner=pruner(search),
                    load_if_exists=True,
                )
                before = study.user_attrs.get("definition")
                if before is None:
                    study.set_user_attr("definition", definition)
                break
            except Problem:
                raise
            except Exception as error:  # another machine may be making the same tables
                if attempt == 2 or not search.storage or isinstance(error, ImportError):
                    raise Problem(_trouble(search, error)) from None
                time.sleep(RETRY * 2)
    for what, old in dict(before or {}).items():
        if old != (now := definition.get(what)) and not (what == "sources" and search.accept_stale):
            other = ", or --accept-stale to go on" if what == "sources" else ""
            raise Problem(f"{search.label} was begun otherwise: {_differs(what, old, now)}; {_anew(search)}{other}")
    return study


def doubt(search: "Search", study: optuna.Study) -> str:
    """Where a search goes on though the user's code may have changed since it was begun: that, in a line; else ""."""
    before, now = study.user_attrs["definition"].get("sources"), search.definition.get("sources", {})
    changed = ", ".join(kind for kind, made in now.items() if (before or {}).get(kind) != made)
    if before is None and now:
        begun = f"{search.label} was begun by a version that did not note the source of {changed}"
        return f"{begun}, which may have changed since; {_anew(search)}"
    what = f"the source of {changed} changed since {search.label} was begun"
    return f"{what}: its trials are taken as they are (--accept-stale)" if changed else ""


def _storage(search: "Search") -> optuna.storages.BaseStorage:
    if not search.storage:
        path = search.path
        path.parent.mkdir(parents=True, exist_ok=True)
        lock: Any = JournalLock(path)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    url = search.storage
    if url.startswith("postgresql://") and not find_spec("psycopg"):  # SQLAlchemy's own choice, from 2.1 on
        url = url.replace("://", "+psycopg2://", 1)
    own = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    return Database(
        url,
        engine_kwargs=own,
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
    )


def _trouble(search: "Search", error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    text = one_line(without_password(f"{type(error).__name__}: {error}", search.storage or ""), 300)
    if not search.storage:
        return f"{search.path} cannot be read ({text}): move it aside; runs that its trials trained are reused"
    if isinstance(error, ImportError):
        advice = "pip install psycopg2-binary" if "psycopg" in text else "install it"
        return f"--storage {search.address}: its driver is missing ({text}): {advice}"
    if "Could not parse" in text or "NoSuchModuleError" in text:
        return f"--storage {search.address}: is no address of a database that Optuna knows, as sqlite:///search.db is"
    if "not a database" in text or "malformed" in text:  # of sqlite
        advice = "move the file aside, or name another; runs that its trials trained are reused"
        return f"--storage {search.address} is damaged ({text}): {advice}"
    return f"--storage {search.address} cannot be reached: {text}"


def _differs(what: str, old: Any, new: Any) -> str:
    if not isinstance(new, dict) or not isinstance(old, dict):
        return f"{what} was {old} and is {new}"
    path = next(path for path in (*old, *new) if old.get(path) != new.get(path))
    said = [values.get(path, "not there") for values in (old, new)]
    return f"{'SPACE' if what == 'space' else what} differs: {path} was {said[0]} and is {said[1]}"


def _anew(search: "Search") -> str:
    if search.storage:
        return f"to begin anew: optuna delete-study --study-name {search.label} --storage {search.address}"
    return f"to begin anew, move {search.path} aside"


# --- the objective ---------------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """The trial was asked to stop, and is kept. No Exception: Optuna would call the trial failed."""


class Adrift(BaseException):
    """The trial is no longer ours, or cannot be told to the storage. No Exception: as above."""


class Failed(Problem):
    """A run of the trial failed, or cannot be made; the trial's user attribute "why" says it."""


def named_by(label: str, spec: Spec, what: str = "") -> None:
    """Note that a search asks for the runs of `spec`, and `what` that is: "trial 3".

    What nothing names is garbage, `harness.sync` sends what is named, and a database is far away.
    """
    path = runs() / "searches" / f"{label}.specs"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        write_all(file, f"\n{spec.id} {what}\n".encode())  # half of one, on a full disk, is not to be one with the next
    finally:
        os.close(file)


class _Steps:
    """Tells a trial's steps to its pruner, each once, also where the trial was begun before."""

    def __init__(self, trial: optuna.Trial, last: int) -> None:
        self.trial, self.last = trial, last
        self.told = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self.undecided = max(self.told, default=None)
        self.heard = len(trial.study.directions) == 1  # Optuna prunes no trial of two aims

    def __call__(self, step: int, top1: float) -> bool:
        """Whether the pruner gives the trial up."""
        if not self.heard or (step in self.told and step != self.undecided):
            return False
        if step not in self.told:
            self.trial.report(top1, step)
            self.told.add(step)
        self.undecided = None
        return step != self.last and self.trial.should_prune()


@dataclass
class Objective:
    """What Optuna maximizes: validation top-1 of `spec` with a trial's values, in percent, the mean over `seeds`.

    With `minimize` a pair, the second seconds of training, or multiply-adds an image / 1e9. Where a run cannot be made,
    fails, or is refused by its evidence, it raises Failed, and "why" of the trial says it; one that diverged counts
    with its top-1. The trial's user attributes are "spec", "scores" by seed, "seconds" and "gmacs".
    """

    study: str
    spec: Spec
    space: Space
    seeds: tuple[int, ...]
    share: float
    store: Store
    place: str = "cpu"
    minimize: str | None = None
    say: Say = lambda event: None
    stop: Callable[[], bool] = lambda: False
    every: float = EVERY
    label: str = ""  # of the search; empty under an Optuna study of the user's own
    accept_stale: bool = False

    def values(self, trial: optuna.Trial) -> dict[str, Any]:
        return {path: suggest(trial, path, distribution) for path, distribution in self.space.items()}

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        spec = self.spec
        try:
            spec = blinded(assigned(spec, self.values(trial)), self.share)
            spec.agree()
            check(Plan(self.study, (Rung(f"trial {trial.number}", "", spec),), self.seeds))
            return self._score(trial, spec)
        except optuna.exceptions.OptunaError:  # it was pruned, or the storage does not answer
            raise
        except Exception as error:
            trial.set_user_attr("why", text := why(error, spec))
            raise Failed(text) from error

    def _score(self, trial: optuna.Trial, spec: Spec) -> float | tuple[float, float]:
        trial.set_user_attr("spec", spec.id)
        for each in (*upstream(spec), spec):
            what = f"trial {trial.number}" if each is spec else "upstream"
            named_by(self.label or f"{self.study}@objective", each, what)
        self.say({"kind": "begun", "number": trial.number, "run": (spec, self.seeds[0])})
        by_seed = isinstance(trial.study.pruner, optuna.pruners.WilcoxonPruner)
        steps = _Steps(trial, self.seeds[-1] if by_seed else spec.epochs * len(self.seeds) - 1)
        for inner in upstream(spec):
            self._trained(inner, UPSTREAM_SEED, lambda row: False)
        records = []
        for place, seed in enumerate(self.seeds):
            first = place * spec.epochs

            def prunes(row: Event, first: int = first) -> bool:
                return not by_seed and steps(first + row["epoch"], row["top1" if "top1" in row else "val_top1"])

            record = self._trained(spec, seed, prunes)
            records.append(record)
            if by_seed and steps(seed, record["metrics"]["top1"]):
                raise optuna.TrialPruned
        scores = [record["metrics"]["top1"] for record in records]
        seconds = sum(record["seconds"] for record in records)
        gmacs = records[0]["macs"] / 1e9
        trial.set_user_attr("scores", {str(seed): score for seed, score in zip(self.seeds, scores, strict=True)})
        trial.set_user_attr("seconds", seconds)
        trial.set_user_attr("gmacs", gmacs)
        score = float(np.mean(scores))
        return (score, {"seconds": seconds, "gmacs": gmacs}[self.minimize]) if self.minimize else score

    def _trained(self, spec: Spec, seed: int, prunes: Callable[[Event], bool]) -> Record:
        """The record of a run, trained unless it is there. Raises TrialPruned where one of its epochs `prunes`."""
        run, pruned, noted = (spec, seed), False, False

        def say(event: Event) -> None:
            nonlocal pruned
            self.say({**event, "run": run})
            pruned = pruned or (event["kind"] == "epoch" and prunes(event["at"]))

        if not self.accept_stale and stale([run], self.store):
            with suppress(Held):  # somebody else is about to
                self.store.set_aside(spec.id, seed)
        for row in self._epochs(spec.id, seed):
            if prunes(row):
                raise optuna.TrialPruned
        while (spec.id, seed) not in self.store:
            if self.stop():
                raise Stopped
            try:
                execute(spec, seed, self.store, settle(self.place), say, lambda: pruned or self.stop(), self.every)
                self.say({"kind": "finished", "run": run})
            except Held as held:
                if not noted:
                    self.say({"kind": "note", "run": run, "text": f"is being trained by process {held.pid}"})
                noted = True
                time.sleep(RETRY)
            except Interrupted:
                self.say({"kind": "pruned" if pruned else "interrupted", "run": run})
                raise (optuna.TrialPruned if pruned else Stopped) from None
        record = self.store.read(spec.id, seed)
        if any(prunes(row) for row in record["epochs"]):  # where another process trained it
            raise optuna.TrialPruned
        return record

    def _epochs(self, spec_id: str, seed: int) -> list[Event]:
        """Those that the run has behind it, of one done twice the first."""
        if (spec_id, seed) in self.store:
            rows: list[Event] = self.store.read(spec_id, seed)["epochs"]
            return rows
        rows = [event for event in self.store.events(spec_id, seed) if event["event"] == "epoch"]
        return [row for _, row in sorted({row["epoch"]: row for row in reversed(rows)}.items())]


# --- a worker --------------------------------------------------------------------------------------------------------


def revive(search: "Search", study: optuna.Study, seen: set[int]) -> None:
    """Put trials whose process is gone back into the queue; those whose process died too often have failed.

    A journal has no heartbeats: there each trial holds a file while it runs. Called by whoever has the turn.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    storage = study._storage
    if isinstance(storage, BaseHeartbeat):
        for trial in running:
            if trial._trial_id not in seen:  # one that died before its first would never be called stale
                storage.record_heartbeat(trial._trial_id)
                seen.add(trial._trial_id)
        optuna.storages.fail_stale_trials(study)
        return
    for trial in running:
        if not is_held(search.folder / str(trial.number)):
            deaths = trial.user_attrs.get("deaths", 0) + 1
            storage.set_trial_user_attr(trial._trial_id, "deaths", deaths)
            if deaths > RETRIES:
                storage.set_trial_user_attr(trial._trial_id, "why", f"its process died, {deaths} times")
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL if deaths > RETRIES else TrialState.WAITING)


def failures(trials: list[FrozenTrial]) -> int:
    """Trials that failed for good: not the surplus, nor those that were tried again."""
    again = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in again]
    return sum(trial.user_attrs.get("why") != "surplus" for trial in failed)


def left(search: "Search", trials: list[FrozenTrial]) -> int:
    """Trials that are still to be finished; 0 too where as many failed as were asked for."""
    done = sum(trial.state in DONE for trial in trials)
    done += failures(trials) if search.sampler == "grid" else 0  # a point of a grid is tried once
    return max(0, search.trials - done) if failures(trials) < search.trials else 0


def is_surplus(search: "Search", study: optuna.Study, number: int) -> bool:
    """Whether as many trials as were asked for came before, of those that did not fail: two machines may begin the last
    at once, and each sees the other."""
    before = study.get_trials(deepcopy=False)[:number]
    return sum(trial.state != TrialState.FAIL for trial in before) >= search.trials


def serve(
    search: "Search", store: Store, place: str, say: Say, stop: Callable[[], bool], until: float = float("inf")
) -> None:
    """Do trials until there are as many as were asked for, one at a time; none begins after `until`, by the clock of
    time.monotonic. Says "trial" with its `number` after each. Raises Problem where the storage does not answer."""
    study = opened(search)
    objective = Objective(
        *(search.study, search.rung.spec, search.space, search.seeds, search.share),
        *(store, place, search.minimize, say, stop),
        label=search.label,
        accept_stale=search.accept_stale,
    )
    seen: set[int] = set()
    with warnings.catch_warnings(), reached(search):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", module="optuna")
        while not stop() and time.monotonic() < until:
            with ExitStack() as turn:
                turn.enter_context(flocked(search.folder / "turn"))
                revive(search, study, seen)
                trials = study.get_trials(deepcopy=False)
                due = left(search, trials)
                if not due:
                    return
                if sum(trial.state == TrialState.RUNNING for trial in trials) < due:
                    _one_trial(search, study, objective, seen, turn)
                    continue
            time.sleep(RETRY)


def _one_trial(search: "Search", study: optuna.Study, objective: Objective, seen: set[int], turn: ExitStack) -> None:
    """Take a trial from the queue, or a new one, and do it; others have their `turn` once its values are drawn."""
    begun: list[optuna.Trial] = []

    def run(trial: optuna.Trial) -> float | tuple[float, float]:
        begun.append(trial)
        seen.add(trial._trial_id)
        own.enter_context(flocked(search.folder / str(trial.number)))
        try:
            if is_surplus(search, study, trial.number):
                trial.set_user_attr("why", "surplus")
                trial.storage.set_trial_system_attr(trial._trial_id, "grid_id", -1)  # its point is still to be done
                raise Failed("surplus")
            with suppress(Problem):  # the objective meets it again, and says it
                objective.values(trial)
            turn.close()
            value = objective(trial)
            if study.get_trials(deepcopy=False)[trial.number].state != TrialState.RUNNING:
                raise Adrift
        except (StorageInternalError, UpdateFinishedTrialError) as error:
            raise Adrift from error
        return value

    with ExitStack() as own:
        try:
            study.optimize(run, n_trials=1, catch=(Failed,))
            objective.say({"kind": "trial", "number": begun[0].number})
        except Stopped:
            study._storage.set_trial_state_values(begun[0]._trial_id, TrialState.WAITING)
        except Adrift as adrift:
            if isinstance(adrift.__cause__, StorageInternalError):
                raise adrift.__cause__  # noqa: B904  # with its own cause, which says what is wrong
        finally:
            for trial in begun:
                (search.folder / str(trial.number)).unlink(missing_ok=True)


def work(connection: Connection, search: "Search", store: Store, place: str, decoding: int, until: float) -> None:
    """A process's life: trials until there are enough, the parent says stop, or it is gone."""
    begin_as_worker()
    os.environ.setdefault("HARNESS_DECODERS", str(decoding))  # what a user set stays
    settle(place)

    def say(event: Event) -> None:
        with suppress(OSError):  # the parent is gone, and `poll` will say so
            connection.send(event)

    def stop() -> bool:
        try:
            return connection.poll()
        except OSError:
            return True

    try:
        serve(search, store, place, say, stop, until)
        say({"kind": "over"})
    except (Problem, OSError) as error:
        say({"kind": "broken", "why": str(error)})
    except Exception as error:
        say({"kind": "broken", "why": without_password(why(error, search.rung.spec), search.storage or "")})
