"""Workers as jobs of Slurm: `sbatch` begins them, `squeue` tells which are there, `scancel` asks or ends them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import Problem, one_line
from harness.engine.mailbox import Mailbox
from harness.engine.posted import Posted

WARNING = 120  # seconds before a job's time is over, in which it keeps its run
COMMANDS = ("sbatch", "squeue", "scancel")


@dataclass
class Slurm(Posted):
    """See `Posted`. A job takes runs until there are none, or `per_job` of them.

    `asked_for` is what the user says of jobs, in sbatch's own words: "partition=gpu time=24:00:00 gres=gpu:1". A job's
    time may be shorter than a run: what is kept goes on in the next. A run on several ranks has a job whole, on all of
    its nodes: `harness.engine.ranks`.
    """

    asked_for: str = ""
    per_job: int | None = None
    states: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.settings()

    def check(self) -> "Slurm":
        """Itself. Raises Problem where jobs cannot be submitted from here."""
        if missing := [command for command in COMMANDS if not shutil.which(command)]:
            raise Problem(f"--engine slurm: there is no {missing[0]} here: start this where jobs are submitted from")
        return self

    @property
    def logs(self) -> Path:
        """Where a job's words go, unless the user says otherwise."""
        return self.store.root.parent / "slurm"

    def settings(self) -> list[str]:
        """The lines of a job's script that say what it asks for."""
        return [f"#SBATCH --{name}" + f"={value}" * bool(value) for name, value in words(self.asked_for)]

    def script(self, box: Path, ranks: int = 1) -> str:
        """What is submitted, for runs of so many ranks at most."""
        own, before = [name for name, _ in words(self.asked_for)], os.environ.get("PYTHONPATH")
        ours = {
            "job-name": "harness",
            "output": f"{self.logs}/%A_%a.txt",
            "open-mode": "append",
            "signal": f"B:USR1@{WARNING}",
        }
        if ranks > 1 and not {"cpus-per-task", "nodes"} & {*own}:
            ours["cpus-per-task"] = str(ranks)
        most = ["--most", str(self.per_job)] if self.per_job else []
        line = shlex.join([sys.executable, "-m", "harness.worker", str(box), *most])
        return "\n".join(
            [
                "#!/bin/bash",
                *(f"#SBATCH --{name}={value}" for name, value in ours.items() if name not in own),
                "#SBATCH --no-requeue",  # what is lost is ordered again, by us
                *self.settings(),
                f"cd {shlex.quote(os.getcwd())}",
                f"export PYTHONPATH={shlex.quote(os.pathsep.join(filter(None, (os.getcwd(), before))))}",
                f'exec {line} --name "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"',  # exec: it gets the signals
                "",
            ]
        )

    def begin(self, count: int, node: str = "") -> set[str]:
        assert self.box
        return self.submitted(self.box, count, node, self.widest, self.avoided())

    def avoided(self) -> str:
        """The nodes on which no worker may take part, as long as there are others."""
        bad = self.shunned - {""}
        return ",".join(sorted(bad)) if bad and {*self.nodes()} - bad else ""

    def nodes(self) -> list[str]:
        partition = dict(words(self.asked_for)).get("partition")
        told = called(["sinfo", "-N", "-h", "-o", "%N|%T", *(["-p", partition] if partition else [])])
        states = dict(row.split("|") for row in told.splitlines())
        return sorted(node for node, state in states.items() if not state.startswith(("down", "drain", "fail")))

    def submitted(self, box: Mailbox, count: int, node: str = "", ranks: int = 1, avoided: str = "") -> set[str]:
        """The names of so many jobs for a mailbox."""
        self.logs.mkdir(parents=True, exist_ok=True)
        where = [f"--{option}={value}" for option, value in (("nodelist", node), ("exclude", avoided)) if value]
        told = called(["sbatch", "--parsable", f"--array=1-{count}", *where], self.script(box.folder, ranks))
        number = told.strip().partition(";")[0]
        return {f"{number}_{task}" for task in range(1, count + 1)}

    def present(self) -> set[str] | None:
        try:
            rows = called(["squeue", "--me", "-r", "-h", "-o", "%i|%T|%r"]).splitlines()
        except Problem:
            return None  # the controller is away for a while: jobs run on
        self.states = {job: f"{state} ({why})" for job, state, why in (row.split("|", 2) for row in rows)}
        return self.workers & self.states.keys()

    def ask(self, worker: str) -> None:
        called(["scancel", "--state=PENDING", worker])
        called(["scancel", "--signal=USR1", "--batch", worker])

    def end(self, worker: str) -> None:
        called(["scancel", "--signal=KILL", "--full", worker])
        called(["scancel", worker])

    def fate(self, worker: str) -> str:
        try:
            told = called(["scontrol", "show", "job", "-o", worker])
        except Problem:
            return ""
        state, log = re.search(r"JobState=(\S+)", told), self.logs / f"{worker}.txt"
        see = f"; see {log}" if log.exists() else ""
        return f" ({state[1]}{see})" if state else ""


def words(text: str) -> list[tuple[str, str]]:
    """What --slurm says, as options of sbatch. Raises Problem where that is none, or one that is ours."""
    found = []
    for word in shlex.split(text):
        name, _, value = word.removeprefix("--").partition("=")
        if not re.fullmatch(r"[a-z][a-z-]*", name) or "\n" in value:
            raise Problem(
                f'--slurm {word}: an option of sbatch is needed by its long name, as in "partition=gpu time=24:00:00"'
            )
        if name in ("array", "parsable", "requeue", "no-requeue", "wrap"):
            raise Problem(f"--slurm {word}: that is not yours to say: each job takes runs until there are none")
        found.append((name, value))
    return found


def called(line: Sequence[str], given: str = "") -> str:
    """What a command of Slurm's prints. Raises Problem where it fails, or answers nothing in a minute."""
    try:
        done = subprocess.run(line, input=given, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        raise Problem(f"{line[0]} gave no answer in 60 s: is the controller there?") from None
    if done.returncode:
        raise Problem(f"{line[0]}: {one_line(done.stderr.strip() or f'status {done.returncode}')}")
    return done.stdout
