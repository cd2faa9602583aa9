"""Faults of storage and processes: what is killed, torn, full, or asked for twice."""

import csv
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from experiments import digits
from harness.engine import Engine
from harness.spec import Spec
from harness.store import EVERY, WORTH, Store, journal
from harness.store.care import troubles
from harness.study import Plan, Run, Study, plan
from tests.faults import Outcome, fault
from tests.faults.commands import FORKS, Command
from tests.faults.victim import (
    BATCHES,
    BEAT,
    HANGS,
    SHORT,
    SPEC,
    TEACHER,
    Disk,
    Event,
    attempt,
    both,
    chatter,
    contender,
    counted,
    keep_time_by_batches,
    limit,
    start,
    step_back,
)
from tests.faults.world import database
from tests.kit import tiny

ROOT = Path(__file__).parents[2]
TIMES = {"seconds", "time", "seconds_per_epoch", "peak_memory", "finished", "environment", "keeping"}
BORN = {"record", "digest"}  # each run's own
LEFT = {"claim", "spec.json", "journal.jsonl", "weights.pt", "logits.npz", "result.json"}

Key = tuple[str, int]


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES | BORN}
    return [timeless(v) for v in value] if isinstance(value, list) else value


# --- what must hold -------------------------------------------------------------------------------------------------


@cache
def shelter() -> tempfile.TemporaryDirectory:
    """Where no fault comes to; removed at the end. Made when wanted: a forked process that ends removes nothing."""
    return tempfile.TemporaryDirectory(prefix="harness-undisturbed-")


@cache
def undisturbed(spec: Spec, seed: int) -> tuple[Store, float]:
    """A store where a run was trained in peace, after its teacher; and the seconds it took."""
    store = with_teacher(Path(shelter().name) / f"{spec.id}-{seed}", spec)
    began = time.monotonic()
    assert attempt(store, (spec, seed))[-1]["kind"] == "finished"
    return store, time.monotonic() - began


def with_teacher(root: Path, spec: Spec) -> Store:
    store = Store(root)
    for part in spec.teacher:
        key = part.spec.id, 0
        shutil.copytree(undisturbed(part.spec, 0)[0].folder(*key), store.folder(*key))
    return store


class Home:
    """A folder of a fault's own: a store that has the teacher, and runs of the student that count their batches."""

    def __init__(self, folder: Path, seeds: Sequence[int] = (0,), taught: bool = True) -> None:
        self.folder = folder
        self.store = with_teacher(folder / "store", SPEC) if taught else Store(folder / "store")
        self.runs: dict[int, Run] = {seed: (counted(SPEC, folder / f"batches-{seed}"), seed) for seed in seeds}
        self.files = self.store.folder(SPEC.id, seeds[0])

    def copy(self, folder: Path) -> "Home":
        shutil.copytree(self.folder, folder)
        return Home(folder, list(self.runs), taught=False)

    def attempt(self, **how: Any) -> list[Event]:
        return attempt(self.store, next(iter(self.runs.values())), **how)

    def go_on(self, **how: Any) -> list[Event]:
        """What an invocation does: tidy what is finished, and an attempt, which must come to its end."""
        self.store.tidy(SPEC.id, next(iter(self.runs)))
        said = self.attempt(**how)
        assert said[-1]["kind"] == "finished", said
        return said

    def redone(self, most: int) -> int:
        """Batches trained more than once. Raises AssertionError where a run is not as it was in peace."""
        assert set(self.store) == {(TEACHER.id, 0)} | {(SPEC.id, seed) for seed in self.runs}
        assert_whole(self.store, (TEACHER.id, 0), undisturbed(TEACHER, 0)[0])
        for seed in self.runs:
            assert_whole(self.store, (SPEC.id, seed), undisturbed(SPEC, seed)[0])
        each = [(self.folder / f"batches-{seed}").stat().st_size - BATCHES for seed in self.runs]
        assert min(each) >= 0
        printed = self.folder / "stderr"
        assert not printed.exists() or not printed.read_text(), printed.read_text()
        assert sum(each) <= most, f"{sum(each)} batches redone, {most} at most were due"
        shutil.rmtree(self.folder)
        return sum(each)


