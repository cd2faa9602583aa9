"""The examples, as far as a machine without a cluster can tell: what they say is a command that exists."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from harness import ablate, engine, where
from harness.engine.slurm import words

EXAMPLES = Path(engine.__file__).parent / "examples"
yaml = pytest.importorskip("yaml")


def commands(text):
    """What follows `python -m harness.ablate` in a text, whose lines may go on in comments."""
    text = re.sub(r"\\\n#? *", " ", text)
    return [shlex.split(found) for found in re.findall(r"python -m harness\.ablate ([^\n]*)", text)]


@pytest.mark.parametrize("name", ["slurm.sh", "kuberay.yaml"])
def test_its_command_is_one(name):
    ((words_of),) = commands((EXAMPLES / name).read_text())
    options = ablate.parser().parse_args(words_of)
    assert where.check(options) == ("slurm" if name == "slurm.sh" else "ray")
    assert options.jobs == 16
    if options.slurm:
        assert dict(words(options.slurm))["gres"] == "gpu:1"


def test_the_script_is_one():
    assert subprocess.run(["bash", "-n", EXAMPLES / "slurm.sh"], check=False).returncode == 0


def test_servers_listen_on_this_machine_alone_and_pods_share_one_folder():
    compose = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    ray = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text())
    pods = [ray["spec"]["headGroupSpec"], *ray["spec"]["workerGroupSpecs"]]
    for pod in (pod["template"]["spec"] for pod in pods):
        (container,) = pod["containers"]
        assert container["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]
        assert {"name": "HARNESS_RUNS", "value": "/shared/runs"} in container["env"]
    assert ray["spec"]["authOptions"] == {"mode": "token"}
