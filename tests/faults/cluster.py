"""Faults of a cluster: nodes, jobs and the controller of a real Slurm on this machine."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import SkipTest

from harness.engine import Engine, Event
from harness.engine.slurm import Slurm
from harness.store import Store
from tests.faults import Outcome, fault
from tests.faults.commands import Command, in_session, until
from tests.faults.parts import Slow
from tests.faults.storage import assert_whole, one_line, undisturbed
from tests.kit import slurm, tiny

SPEC = tiny.BASELINE.but(epochs=6, batch_size=100).having("augment", Slow(seconds=0.2))
RUNS = [(SPEC, seed) for seed in (0, 1, 2)]
SOURCE = '''"""A study of a user's own."""
from tests.faults.parts import Slow
from tests.kit import tiny
BASELINE = tiny.BASELINE.but(epochs=6, batch_size=100).having("augment", Slow(seconds=0.2))
TRICKS = ()
SEEDS = (0, 1, 2)
'''
Act = Callable[[slurm.Slurm, Slurm, str], None]  # on the cluster, the launcher, and the worker of the first run


@contextmanager
def cluster() -> Iterator[slurm.Slurm]:
    if why := slurm.missing():
        raise SkipTest(why)
    try:
        made = slurm.Slurm()
    except (TimeoutError, OSError) as error:
        raise SkipTest(f"Slurm is installed and does not start: {error}") from None
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = made.environment["SLURM_CONF"]
    try:
        yield made
    finally:
        made.close()
        del os.environ["SLURM_CONF"]
        if before:
            os.environ["SLURM_CONF"] = before


def survived(folder: Path, times: int, act: Act, asked_for: str = "", word: str = "") -> Outcome:
    """Runs as jobs, while `act` is done to one of them at its first epoch; `word` is in what the user reads."""
    said, redone = [], 0
    with cluster() as made:
        for time_ in range(times):
            store = Store(folder / str(time_) / "store")
            launcher = Slurm(store, 2, every=0.0, look=0.5, asked_for=asked_for)
            engine, done = Engine(store, ["slurm"] * 2, launcher=launcher), False
            for event in engine.events(RUNS):
                assert event["kind"] != "failed", event
                said += [event["text"]] if event["kind"] == "note" else []
                if event["kind"] == "epoch" and not done:
                    done = True
                    act(made, launcher, worker_of(launcher, event))
            for spec, seed in RUNS:
                assert_whole(store, (spec.id, seed), undisturbed(spec, seed)[0])
                redone += redone_in(store, spec.id, seed)
    line = next((text for text in said if word in text), None)
    assert line or not word, said
    return Outcome(times, 0, redone, one_line(line or "goes on, and says nothing"))


def worker_of(launcher: Slurm, event: Event) -> str:
    assert launcher.box
    return next(w for order, w in launcher.box.takers().items() if launcher.orders.get(order) == event["run"])


def redone_in(store: Store, spec_id: str, seed: int) -> int:
    """Epochs told more than once."""
    told = [event["epoch"] for event in store.events(spec_id, seed) if event["event"] == "epoch"]
    return len(told) - len(set(told))


def node_of(made: slurm.Slurm, worker: str) -> str:
    return made.asked("squeue", "-h", "-j", worker, "-o", "%N").strip()


@fault(quick=0, full=3)
def a_job_of_Slurm_is_cancelled(folder: Path, times: int, seed: int) -> Outcome:
    def act(made: slurm.Slurm, launcher: Slurm, worker: str) -> None:
        made.asked("scancel", worker)

    return survived(folder, times, act, word="waits for another place")


@fault(quick=0, full=3)
def a_job_of_Slurm_is_killed(folder: Path, times: int, seed: int) -> Outcome:
    def act(made: slurm.Slurm, launcher: Slurm, worker: str) -> None:
        os.kill(made.worker(worker), signal.SIGKILL)

    return survived(folder, times, act, word="is taken up again")


@fault(quick=0, full=2)
def a_job_of_Slurm_is_preempted(folder: Path, times: int, seed: int) -> Outcome:
    def act(made: slurm.Slurm, launcher: Slurm, worker: str) -> None:
        urgent = ("sbatch", "-p", "urgent", "--exclusive", "-w", node_of(made, worker), "-o", "/dev/null")
        made.asked(*urgent, "--wrap", "sleep 2")

    return survived(folder, times, act, word="waits for another place")


@fault(quick=0, full=1)
def the_time_of_a_job_is_over(folder: Path, times: int, seed: int) -> Outcome:
    """A minute is the least that Slurm knows; it warns as soon as less than the asked-for 58 s are left."""

    def act(made: slurm.Slurm, launcher: Slurm, worker: str) -> None:
        pass

    return survived(folder, times, act, asked_for="time=1 signal=B:USR1@58", word="waits for another place")


@fault(quick=0, full=2)
def the_controller_of_Slurm_is_away(folder: Path, times: int, seed: int) -> Outcome:
    def act(made: slurm.Slurm, launcher: Slurm, worker: str) -> None:
        made.processes["ctld"].kill()
        made.processes["ctld"].wait()
        threading.Timer(60, made.start, ["ctld"]).start()

    return survived(folder, times, act)


@fault(quick=0, full=2)
def a_node_of_Slurm_is_killed(folder: Path, times: int, seed: int) -> Outcome:
    def act(made: slurm.Slurm, launcher: Slurm, worker: str) -> None:
        node = node_of(made, worker)
        for pid in made.of_node(node):
            os.kill(pid, signal.SIGKILL)
        made.processes[node].wait()
        threading.Timer(20, made.start, [node]).start()

    return survived(folder, times, act, word="is taken up again")


@fault(quick=0, full=2)
def a_cluster_that_is_full(folder: Path, times: int, seed: int) -> Outcome:
    """Another's jobs have all places for a while, when ours are submitted."""
    with cluster() as made:
        made.asked("sbatch", "--exclusive", "--nodes=2", "--wrap", "sleep 8", "-o", "/dev/null")
        began = time.monotonic()
        store = Store(folder / "store")
        engine = Engine(store, ["slurm"] * 2, launcher=Slurm(store, 2, every=0.0, look=0.5))
        kinds = [(event["kind"], time.monotonic() - began) for event in engine.events(RUNS)]
        assert min(when for _, when in kinds) > 5
        for spec, n in RUNS:
            assert_whole(store, (spec.id, n), undisturbed(spec, n)[0])
    return Outcome(1, 0, 0, "waits, and says nothing")


@fault(quick=0, full=2)
def a_command_on_Slurm_is_killed_and_given_again(folder: Path, times: int, seed: int) -> Outcome:
    """Its jobs go on with what they have; who comes next waits for them, and trains nothing twice."""
    said = ""
    with cluster():
        for time_ in range(times):
            home = folder / str(time_)
            (home / "experiments").mkdir(parents=True)
            (home / "experiments" / "own.py").write_text(SOURCE)
            words = ("own", "--engine", "slurm", "--jobs", "2", "--checkpoint", "0")
            store = Store(home / "runs" / "store")
            with Command(home, *words) as first:
                first.until(lambda store=store: any(e["event"] == "epoch" for key in store for e in store.events(*key)))
                for pid in in_session(first.pid):
                    os.kill(pid, signal.SIGKILL)
                until(lambda first=first: first.code is not None)
            with Command(home, *words) as second:
                second.ends(0, seconds=240)
            for spec, n in RUNS:
                assert_whole(store, (spec.id, n), undisturbed(spec, n)[0])
                assert [event["event"] for event in store.events(spec.id, n)].count("started") == 1
            said = next((line for line in second.err.splitlines() if "is being trained" in line), "none was held")
            assert not list((home / "runs").glob("mail/*")), "what the killed one left is swept"
    return Outcome(times, 0, 0, one_line(said))


@fault(quick=0, full=2)
def the_store_of_Slurm_s_workers_is_full(folder: Path, times: int, seed: int) -> Outcome:
    """The command ends and says why, whatever could not be written; given again, when there is space, it goes on."""
    said = ""
    with cluster():
        for time_ in range(times):
            home = folder / str(time_)
            (home / "experiments").mkdir(parents=True)
            (home / "runs").mkdir()
            (home / "experiments" / "own.py").write_text(SOURCE)
            store = Store(home / "runs" / "store")
            words = ("own", "--engine", "slurm", "--jobs", "2", "--checkpoint", "0")
            with small_disk(home / "runs"):
                with Command(home, *words) as first:
                    first.until(lambda s=store: any(e["event"] == "epoch" for key in s for e in s.events(*key)))
                    fill(home / "runs" / "filler")
                    until(lambda first=first: first.code is not None, 120, "the end of a command on a full disk")
                assert first.code in (1, 2), first.err
                assert "Traceback" not in first.err, first.err
                said = next(line for line in first.err.splitlines() if "No space left" in line)
                (home / "runs" / "filler").unlink()
                with Command(home, *words) as second:
                    second.ends(0, seconds=240)
                for spec, n in RUNS:
                    assert_whole(store, (spec.id, n), undisturbed(spec, n)[0])
    return Outcome(times, 0, 0, one_line(said))


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system of 64 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "harness", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(path: Path) -> None:
    """Take what is left of a disk, to the last byte."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