def assert_whole(store: Store, key: Key, peace: Store) -> None:
    """A run is there once, whole, alone in its folder, and bit for bit as it is in another store."""
    record = store.read(*key)
    assert timeless(record) == timeless(peace.read(*key))
    weights, same = store.weights(*key), peace.weights(*key)
    assert weights.keys() == same.keys()
    assert all(torch.equal(tensor, same[name]) for name, tensor in weights.items())
    assert store.forms(*key)["resolved"] == peace.forms(*key)["resolved"]
    events = readable(store, key)
    finished = [event["digest"] for event in events if event["event"] == "finished"]  # a line, then the result
    assert finished[-1] == record["digest"], f"digests of the journal's finished lines: {finished}"
    assert len(finished) == 1 or finished.count(record["digest"]) == 1
    assert [event["record"] for event in events if "record" in event][-1] == record["record"]
    assert troubles(store, key) == []
    assert {path.name for path in store.folder(*key).iterdir()} == LEFT


def readable(store: Store, key: Key) -> list[Event]:
    """The events of the journals; none has a damaged line, the last no torn end, and numbers follow one another."""
    for part in journal.parts(store.folder(*key)):
        assert not part.damaged(), f"{part.path} has lines that are damaged"
    assert not part.torn, f"{part.path} is torn"
    events = store.events(*key)
    assert [event["seq"] for event in events] == list(range(len(events)))
    return events


def notes(said: Iterable[Event]) -> list[str]:
    return [one_line(event["text"]) for event in said if event["kind"] == "note"]


def one_line(text: str) -> str:
    assert text.isprintable(), repr(text)
    assert 10 < len(text.strip()) == len(text) < 300, repr(text)
    return text


def events(engine: Engine, runs: Sequence[Run]) -> Iterator[Event]:
    """What an engine says, within the time that it may take."""

    def late(number: int, frame: object) -> None:
        raise AssertionError(f"the engine is not done in {HANGS:g} s")

    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        yield from engine.events(runs)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def some(every: Sequence[Any], times: int, seed: int) -> Sequence[Any]:
    """All, where `times` are more."""
    return every if times >= len(every) else random.Random(seed).sample(every, times)


# --- kill -9 --------------------------------------------------------------------------------------------------------


@fault(quick=2, full=200)
def kill_9_at_a_random_moment(folder: Path, times: int, seed: int) -> Outcome:
    return _killed(folder, times, random.Random(seed), 1, every=0.0)


@fault(quick=0, full=40)
def kill_9_between_checkpoints(folder: Path, times: int, seed: int) -> Outcome:
    """Checkpoints come every 2 batches, an attempt's first after 8: it waits until it can cost 1 % at most."""
    longest = int(WORTH * 0.01 / BEAT)

    def check(home: Home) -> None:
        seconds = [epoch["seconds"] for epoch in home.store.read(SPEC.id, 0)["epochs"]]
        assert seconds == [BATCHES / SPEC.epochs * BEAT] * SPEC.epochs, "time spent before the kill is lost"

    how = {"every": 2 * BEAT, "harm": keep_time_by_batches}
    return _killed(folder, times, random.Random(seed), longest, check, **how)


def _killed(
    folder: Path,
    times: int,
    rng: random.Random,
    most: int,
    check: Callable[[Home], None] = lambda home: None,
    **how: Any,
) -> Outcome:
    """Kill each attempt at a moment uniform over the undisturbed run's time; a run may be killed again and again.

    `most` is how many batches a kill may cost.
    """
    seconds = undisturbed(SPEC, 0)[1]
    killed, redone, message = 0, 0, ""
    while killed < times or not message:
        home, deaths = Home(folder / str(killed)), 0
        while killed + deaths < times or not deaths:
            said = home.attempt(moment=rng.uniform(0, seconds), **how)
            message = (notes(said) or [message])[-1]
            if said[-1]["kind"] == "finished":
                break
            assert said[-1]["kind"] == "died", said
            deaths += 1
        message = (notes(home.go_on(**how)) or [message])[-1]
        check(home)
        redone += home.redone(most * deaths)
        killed += deaths
    return Outcome(killed, 0, redone, message)


@cache
def operations() -> list[str]:
    """All that an undisturbed run does to files, in order: "rename result.json", …"""
    with tempfile.TemporaryDirectory(prefix="harness-operations-") as folder:
        home, log = Home(Path(folder) / "home"), Path(folder) / "log"
        home.go_on(harm=Disk(log=log))
        home.redone(0)
        return log.read_text().splitlines()


