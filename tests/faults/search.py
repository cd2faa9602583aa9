"""Faults of a search: its processes and its storage are killed, and every trial is done all the same, once."""

import os
import random
import signal
import sqlite3
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from unittest import SkipTest

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from harness.engine import key
from harness.parts.data.holdout import blinded
from harness.search.space import assigned
from harness.search.storage import PATIENCE, Database
from harness.store import Store
from harness.store.care import holder
from harness.study import Run
from tests.faults import cluster, world
from tests.faults.commands import Command, in_session, until
from tests.faults.parts import Slow
from tests.faults.world import each, redone, store_of
from tests.kit import postgres, tiny

EPOCHS = 40  # of 0.2 s and more: a run has checkpoints before its end
SHARE = 0.2  # of the images, held out
SOURCE = f'''"""A study to search."""
from optuna.distributions import FloatDistribution
from tests.faults.parts import Slow
from tests.kit.tiny import BASELINE as TINY
BASELINE = TINY.but(epochs={EPOCHS}).having("augment", Slow(seconds=0.05))
TRICKS = ()
SEEDS = (0,)
SPACE = {{"optimizer.lr": FloatDistribution(0.01, 0.5, log=True)}}
'''
BASELINE = tiny.BASELINE.but(epochs=EPOCHS).having("augment", Slow())  # the same runs, in less time
LABEL = "own@search-baseline"
Key = tuple[str, int]


