"""A Slurm of two nodes on this machine, on 127.0.0.1 alone, begun in two seconds and ended by `Slurm.close`."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

NEEDED = "Slurm and munge as root: apt-get install slurm-wlm munge"
CONFIGURATION = """
ClusterName=harness
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/ctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=300
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=2 RealMemory=2000
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=10
PartitionName=urgent Nodes=ALL MaxTime=60 State=UP PriorityTier=2 PreemptMode=OFF
"""


def missing() -> str:
    """Why there can be none here; "" where there can."""
    here = all(map(shutil.which, ("sbatch", "slurmctld", "slurmd", "munged")))
    return "" if here and os.getuid() == 0 else NEEDED


def free_ports(count: int) -> list[int]:
    """The first of `count` that follow each other and are free."""
    for first in range(16800, 20000, count):
        socks = []
        try:
            for port in range(first, first + count):
                sock = socket.socket()
                socks.append(sock)
                sock.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for sock in socks:
                sock.close()
    raise OSError("no free ports")


class Slurm:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="harness-slurm-"))
        os.chmod(self.folder, 0o755)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        port, first, second = free_ports(3)
        for name in ("state", "spool/n1", "spool/n2", "run"):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname()
        text = CONFIGURATION.format(host=host, port=port, first=first, second=second, folder=self.folder)
        (self.folder / "slurm.conf").write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        os.chmod(key, 0o600)
        munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge.socket"]
        munge += [f"--pid-file={self.folder}/munge.pid", f"--seed-file={self.folder}/munge.seed"]
        munge += [f"--log-file={self.folder}/munge.log"]
        try:
            self._start("munge", munge)
            self._wait(lambda: (self.folder / "munge.socket").exists(), "munge")
            self.start("ctld")
            self.start("n1")
            self.start("n2")
            self._wait(
                lambda: self.asked("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split() == ["idle"] * 2, "the nodes"
            )
        except BaseException:
            self._end()
            raise

    def start(self, name: str) -> None:
        line = ["slurmctld", "-D"] if name == "ctld" else ["slurmd", "-D", "-N", name]
        self._start(name, line)

    def asked(self, *line: str) -> str:
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout

    def _start(self, name: str, line: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(line, env=self.environment, stdout=out, stderr=out)

    def _wait(self, true: object, what: str) -> None:
        until = time.monotonic() + 30
        while not true():  # type: ignore[operator]
            if time.monotonic() > until:
                logs = "\n".join(path.read_text()[-500:] for path in self.folder.glob("*.out"))
                raise TimeoutError(f"{what} did not come up: {logs}")
            time.sleep(0.1)

    def of_node(self, node: str) -> list[int]:
        """The processes of a node: its daemon, and its jobs with what watches them."""
        jobs = self.asked("squeue", "-h", "-w", node, "-o", "%A").split()
        found = [self.processes[node].pid]
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line, around = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            watches = any(line.startswith(f"slurmstepd: [{job}.".encode()) for job in jobs)
            works = any(f"\0SLURM_JOB_ID={job}\0".encode() in around for job in jobs)
            if watches or works:
                found.append(int(folder.name))
        return found

    def worker(self, name: str) -> int:
        """The process that a launcher knows by that name."""
        end = f"\0--name\0{name}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                if (folder / "cmdline").read_bytes().endswith(end):
                    return int(folder.name)
        raise ProcessLookupError(name)

    def close(self) -> None:
        self.asked("scancel", "--full", "--signal=KILL", "--user=root")
        time.sleep(0.3)
        self._end()

    def _end(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
