"""What is submitted; and, where Slurm is installed, a study on two nodes of one that is started here."""

import argparse
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from harness import Problem, where
from harness.engine import Engine
from harness.engine.detached import Submission, again, told
from harness.engine.mailbox import Mailbox
from harness.engine.ranks import Beside
from harness.engine.slurm import Slurm, called, words
from harness.engine.worker import execute
from harness.store import Store
from harness.study import missing
from tests.engine.test_local import timeless
from tests.faults.commands import until
from tests.faults.parts import Slow
from tests.kit import slurm
from tests.kit.tiny import BASELINE
from tests.mutants.breaking import TINY

SPEC = BASELINE.but(epochs=3, batch_size=100).having("augment", Slow(seconds=0.2))
RUNS = [(SPEC, 0), (SPEC, 1)]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Slurm's commands, which say what they are told to."""
    for name in ("sbatch", "squeue", "scancel", "sinfo"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\ncat {tmp_path}/{name}.says 2>/dev/null; exit 0\n'
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


def test_the_script_asks_for_what_the_user_says_and_ends_in_a_worker(programs, monkeypatch):
    monkeypatch.chdir(programs)
    made = Slurm(
        Store(programs / "store"), 2, asked_for='partition=gpu time=24:00:00 gres=gpu:1 comment="a b"', per_job=3
    )
    script = made.script(programs / "mail" / "x")
    assert script.startswith("#!/bin/bash\n#SBATCH --job-name=harness\n")
    for line in ("--partition=gpu", "--time=24:00:00", "--gres=gpu:1", "--comment=a b", "--signal=B:USR1@120"):
        assert f"#SBATCH {line}\n" in script
    assert "#SBATCH --no-requeue\n" in script
    *_, last, empty = script.split("\n")
    assert empty == ""
    assert last.startswith(f"exec {sys.executable} -m harness.worker {programs}/mail/x --most 3 --name ")
    own = Slurm(Store(programs / "store"), 2, asked_for="signal=B:USR1@600 job-name=mine").script(programs)
    assert own.count("--signal=") == own.count("--job-name=") == 1
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize("text", ["array=1-9", "gpu", "requeue", "-p gpu", "time=1\n#SBATCH --uid=0", "Partition=x"])
def test_what_is_no_option_of_a_job_is_told(text):
    if text == "gpu":
        assert words(text) == [("gpu", "")]
        return
    with pytest.raises(Problem, match="--slurm"):
        words(f"'{text}'" if "\n" in text else text)


def test_states_are_read_and_a_controller_that_is_away_is_no_end(programs):
    made = Slurm(Store(programs / "store"), 2)
    made.workers = {"7_1", "7_2", "8_1"}
    (programs / "squeue.says").write_text("7_1|RUNNING|None\n8_1|PENDING|Resources\n9_1|RUNNING|None\n")
    assert made.present() == {"7_1", "8_1"}
    assert made.states["8_1"] == "PENDING (Resources)"
    (programs / "bin" / "squeue").write_text("#!/bin/sh\necho Unable to contact slurm controller >&2; exit 1\n")
    assert made.present() is None
    with pytest.raises(Problem, match=r"^squeue: Unable to contact"):
        called(["squeue"])


def test_jobs_that_end_at_once_and_follow_each_other_are_all_remembered(programs, monkeypatch):
    """The time of a whole array is over: each of its workers submits one more, at the same moment."""
    left = Submission(Slurm(Store(programs / "store"), 2), "tiny@abc")
    (programs / "sbatch.says").write_text("7\n")
    assert left.submit([(SPEC, 0), (SPEC, 1)]) == {"7_1", "7_2"}
    numbers, together = iter(range(8, 24)), threading.Barrier(16)

    def at_once(words, given=""):
        together.wait()
        return f"{next(numbers)}\n"

    monkeypatch.setattr("harness.engine.slurm.called", at_once)
    threads = [threading.Thread(target=again, args=(left.box,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{programs}/bin:/usr/bin:/bin")
    (programs / "squeue.says").write_text("".join(f"{job}_1|RUNNING|None\n" for job in range(1, 30)))
    assert left.jobs().keys() == {f"{job}_1" for job in range(7, 24)}


def test_a_node_that_turned_a_worker_away_is_avoided_while_there_are_others(programs):
    made = Slurm(Store(programs / "store"), 2)
    assert made.avoided() == ""
    made.shunned = {"n2", ""}
    (programs / "sinfo.says").write_text("n1|idle\nn2|idle\nn3|down\n")
    assert made.avoided() == "n2"
    (programs / "sbatch.says").write_text("7\n")
    made.box = Mailbox(programs / "mail")
    assert made.begin(1) == {"7_1"}
    assert "--array=1-1 --exclude=n2" in (programs / "called").read_text()
    made.shunned.add("n1")
    assert made.avoided() == "", "else the job would wait for ever; that none is fit is said after three"


def test_a_job_has_cores_for_its_ranks_unless_the_user_says_otherwise(programs):
    for asked_for, due in (("", True), ("cpus-per-task=1", False), ("nodes=2", False)):
        made = Slurm(Store(programs / "store"), 2, asked_for=asked_for)
        assert ("#SBATCH --cpus-per-task=2\n" in made.script(programs, ranks=2)) == due
        assert "--cpus-per-task=2" not in made.script(programs)


@pytest.mark.parametrize("kind", ["slurm", "ray"])
def test_a_gpu_of_another_machine_need_not_be_here(kind):
    parser = argparse.ArgumentParser()
    where.add(parser)
    assert where.places(parser.parse_args(["--engine", kind, "--device", "cuda", "--jobs", "3"])) == ["cpu"] * 3
    with pytest.raises(Problem, match="--device toaster: only cpu and cuda"):
        where.places(parser.parse_args(["--engine", kind, "--device", "toaster"]))


def test_a_machine_without_slurm_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="there is no sbatch here"):
        Slurm(Store(tmp_path / "store"), 2).check()


@pytest.fixture(scope="module")
def cluster():
    if why := slurm.missing():
        pytest.skip(why)
    try:
        made = slurm.Slurm()
    except (TimeoutError, OSError) as error:
        pytest.skip(f"Slurm is installed and does not start: {error}")
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = made.environment["SLURM_CONF"]
    yield made
    made.close()
    os.environ.pop("SLURM_CONF")
    if before:
        os.environ["SLURM_CONF"] = before


def here(tmp_path_factory, runs):
    store = Store(tmp_path_factory.mktemp("here") / "store")
    for spec, seed in runs:
        execute(spec, seed, store, torch.device("cpu"))
    return {(s.id, n): timeless(store.read(s.id, n)) for s, n in runs}


def test_a_study_on_two_nodes_of_which_a_job_is_ended_has_the_records_of_one_machine(cluster, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("slurm") / "store")
    launcher = Slurm(store, 2, every=0.0, look=0.5)
    engine, said, cancelled = Engine(store, ["cpu"] * 2, launcher=launcher), [], None
    for event in engine.events(RUNS):
        said.append((event["kind"], event["run"][1], event.get("text", "")))
        if event["kind"] == "epoch" and not cancelled:
            cancelled = next(w for o, w in launcher.box.takers().items() if launcher.orders.get(o) == event["run"])
            cluster.asked("scancel", cancelled)
    assert [kind for kind, *_ in said].count("finished") == 2
    assert any(kind == "note" and "waits for another place" in text for kind, _, text in said)
    assert any(kind == "note" and "goes on from epoch" in text for kind, _, text in said)
    assert {(s.id, n): timeless(store.read(s.id, n)) for s, n in RUNS} == here(tmp_path_factory, RUNS)
    until(lambda: cluster.asked("squeue", "-h") == "", 30, "the end of all jobs")


def test_a_plan_that_was_submitted_is_trained_while_nobody_waits(cluster, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("left") / "store")
    runs = [(BASELINE.but(ranks=2, epochs=1, model=TINY.model), 0)]  # the job trains it alone
    left = Submission(Slurm(store, 2), "tiny@abc")
    assert left.jobs() == {}
    (job,) = left.submit(runs)
    until(lambda: job in left.jobs(), 20, "the job")
    assert told(runs, left.cluster, left.jobs()).startswith("0 of 1 run finished; jobs: 1 ")
    until(lambda: not missing(runs, store), 240, "the run")
    until(lambda: not left.jobs(), 90, "the end of the job")
    assert store.events(runs[0][0].id, 0)[-1]["event"] == "finished"


def test_ranks_of_a_run_share_a_job_and_the_record_is_that_of_one_machine(cluster, tmp_path_factory):
    spec = BASELINE.but(ranks=2, epochs=3, batch_size=100, model=TINY.model).having("augment", Slow(seconds=0.1))
    store = Store(tmp_path_factory.mktemp("ranks") / "store")
    launcher = Slurm(store, 1, every=0.0, look=0.5, asked_for="nodes=2 ntasks-per-node=1")
    said, killed = [], False
    for event in Engine(store, ["cpu"], launcher=launcher).events([(spec, 0)]):
        said.append((event["kind"], event.get("text", event.get("why"))))
        if event["kind"] == "epoch" and not killed:
            killed = True
            (far,) = joiners()
            os.kill(far, signal.SIGKILL)
    assert said[-1] == ("finished", None)
    assert any(text and text.startswith("goes on from epoch") for _, text in said)
    alone = Store(tmp_path_factory.mktemp("alone") / "store")
    execute(spec, 0, alone, torch.device("cpu"), beside=Beside(method="fork"))
    assert timeless(store.read(spec.id, 0)) == timeless(alone.read(spec.id, 0))
    until(lambda: cluster.asked("squeue", "-h") == "" and not joiners(), 30, "the end of all jobs and ranks")


def joiners():
    """Processes that are ranks of another node, which `srun` began there: not `srun` itself."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            line = (folder / "cmdline").read_bytes()
            if line.endswith(b"\0--rank\0") and not line.startswith((b"srun", b"/usr/bin/srun")):
                found.append(int(folder.name))
    return found