class Search:
    """One search of `trials` trials by commands in the folders `homes`, each a machine; in a server, or a journal."""

    def __init__(self, homes: Sequence[Path], trials: int, pg: postgres.Server | None = None) -> None:
        self.homes, self.asked, self.pg = [world.home(home, SOURCE) for home in homes], trials, pg

    @property
    def journal(self) -> Path:
        return self.homes[0] / "runs" / "searches" / f"{LABEL}.log"

    def begin(self, *more: str, place: int = 0, jobs: int = 2, fresh: bool = False) -> Command:
        """The command, with `more` words, in one of the homes; MLflow is on the server too."""
        words = ["own", "--trials", str(self.asked), "--jobs", str(jobs), *more]
        if not self.pg:
            return Command(self.homes[place], *words, module="harness.search", fresh=fresh)
        words += ["--storage", self.pg.url("optuna")]
        uri = self.pg.url("mlflow")
        return Command(self.homes[place], *words, module="harness.search", fresh=fresh, MLFLOW_TRACKING_URI=uri)

    def trials(self) -> list[FrozenTrial]:
        """As the storage has them; none where it has not begun."""
        if self.pg:
            if not self.pg.ask("optuna", "select 1 from pg_tables where tablename = 'version_info'"):
                return []
            storage = optuna.storages.RDBStorage(self.pg.url("optuna"))
        else:
            if not self.journal.exists():
                return []
            storage = JournalStorage(JournalFileBackend(str(self.journal)))
        found = [study for study in storage.get_all_studies() if study.study_name == LABEL]
        seen = storage.get_all_trials(found[0]._study_id) if found else []
        if self.pg:
            storage.remove_session()
            storage.engine.dispose()
        return seen

    def counts(self) -> Counter[str]:
        return Counter(trial.state.name.lower() for trial in self.trials())

    def done(self) -> int:
        counts = self.counts()
        return counts["complete"] + counts["pruned"]

    def busy(self) -> Iterator[tuple[Store, Key, int]]:
        """Runs that a process holds, which kept a checkpoint and trained on since; and its PID."""
        for home in self.homes:
            store = store_of(home)
            for run in store:
                events = [event["event"] for event in store.events(*run)]
                if run not in store and "checkpoint" in events and events[-1] == "epoch":
                    owner = holder(store, run)
                    if owner:
                        yield store, run, int(owner.pid)

    def mid_trial(self, command: Command, among: int = 1) -> list[tuple[Store, Key, int]]:
        """Wait until so many runs are in the middle."""
        seen: list[tuple[Store, Key, int]] = []

        def are_there() -> bool:
            seen[:] = self.busy()
            return len(seen) >= among

        command.until(are_there)
        return seen

    def runs(self, trials: Sequence[FrozenTrial]) -> list[Run]:
        return [(blinded(assigned(BASELINE, trial.params), SHARE), 0) for trial in trials]

    def whole(self, killed: Sequence[tuple[Store, Key, int]] = (), late: bool = False) -> tuple[int, str]:
        """Each trial is done once, each run as undisturbed and trained once; batches trained again, and the counts.

        Those whose process was `killed` went on from their checkpoints, if what they had told did not end the trial.
        Where the database answers `late`, the run of a trial that is pruned may have come to its end meanwhile.
        """
        trials, counts = self.trials(), self.counts()
        done = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        complete = [trial for trial in done if trial.state == TrialState.COMPLETE]
        failed = [trial.number for trial in trials if trial.state == TrialState.FAIL]
        assert len(done) == self.asked, counts
        assert len(done) + len(failed) == len(trials), counts
        again = {number for trial in trials for number in trial.system_attrs.get("retry_history", ())}
        assert set(failed) <= again, f"{counts}; failed, and not taken up again: {set(failed) - again}"
        assert [trial.number for trial in trials] == list(range(len(trials)))
        values = Counter(tuple(trial.params.values()) for trial in done)
        assert len(values) == self.asked, f"done twice: {values}"

        stores = [store_of(home) for home in self.homes]
        for run, trial in zip(self.runs(done), done, strict=True):
            assert trial.user_attrs["spec"] == run[0].id
            there = [store for store in stores if key(run) in store]
            ends = [event["event"] for store in stores for event in store.events(*key(run))].count("finished")
            fine = ends <= 1 if late and trial not in complete else ends == (trial in complete)
            assert fine, f"trial {trial.number}, {trial.state.name}: {ends} ends"
            assert len(there) == ends
            assert trial not in complete or trial.value == there[0].read(*key(run))["metrics"]["top1"]
        batches = 0
        for store in stores:
            finished = [run for run in self.runs(done) if key(run) in store]
            world.whole(store, finished)
            for run in self.runs(done):
                batches += redone(store.events(*key(run)), run[0].data.load().counts["train"] // run[0].batch_size)
            assert sum(run in store for run in store) == len(finished) + 1, "and the chosen values"
        for store, run, _ in killed:
            events = [event["event"] for event in store.events(*run)]
            assert events.count("started") == 1 + events.count("resumed"), events
        self.in_mlflow(stores)
        told = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
        return batches, f"{self.asked} asked: {told}"

    def in_mlflow(self, stores: Sequence[Store]) -> None:
        """It has every finished run of the stores once, and none of the others twice."""
        query = (
            "select s.value, exists (select 1 from tags c where c.run_uuid = s.run_uuid and c.key = 'complete')"
            " from tags s join runs r on r.run_uuid = s.run_uuid"
            " where s.key = 'spec_id' and r.lifecycle_stage = 'active'"
        )
        if self.pg:
            rows = self.pg.ask("mlflow", query)
        else:
            with closing(sqlite3.connect(self.homes[0] / "runs" / "mlflow.db")) as db:
                rows = db.execute(query).fetchall()
        sent = sorted(spec_id for spec_id, complete in rows if complete)
        due = sorted(spec_id for store in stores for spec_id, seed in store if (spec_id, seed) in store)
        assert sent == due, (
            f"MLflow lacks {sorted(Counter(due) - Counter(sent))}, and has {Counter(sent) - Counter(due)}"
        )
        begun = [spec_id for store in stores for spec_id, _ in store]
        assert not Counter(spec_id for spec_id, _ in rows) - Counter(begun), "more than once in MLflow"


@contextmanager
def on_postgres(homes: Sequence[Path], trials: int) -> Iterator[Search]:
    """Raises SkipTest where there is no PostgreSQL."""
    if not postgres.binaries():
        raise SkipTest(postgres.NEEDED)
    with postgres.server() as pg:  # in a folder of its own: whoever it runs as must reach it
        yield Search(homes, trials, pg)


def to_the_end(search: Search) -> list[str]:
    """The same command again: its lines on stderr."""
    with search.begin() as command:
        return command.ends(0, 300).err.splitlines()


# --- one storage, two machines --------------------------------------------------------------------------------------


def worker_killed(search: Search, commands: Sequence[Command]) -> list[tuple[Store, Key, int]]:
    """kill -9 of one that is in the middle of a trial, of all commands' workers."""
    hit = search.mid_trial(commands[0])[:1]
    os.kill(hit[0][2], signal.SIGKILL)
    return hit


@each(quick=0, full=4)
def search_worker_killed(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Of four, of two commands: on one machine, and every second time on two. Trials, and MLflow, in PostgreSQL.

    The first time of one command's two.
    """
    homes = [folder / str(machine) for machine in range(1 + number % 2)]
    with on_postgres(homes, 12 if number else 4) as search, ExitStack() as stack:
        commands = [stack.enter_context(search.begin(place=place % len(homes))) for place in range(2 if number else 1)]
        hit = worker_killed(search, commands)
        for command in commands:
            command.ends(0, 300)
        said = [line for command in commands for line in command.err.splitlines() if "SIGKILL" in line]
        assert len(said) == 1, said
        again, counts = search.whole(hit)
    return again, f"{said[0]}; {counts}"


@each(quick=0, full=4)
def search_killed(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """kill -9 of the command, twice; its workers end by themselves, and the same command goes on."""
    with on_postgres([folder / "0"], 8) as search:
        return killed_and_again(search)


@each(quick=0, full=4)
def PostgreSQL_killed_in_mid_search(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """And MLflow with it; back after seconds, or only when the command has given up."""
    with on_postgres([folder / "0"], 8) as search, search.begin() as command:
        assert search.pg
        search.mid_trial(command)
        before = search.counts()
        search.pg.kill()
        if number % 2:
            until(lambda: command.code is not None, 300)
        else:
            time.sleep(rng.uniform(1, 5))
        search.pg.start()
        after = search.counts()
        assert after["complete"] >= before["complete"]
        until(lambda: command.code is not None, 300)
        if command.code == 0:
            message = "it waits, and goes on"
            command.ends(0)
        else:
            message = command.ends(2).said("harness.search: --storage")
            to_the_end(search)
        again, counts = search.whole(late=True)
    return again, f"{message}; {counts}"


@each(quick=0, full=1)
def PostgreSQL_away_for_a_minute_under_a_search_on_Slurm(
    folder: Path, number: int, rng: random.Random
) -> tuple[int, str]:
    """Trials and MLflow are in it, and two nodes train. If the command gives up, it is given again."""
    words = ("--engine", "slurm")
    with cluster.cluster(), on_postgres([folder / "0"], 8) as search, search.begin(*words) as command:
        assert search.pg
        search.mid_trial(command)
        search.pg.kill()
        time.sleep(60)
        search.pg.start()
        until(lambda: command.code is not None, 300)
        message = "it waits, and goes on"
        if command.code:
            assert "Traceback" not in command.err, command.err
            message = command.said("harness.search: --storage")
            with search.begin(*words) as again:
                again.ends(0, 300)
        batches, counts = search.whole(late=True)
    return batches, f"{message}; {counts}"


@each(quick=0, full=4)
def PostgreSQL_killed_under_a_trial(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """Its worker waits; when the server is back nobody takes the trial for dead, though its last sign is old."""
    with on_postgres([], 0) as search, warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        assert search.pg
        warnings.simplefilter("ignore")  # heartbeats are experimental, and not for trials that are asked for
        how = {"engine_kwargs": {"pool_pre_ping": True}, "heartbeat_interval": 1, "grace_period": 1}
        storage = Database(search.pg.url("optuna"), **how)
        study = optuna.create_study(storage=storage)
        trial = study.ask()
        storage.record_heartbeat(trial._trial_id)
        search.pg.kill()
        waits = pool.submit(trial.report, 50.0, 0)
        time.sleep(rng.uniform(2, 4))
        assert not waits.done()
        search.pg.start()
        waits.result(PATIENCE)
        assert study.trials[0].intermediate_values == {0: 50.0}
        old = "select extract(epoch from current_timestamp - heartbeat) from trial_heartbeats"
        ((age,),) = search.pg.ask("optuna", old)
        assert age > 2 * how["grace_period"]
        assert storage._get_stale_trial_ids(study._study_id) == []
        storage.remove_session()
        storage.engine.dispose()
    return 0, f"a trial waited, and told its step {age:.0f} s after its last sign of life"


# --- a journal ------------------------------------------------------------------------------------------------------


@each(quick=0, full=4)
def search_worker_killed_and_a_line_torn(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """In a journal, whose last line a killed writer left half."""
    search = Search([folder / "0"], 10 if number else 4)
    with search.begin(fresh=number == 1) as command:
        hit = worker_killed(search, [command])
        tear(search.journal)
        command.ends(0, 300)
        said = command.said("SIGKILL")
    again, counts = search.whole(hit)
    return again, f"{said}; {counts}"


@each(quick=0, full=4)
def search_in_a_journal_killed(folder: Path, number: int, rng: random.Random) -> tuple[int, str]:
    """kill -9 of the command, twice, with half a line left behind; the same command goes on."""
    search = Search([folder / "0"], 8)
    return killed_and_again(search, lambda: tear(search.journal))


def tear(journal: Path) -> None:
    """Leave half a line at its end, as a writer that is killed in the middle of it."""
    line = journal.read_bytes().splitlines()[-1]
    with journal.open("ab") as file:
        file.write(line[: len(line) // 2])


def killed_and_again(search: Search, then: Callable[[], None] = lambda: None) -> tuple[int, str]:
    hits = []
    for _ in range(2):
        with search.begin() as command:
            hits += search.mid_trial(command, among=2)
            os.kill(command.pid, signal.SIGKILL)
            until(lambda command=command: not in_session(command.pid), 60, "the end of its workers")
            assert "Traceback" not in command.err, command.err
            then()
            assert search.done() < search.asked
    said = to_the_end(search)
    assert f"[{search.asked}/{search.asked}] trial" in "\n".join(said)
    again, counts = search.whole(hits)
    return again, f"{sum('goes on from epoch' in line for line in said)} trials go on; {counts}"