def assert_flushed(operations: Sequence[str]) -> None:
    """What a kill cannot show, since the kernel lives on: that a power cut would tear nothing either."""
    text = " / ".join(operations)
    for name in ("spec.json", "weights.pt", "checkpoint-9.pt", "journal.jsonl"):
        steps = [f"create .{name}", f"write .{name}", f"fsync .{name}", f"rename {name}", "open folder", "fsync folder"]
        assert " / ".join(steps) in text
    for name in ("claim", "result.json"):
        steps = [f"create .{name}", f"write .{name}", f"fsync .{name}", f"link {name}", f"unlink .{name}"]
        assert " / ".join([*steps, "open folder", "fsync folder"]) in text
    checkpoints = sum(name.startswith("rename checkpoint-") for name in operations)
    assert (
        text.count("fsync folder / write journal.jsonl / fsync journal.jsonl / unlink checkpoint-") >= checkpoints - 2
    )
    assert text.count("fsync folder / write journal.jsonl / fsync journal.jsonl") >= checkpoints + 2


def checkpoint_creations() -> list[int]:
    return [k for k, name in enumerate(operations()) if name.startswith("create .checkpoint-")]


@fault(quick=2, full=10_000)
def kill_9_at_a_named_point_of_the_write_protocol(folder: Path, times: int, seed: int) -> Outcome:
    """Before each operation, half way through each write, and after the last. The result's own write is always in."""
    names = list(enumerate(operations()))
    halves = [(k, "half") for k, name in names if name.startswith("write")]
    every = [*((k, "before") for k, _ in names), *halves, (names[-1][0], "after")]
    result = [(k, how) for k, how in halves if names[k][1].endswith("result.json")]
    chosen = list(dict.fromkeys([*result, *some(every, times, seed)]))
    assert_flushed(operations())
    redone, message = 0, ""
    for k, how in chosen:
        home = Home(folder / f"{k}-{how}")
        assert home.attempt(harm=Disk(k, how))[-1]["kind"] == "died"
        try:
            message = (notes(home.go_on()) or [message])[-1]
            redone += home.redone(1)
        except Exception as error:
            error.add_note(f"killed at operation {k}, {how} {operations()[k]}")
            raise
    return Outcome(len(chosen), 0, redone, message)


STUDY = '''"""A study of a victim."""
from tests.faults.victim import SPEC as BASELINE
TRICKS, SEEDS = (), (0,)
'''


@fault(quick=1, full=10)
def kill_9_after_the_result_is_written(folder: Path, times: int, seed: int) -> Outcome:
    """Nobody trains that run again; asking for it brings its folder in order all the same."""
    points = range(operations().index("link result.json") + 1, len(operations()))
    message = ""
    for k in some(points, times, seed):
        home = Home(folder / str(k))
        assert home.attempt(harm=Disk(k, "before"))[-1]["kind"] == "died"
        assert (SPEC.id, 0) in home.store
        (home.folder / "experiments").mkdir()
        (home.folder / "experiments" / "victim.py").write_text(STUDY)
        shutil.copy(database(), home.folder / "mlflow.db")
        with Command(home.folder, "victim", "--jobs", "1", HARNESS_RUNS=str(home.folder)) as command:
            command.ends(0)
            message = one_line(next(line for line in command.out.splitlines() if " trained, " in line))
        assert message.startswith("0 runs trained, 2 reused")
        home.redone(0)
    return Outcome(min(times, len(points)), 0, 0, message)


@fault(quick=1, full=40)
def kill_9_of_a_worker(folder: Path, times: int, seed: int) -> Outcome:
    """Up to two a study of three runs: the engine starts others in their place."""
    rng = random.Random(seed)
    killed, redone, message = 0, 0, ""
    while killed < times:
        home, deaths = Home(folder / str(killed), seeds=(0, 1), taught=False), 0
        engine = Engine(home.store, ["cpu"] * 2, every=0.0, method="forkserver")
        said = []
        for event in events(engine, [(TEACHER, 0), *home.runs.values()]):
            said.append(event)
            busy = [worker for worker in engine.launcher.workers if worker.run]
            if event["kind"] in ("started", "epoch") and busy and deaths < 2 and rng.random() < 0.3:
                os.kill(rng.choice(busy).process.pid, signal.SIGKILL)
                deaths += 1
        assert sum(event["kind"] == "finished" for event in said) == 3, said
        assert not engine.launcher.workers
        message = next((text for text in notes(said) if "SIGKILL" in text), message)
        redone += home.redone(deaths)
        killed += deaths
    return Outcome(killed, 0, redone, message)


