"""A plan left to Slurm: nothing waits here, workers train what is left of it, and who asks later is told how it stands.

Each worker has the whole plan and is an invocation of its own: who trains what is settled by claims, as it is among
several commands of one study. One whose time is over keeps its run and submits a worker for what is left, unless it
got no further itself.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness import Problem
from harness.engine.mailbox import Mailbox, read, written
from harness.engine.ranks import widest
from harness.engine.slurm import Slurm
from harness.paths import write_atomic
from harness.study import Run, missing

PLAN, JOBS, AGAIN = "plan.json", "jobs", "again.sh"


class Submission:
    """What was submitted of a plan; its folder is `runs/mail/LABEL`."""

    def __init__(self, cluster: Slurm, label: str) -> None:
        self.cluster = cluster
        self.box = Mailbox(cluster.store.root.parent / "mail" / label)

    def jobs(self) -> dict[str, str]:
        """The state of each job that waits or runs. Raises Problem where the controller does not answer."""
        folder = self.box.folder / JOBS
        self.cluster.workers = set(os.listdir(folder)) if folder.is_dir() else set()
        there = self.cluster.present()
        if there is None:
            raise Problem("squeue gave no answer: ask again when the controller is back; jobs go on without it")
        return {job: self.cluster.states[job] for job in sorted(there)}

    def submit(self, runs: Sequence[Run]) -> set[str]:
        """Submit workers for what is missing of `runs`: the names of their jobs."""
        left = missing(runs, self.cluster.store)
        ranks = widest(left)
        self.box.remove()
        self.box.make(self.cluster.store, self.cluster.every, self.cluster.device, self.cluster.how)
        write_atomic(self.box.folder / PLAN, json.dumps([*map(written, runs)]).encode())
        write_atomic(self.box.folder / AGAIN, self.cluster.script(self.box.folder, ranks).encode())
        jobs = self.cluster.submitted(self.box, min(self.cluster.jobs, len(left)), ranks=ranks)
        note(self.box, jobs)
        return jobs


def told(runs: Sequence[Run], cluster: Slurm, jobs: dict[str, str]) -> str:
    """How a plan stands, in a line."""
    left = len(missing(runs, cluster.store))
    states = Counter(jobs.values())
    now = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{len(runs) - left} of {len(runs)} run{'s' * (len(runs) != 1)} finished; jobs: {now or 'none'}"


def follow(box: Mailbox) -> int:
    """A worker's life: train what is left of the plan in `box`; see `harness.engine.pulling` for the exit status."""
    from harness.engine.engine import Engine
    from harness.engine.local import Local, places
    from harness.engine.pulling import FAILED, FINISHED, KEPT, of_job
    from harness.store import Store

    terms = box.terms
    orders = map(read, json.loads((box.folder / PLAN).read_bytes()))
    runs = [order for order in orders if not isinstance(order, str)]
    store = Store(Path(terms.store))
    cuda = places(terms.device, None)[0].startswith("cuda")
    at = places(terms.device, None if cuda else 1)
    if widest(runs) > 1:  # the job's places are for ranks: it trains one run at a time
        at, beside = at[:1], partial(of_job, device=terms.device, folder=box.folder)
        engine = Engine(store, at, launcher=Local(store, at, terms.every, beside=beside, how=terms.how))
    else:
        engine = Engine(store, at, terms.every, how=terms.how)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(engine, "stopping", True))
    failed, got_on = False, False
    for event in engine.events(missing(runs, store)):
        failed = failed or event["kind"] == "failed"
        got_on = got_on or event["kind"] in ("epoch", "batch")
    if not engine.stopping:
        return FAILED if failed else FINISHED
    if got_on and os.environ.get("SLURM_JOB_ID"):
        again(box)
    return KEPT


def again(box: Mailbox) -> None:
    """Submit one worker more, from within a job."""
    from harness.engine.slurm import called

    number = called(["sbatch", "--parsable", "--array=1"], (box.folder / AGAIN).read_text()).strip().partition(";")[0]
    note(box, {f"{number}_1"})


def note(box: Mailbox, jobs: set[str]) -> None:
    """Remember that these were submitted: a file each, for the time of a whole array may be over at once."""
    (box.folder / JOBS).mkdir(exist_ok=True)
    for job in jobs:
        (box.folder / JOBS / job).touch()
