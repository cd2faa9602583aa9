"""A Ray of several nodes on this machine, in a network of its own that has nothing but loopback.

Ray's daemons listen on every interface, so what starts them runs under `isolated`, which has no other.
"""

import importlib.util
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from unittest import SkipTest

# A node that is silent for 3 s is dead, and so is a connection: Ray waits for ever for a frozen machine else.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
    "grpc_client_keepalive_time_ms": 3000,
    "grpc_client_keepalive_timeout_ms": 3000,
}
MEMORY = 80 * 2**20  # bytes of each node's object store: the least that Ray takes


def isolated(words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """A program whose every socket is on loopback. Raises SkipTest where that, or Ray, is not to be had."""
    if importlib.util.find_spec("ray") is None:
        raise SkipTest('there is no Ray: pip install "ablation-harness[ray]"')
    alone = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
    here = all(map(shutil.which, ("unshare", "ip")))
    if not here or subprocess.run([*alone, "true"], check=False).returncode:
        raise SkipTest("a network of its own is not to be had: unshare and ip are needed, and the right to")
    line = [*alone, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *words]
    return subprocess.run(line, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def within(module: str, *words: str, **environment: str) -> Any:
    """What a program of `module` prints last, as JSON, told from within such a network."""
    done = isolated([sys.executable, "-m", module, *words], RAY_AUTH_TOKEN=secrets.token_hex(20), **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


class Wire:
    """A network beside this one, and a wire between them: there may be a node at its other end."""

    HERE, THERE = "10.77.0.1", "10.77.0.2"

    def __init__(self) -> None:
        self.far = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        while os.readlink(f"/proc/{self.far.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        self.inside = ["nsenter", "--target", str(self.far.pid), "--net"]
        run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self.far.pid))
        self.mend()
        run(*self.inside, "ip", "link", "set", "lo", "up")
        run(*self.inside, "ip", "addr", "add", f"{self.THERE}/24", "dev", "far")
        run(*self.inside, "ip", "link", "set", "far", "up")
        self.node: subprocess.Popen[bytes] | None = None

    def join(self, address: str) -> None:
        ray = Path(sys.executable).parent / "ray"
        words = [f"--address={address}", f"--node-ip-address={self.THERE}", "--num-cpus=1", "--block"]
        words += [f"--object-store-memory={MEMORY}"]
        self.node = subprocess.Popen([*self.inside, ray, "start", *words], stdout=subprocess.DEVNULL)

    def cut(self) -> None:
        run("ip", "link", "set", "near", "down")

    def mend(self) -> None:
        run("ip", "addr", "replace", f"{self.HERE}/24", "dev", "near")
        run("ip", "link", "set", "near", "up")

    def close(self) -> None:
        for process in filter(None, (self.node, self.far)):
            process.terminate()
            process.wait()


def run(*words: str) -> None:
    subprocess.run(words, check=True)


class Rays:
    """A head that runs nothing, and nodes of a core each; within `isolated` alone. `wired` has one more, by a wire."""

    def __init__(self, nodes: int, wired: bool = False) -> None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
        import ray
        from ray.cluster_utils import Cluster

        self.wire = Wire() if wired else None
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY, "_system_config": HEALTH}
        head |= {"node_ip_address": Wire.HERE} if wired else {}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        args = {"node_ip_address": Wire.HERE} if wired else {}
        self.nodes = [self.cluster.add_node(num_cpus=1, object_store_memory=MEMORY, **args) for _ in range(nodes)]
        ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        if self.wire:
            self.wire.join(self.address)
        ends = time.monotonic() + 60
        while ray.cluster_resources().get("CPU", 0) < nodes + wired:
            assert time.monotonic() < ends, "a node did not come up in 60 s"
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        import ray

        ray.shutdown()
        if self.wire:
            self.wire.close()
        self.cluster.shutdown()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def daemon(self, worker: int) -> subprocess.Popen[bytes]:
        """The raylet that a worker is a child of."""
        parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        daemons = [info.process for node in self.nodes for info in node.all_processes["raylet"]]
        return next(process for process in daemons if process.pid == parent)