@fault(quick=0, full=5)
def kill_9_of_a_worker_a_third_time(folder: Path, times: int, seed: int) -> Outcome:
    """The run fails, others are trained, and asked again it goes on."""
    redone, message = 0, ""
    for number in range(times):
        home = Home(folder / str(number), seeds=(0, 1))
        engine = Engine(home.store, ["cpu"], every=0.0, method="forkserver")
        failed = []
        for event in events(engine, list(home.runs.values())):
            if event["kind"] == "started" and event["run"][1] == 0:
                os.kill(engine.launcher.workers[0].process.pid, signal.SIGKILL)
            failed += [event] * (event["kind"] == "failed")
        message = one_line(*[event["why"] for event in failed])
        assert message == "its process was killed by SIGKILL, 3 times"
        assert [(SPEC.id, seed) in home.store for seed in home.runs] == [False, True]
        home.go_on()
        redone += home.redone(3)
    return Outcome(3 * times, 0, redone, message)


@fault(quick=2, full=100)
def a_worker_whose_parent_dies(folder: Path, times: int, seed: int) -> Outcome:
    """It keeps the run at the next batch and ends in silence, also where nobody read what it said or still says."""
    rng = random.Random(seed)
    message = ""
    for number in range(times):
        home = Home(folder / str(number))
        process, connection = start(home.store, home.runs[0], EVERY, chatter)
        assert connection.poll(HANGS)
        assert connection.recv()["kind"] == "started"
        until = time.monotonic() + rng.uniform(0, 0.8) * undisturbed(SPEC, 0)[1]
        while number % 2 and connection.poll(max(0.0, until - time.monotonic())):
            connection.recv()
        time.sleep(max(0.0, until - time.monotonic()))
        connection.close()
        process.join(HANGS)
        assert process.exitcode == 0, (home.folder / "stderr").read_text()
        events = [event["event"] for event in readable(home.store, (SPEC.id, 0))]
        assert events[-1] in ("interrupted", "finished"), events
        message = (notes(home.go_on(every=EVERY)) or [message])[-1]
        home.redone(0)
    return Outcome(times, 0, 0, message)


# --- disk full ------------------------------------------------------------------------------------------------------


@fault(quick=2, full=80)
def disk_full_at_a_write_or_a_flush(folder: Path, times: int, seed: int) -> Outcome:
    """For good, or only for a moment: then the run can still say in its journal that it failed."""
    rng = random.Random(seed)
    needing = [k for k, name in enumerate(operations()) if name.split()[0] in ("create", "write", "fsync")]
    lines = [k for k in needing if operations()[k] == "write journal.jsonl"]
    redone, message = 0, ""
    for number in range(times):
        k, how = rng.choice(needing if number % 4 else lines), ("full once", "full")[number % 2]
        try:
            message, more = _out_of_space(folder / str(number), Disk(k, how))
        except AssertionError as error:
            error.add_note(f"{how} at operation {k}, {operations()[k]}")
            raise
        assert "No space left on device" in message
        redone += more
    return Outcome(times, 0, redone, message)


@fault(quick=1, full=20)
def files_may_not_grow(folder: Path, times: int, seed: int) -> Outcome:
    """The kernel's own refusal, at a size below that of the checkpoints."""
    rng = random.Random(seed)
    redone, message = 0, ""
    for number in range(times):
        message, more = _out_of_space(folder / str(number), partial(limit, rng.randrange(8, 20_000)))
        assert "File too large" in message
        redone += more
    return Outcome(times, 0, redone, message)


def _out_of_space(folder: Path, harm: Any) -> tuple[str, int]:
    home = Home(folder)
    said = home.attempt(harm=harm)
    assert said[-1]["kind"] == "failed", said
    assert not list(home.files.glob(".*")), "a temporary file is left"
    home.go_on()
    return one_line(said[-1]["why"]), home.redone(1)


# --- damage ---------------------------------------------------------------------------------------------------------


@cache
def begun(kept: int) -> Home:
    """A run that was killed when it had so many checkpoints written, and trained one batch more."""
    home = Home(Path(shelter().name) / f"begun-{kept}")
    assert home.attempt(harm=Disk(checkpoint_creations()[kept], "before"))[-1]["kind"] == "died"
    return home


def checkpoints(home: Home) -> list[Path]:
    """Oldest first."""
    found = sorted(home.files.glob("checkpoint-*.pt"), key=lambda path: int(path.stem.rpartition("-")[2]))
    assert len(found) == 2
    return found


