"""Workers as tasks of Ray, each a process of its own: Ray only places them."""

import logging
import math
import os
import secrets
from dataclasses import dataclass, field
from typing import Any

from harness import Problem, installed
from harness.engine.posted import Posted

SPARE = 1.2  # of the memory that is asked for


@dataclass
class Ray(Posted):
    """See `Posted`. `head` is a cluster's, "ray://head:10001" or "auto"; "" starts one of this machine alone.

    A task takes runs until there are none, or `per_job` of them. It gets `cpus` cores and, where the cluster has GPUs,
    one, or its part of one where `jobs` are more than those. With `device` "cuda" it gets a whole one, of those too
    that the cluster has yet to grow. For runs on several ranks it gets that for each, all on one node. Memory is asked
    for once a run of its specification is finished, as much as that took on a CPU; of a first run nobody knows.
    """

    head: str = ""
    cpus: int = 1
    per_job: int | None = None
    look: float = 0.5
    tasks: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.join()
        if not self.jobs:
            self.jobs = int(self.gpus() or self.cores() // self.cpus) or 1

    def join(self) -> None:
        """Connect. Raises Problem where Ray is not installed, or the cluster does not answer."""
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # no network beyond the cluster is no news
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # or anybody on this network may give it work; read on import
        os.environ.setdefault(
            "RAY_worker_niceness", "0"
        )  # where it is started here; else 15, and other work starves it
        installed("ray", extra="ray")
        import ray

        if ray.is_initialized():
            return
        more: dict[str, Any] = {"address": self.head} if self.head else {"include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **more)
        except Exception as error:  # of many kinds, of gRPC's too
            raise Problem(f"--engine ray: no cluster at {self.head or 'this machine'} ({error})") from None

    def gpus(self) -> float:
        import ray

        return float(ray.cluster_resources().get("GPU", 0))

    def cores(self) -> float:
        import ray

        return float(ray.cluster_resources().get("CPU", 1))

    def nodes(self) -> list[str]:
        import ray

        return sorted(str(node["NodeID"]) for node in ray.nodes() if node["Alive"])

    def begin(self, count: int, node: str = "") -> set[str]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        assert self.box
        whole, ranks = (self.device or "").startswith("cuda"), self.widest
        gpus = 1.0 if whole else 0.0 if self.device == "cpu" else min(1.0, self.gpus() / self.jobs)
        each = math.ceil(gpus) * ranks if ranks > 1 else gpus  # NCCL wants a card for each rank
        more: dict[str, Any] = {"memory": self.memory() or None, "num_cpus": self.cpus * ranks, "num_gpus": each}
        task = ray.remote(max_calls=1, max_retries=0, **more)(_pull)
        if node:
            task = task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False))
        names = {secrets.token_hex(4) for _ in range(count)}
        for name in names:
            self.tasks[name] = task.remote(str(self.box.folder), name, self.per_job)
        return names

    def memory(self) -> int:
        """Bytes, a fifth above the most that a finished run took of the specifications that are ordered; 0: none did.

        A worker takes any order, so each asks for the most.
        """
        specs = {spec.id for spec, _ in self.orders.values()}
        every = [record for spec_id in sorted(specs) for _, record in self.store.finished(spec_id)]
        took = [record.get("peak_memory") or 0 for record in every if record["environment"].get("device") == "cpu"]
        return int(SPARE * max(took, default=0))

    def present(self) -> set[str] | None:
        import ray

        waiting = {self.tasks[name]: name for name in self.workers if name in self.tasks}
        if not waiting:
            return set()
        done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0, fetch_local=False)
        for task in done:
            del self.tasks[waiting[task]]
        return {name for name in self.workers if name in self.tasks}

    def ask(self, worker: str) -> None:
        self._cancel(worker, force=False)

    def end(self, worker: str) -> None:
        self._cancel(worker, force=True)

    def _cancel(self, worker: str, force: bool) -> None:
        import ray

        if worker in self.tasks:
            ray.cancel(self.tasks[worker], force=force)


def _pull(folder: str, name: str, most: int | None) -> int:
    """A task, in a process that does nothing after it."""
    from pathlib import Path

    from harness.engine.mailbox import Mailbox
    from harness.engine.pulling import Puller

    return Puller(Mailbox(Path(folder)), name, most).pull()