@fault(quick=3, full=64)
def checkpoint_cut_short(folder: Path, times: int, seed: int) -> Outcome:
    """At every 64th of its length."""

    def cut(path: Path, n: int) -> None:
        os.truncate(path, path.stat().st_size * n // 64)

    return _damaged(folder, some(range(64), times, seed), cut)


@fault(quick=2, full=64)
def checkpoint_with_flipped_bits(folder: Path, times: int, seed: int) -> Outcome:
    return _damaged(folder, range(times), partial(_flip, seed))


def _flip(seed: int, path: Path, n: int) -> None:
    rng = random.Random(f"{seed} {n}")
    data = bytearray(path.read_bytes())
    for place in rng.sample(range(8 * len(data)), rng.randint(1, 8)):
        data[place // 8] ^= 1 << place % 8
    path.write_bytes(data)


def _damaged(folder: Path, cases: Sequence[int], damage: Any) -> Outcome:
    redone, message = 0, ""
    for n in cases:
        home = begun(8).copy(folder / str(n))
        older, newest = checkpoints(home)
        damage(newest, n)
        message, *rest = notes(home.go_on())
        assert message.startswith(f"passes over {newest.name}: damaged"), message
        assert [text[:12] for text in rest] == ["goes on from"]
        resumed = [event["file"] for event in home.store.events(SPEC.id, 0) if event["event"] == "resumed"]
        assert resumed == [older.name]
        redone += home.redone(2)  # the one that the kill cost, and the one that the damage did
    return Outcome(len(cases), 0, redone, message)


@fault(quick=1, full=10)
def both_checkpoints_damaged(folder: Path, times: int, seed: int) -> Outcome:
    redone, message = 0, ""
    for n in range(times):
        home = begun(8).copy(folder / str(n))
        kept = checkpoints(home)
        for path in kept:
            _flip(seed, path, n)
        *said, message = notes(home.go_on())
        assert [text.split(":")[0] for text in said] == [f"passes over {path.name}" for path in reversed(kept)]
        assert "anew" in message, message
        redone += home.redone(BATCHES)
    return Outcome(times, 0, redone, message)


@fault(quick=3, full=1_000)
def journal_with_a_torn_last_line(folder: Path, times: int, seed: int) -> Outcome:
    """At every byte of it; it is that of a checkpoint."""
    path = begun(15).files / "journal-1.jsonl"
    last = path.read_bytes().splitlines(keepends=True)[-1]
    assert b'"checkpoint"' in last
    cuts = some(range(len(last)), times, seed)
    redone, message = 0, ""
    for n in cuts:
        home = begun(15).copy(folder / str(n))
        os.truncate(home.files / path.name, path.stat().st_size - len(last) + n)
        (message,) = notes(home.go_on())
        redone += home.redone(2)  # the one that the kill cost, and the one whose line is lost
    return Outcome(len(cuts), 0, redone, message)


# --- asked for at once ----------------------------------------------------------------------------------------------


@fault(quick=3, full=200)
def processes_ask_for_the_same_runs_at_once(folder: Path, times: int, seed: int) -> Outcome:
    """Two of them in half of the rounds, four in the others; those that come late read who holds a run."""
    runs = [(SHORT, 0), (SHORT, 1)]
    message = ""
    for many in (2, 4):
        root, barrier = folder / str(many), FORKS.Barrier(many)
        pipes = [FORKS.Pipe() for _ in range(many)]
        processes = [
            FORKS.Process(target=contender, args=(barrier, theirs, root, runs, times // 2), daemon=True)
            for _, theirs in pipes
        ]
        for process, (_, theirs) in zip(processes, pipes, strict=True):
            process.start()
            theirs.close()  # one that fails is heard of at once
        pids = {str(process.pid) for process in processes}
        for _ in range(times // 2):
            for process, (ours, _) in zip(processes, pipes, strict=True):
                assert ours.poll(HANGS), f"process {process.pid} is silent"
                for pid, text in ours.recv():
                    assert pid in pids - {str(process.pid)}, f"{text!r}, and those who asked are {pids}"
                    message = one_line(text)
        for process in processes:
            process.join()
        for number in range(times // 2):
            store = Store(root / str(number))
            assert set(store) == {(spec.id, n) for spec, n in runs}
            for spec, n in runs:
                assert_once(store, (spec.id, n), undisturbed(spec, n)[0])
    return Outcome(times // 2 * 2, 0, 0, message)


def assert_once(store: Store, key: Key, peace: Store) -> None:
    """Whole, and begun no second time."""
    assert_whole(store, key, peace)
    assert [event["event"] for event in store.events(*key)].count("started") == 1


@fault(quick=0, full=10)
def invocations_of_one_study_at_once(folder: Path, times: int, seed: int) -> Outcome:
    (folder / "experiments").mkdir()
    (folder / "experiments" / "own.py").write_text(tiny.SOURCE)
    wanted = tiny.tiny_plan()
    peace = Store(folder / "peace")
    engine = Engine(peace, ["cpu"], method="forkserver")
    assert {event["kind"] for event in events(engine, wanted.runs())} == {"started", "epoch", "finished"}
    message = _at_once(folder, "own", times, wanted, fresh=times > 3)
    for spec, n in wanted.runs():
        assert_once(Store(folder / "runs" / "store"), (spec.id, n), peace)
    return Outcome(times, 0, 0, message)


@fault(quick=0, full=10)
def invocations_of_the_digits_study_at_once(folder: Path, times: int, seed: int) -> Outcome:
    """Its runs are many, so three of them are trained again in peace, and compared."""
    wanted = plan(Study("digits", "", digits.BASELINE, digits.TRICKS, tuple(digits.SEEDS)))
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    message = _at_once(folder, "digits", times, wanted, fresh=True)
    store = Store(folder / "runs" / "store")
    for spec, n in wanted.runs():
        assert_once(store, (spec.id, n), store)
    alone = [run for run in wanted.runs() if not run[0].teacher]
    for spec, n in random.Random(seed).sample(alone, 3):
        assert_whole(store, (spec.id, n), undisturbed(spec, n)[0])
    return Outcome(times, 0, 0, message)


def _at_once(home: Path, study: str, times: int, wanted: Plan, fresh: bool) -> str:
    """Ask for a study so many times at once; what one of them says of a run that another trains."""
    if not fresh:
        (home / "runs").mkdir()
        shutil.copy(database(), home / "runs" / "mlflow.db")
    with ExitStack() as stack:
        commands = [
            stack.enter_context(Command(home, study, "--jobs", "1", fresh=fresh, forks=not fresh)) for _ in range(times)
        ]
        for command in commands:
            command.ends(0, seconds=1200)
    lines = [command.out.splitlines() for command in commands]
    totals = [next(line for line in own if " trained, " in line) for own in lines]
    tables = {"\n".join(own[: own.index(total)]) for own, total in zip(lines, totals, strict=True)}
    assert len(tables) == 1, tables
    runs = wanted.runs()
    assert sum(int(total.split()[0]) for total in totals) == len(runs), totals
    assert set(Store(home / "runs" / "store")) == {(spec.id, seed) for spec, seed in runs}
    with (home / "runs" / "reports" / study / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["rung"], int(row["n"])) for row in rows] == [(rung.name, len(wanted.seeds)) for rung in wanted.rungs]
    said = [line for command in commands for line in command.err.splitlines() if "is being trained by" in line]
    return one_line(said[0] if said else totals[0])


# --- the clock ------------------------------------------------------------------------------------------------------


@fault(quick=1, full=20)
def clock_stepped_back_a_day(folder: Path, times: int, seed: int) -> Outcome:
    """In mid-run; every other run is killed as well, and goes on by the clock that is wrong."""
    rng = random.Random(seed)
    creations = checkpoint_creations()
    redone, message = 0, ""
    for number in range(times):
        home, began = Home(folder / str(number)), time.monotonic()
        step = partial(step_back, rng.randrange(4, 8))
        if number % 2:
            home.go_on(harm=step)
        else:
            home.attempt(harm=partial(both, step, Disk(rng.choice(creations[6:]), "before")))
            (message,) = notes(home.go_on(harm=partial(step_back, 0)))
        took = time.monotonic() - began
        events, record = readable(home.store, (SPEC.id, 0)), home.store.read(SPEC.id, 0)
        stamps = [event["time"] for event in events]
        assert max(stamps) - min(stamps) > 80_000, "the clock was not stepped"
        parts = [epoch["seconds"] for epoch in record["epochs"]]
        for seconds in (*parts, record["seconds"] - sum(parts), record["keeping"], record["seconds_per_epoch"]):
            assert 0 < seconds < took
        assert all(0 <= event["after"] < took for event in events)
        redone += home.redone(1)
    return Outcome(times, 0, redone, message)
