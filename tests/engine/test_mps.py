"""MPS, whose control is a script here that writes down what it is told. No GPU has seen any of this."""

import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
import torch

from harness.engine import environment, mps

CONTROL = r"""#!/bin/sh
pipes="${CUDA_MPS_PIPE_DIRECTORY:-$HOME/default}"
pid="$pipes/nvidia-cuda-mps-control.pid"
if [ "$1" = serve ]; then
  trap 'rm -f "$pid"; exit' TERM
  while [ -e "$pid" ] || [ -e "$HOME/deaf" ]; do sleep 0.05; done
  exit
fi
if [ "$1" = -d ]; then words=-d; else read words; fi
echo "$words pipes=$pipes logs=$CUDA_MPS_LOG_DIRECTORY mask=$CUDA_VISIBLE_DEVICES" >> "$HOME/told"
case "$words" in
  -d) if [ -e "$HOME/broken" ]; then echo "no GPU here" > "$CUDA_MPS_LOG_DIRECTORY/control.log"; exit 1; fi
      mkdir -p "$pipes"; : > "$pid"; "$0" serve & echo $! > "$pid";;
  *) if [ ! -e "$pid" ]; then echo "Cannot find MPS control daemon process"; exit 1; fi
     if [ "$words" = quit ] && [ ! -e "$HOME/deaf" ]; then rm "$pid"; fi;;
esac
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with the stand-in on its PATH; a folder of its own for temporary files."""
    control = tmp_path / "bin" / "nvidia-cuda-mps-control"
    control.parent.mkdir()
    control.write_text(CONTROL)
    control.chmod(0o700)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("PATH", f"{control.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    for name in (mps.PIPES, mps.LOGS, mps.USED):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def told(home):
    return [line.split()[0] for line in (home / "told").read_text().splitlines()]


def living(folder):
    """The daemon whose files are in `folder`; None where it has ended."""
    try:
        process = int((folder / "nvidia-cuda-mps-control.pid").read_text())
        return process if Path(f"/proc/{process}/cmdline").read_bytes() else None
    except OSError:
        return None


def ended(process):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        path = Path(f"/proc/{process}/stat")
        if not path.exists() or path.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_daemon_lasts_as_long_as_its_command(home):
    before, said = dict(os.environ), []
    with mps.served(said.append) as server:
        pipes, logs = Path(os.environ[mps.PIPES]), Path(os.environ[mps.LOGS])
        assert server
        assert pipes.parent == logs.parent
        assert pipes.parent.parent == home / "tmp"
        assert pipes.parent.stat().st_mode & 0o077 == 0, "nobody else's processes come in"
        assert (process := living(pipes))
        assert mps.used_mps() == {"mps": "own"}
    assert ended(process)
    assert dict(os.environ) == before
    assert not list((home / "tmp").iterdir())
    assert told(home) == ["get_server_list", "-d", "get_server_list", "quit"]
    begun = (home / "told").read_text().splitlines()[1]
    assert begun == f"-d pipes={pipes} logs={logs} mask=", "a mask would count twice"
    assert said == []


def test_ctrl_c_ends_it_too_and_its_end_may_come_early(home):
    processes = []

    def command():
        with mps.served(print) as server:
            processes.append(living(server.folder / "pipe"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command()
    assert ended(*processes)
    with mps.served(print) as server:
        server.end()
        assert mps.PIPES not in os.environ
        assert mps.used_mps() == {}
    assert told(home).count("quit") == 2


def test_one_that_does_not_heed_quit_is_ended_by_a_signal(home):
    (home / "deaf").touch()
    with mps.served(print) as server:
        process = living(server.folder / "pipe")
    assert ended(process)


@pytest.mark.parametrize("by", ["variable", "default"])
def test_a_users_own_is_used_and_left_alone(home, monkeypatch, by):
    pipes = home / "default"
    if by == "variable":
        pipes = home / "mine"
        monkeypatch.setenv(mps.PIPES, str(pipes))
    pipes.mkdir()
    (pipes / "nvidia-cuda-mps-control.pid").write_text("1")
    before = dict(os.environ)
    with mps.served(print) as server:
        assert server.folder is None
        assert mps.used_mps() == {"mps": "the user's"}
        assert {**os.environ, mps.USED: ""} == {**before, mps.USED: ""}
    assert dict(os.environ) == before
    assert told(home) == ["get_server_list"]
    assert mps.told() == "a daemon answers, and would be used"


def test_where_there_is_none_it_goes_on_without_and_says_so(home, monkeypatch):
    said = []
    (home / "broken").touch()
    with mps.served(said.append) as server:
        assert server is None
        assert mps.PIPES not in os.environ
    assert said == [
        "MPS did not start, going on without: nvidia-cuda-mps-control -d ended with 1: no GPU here",
    ]
    assert not list((home / "tmp").iterdir())
    monkeypatch.setenv(mps.PIPES, "/nowhere")
    with mps.served(said.append) as server:
        assert server is None
    assert "no daemon answers at CUDA_MPS_PIPE_DIRECTORY=/nowhere" in said[1]
    monkeypatch.setenv("PATH", "")
    with mps.served(said.append) as server:
        assert server is None
    assert len(said) == 2, "nobody who has no MPS hears of it"
    assert mps.told() == "not there: no nvidia-cuda-mps-control on the PATH"


def serve(pipe):
    with mps.served(print) as server:
        pipe.send(str(server.folder))
        time.sleep(30)


def test_the_next_command_ends_what_a_killed_one_left_and_no_living_ones(home):
    context = multiprocessing.get_context("fork")
    begun = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        folder = Path(ours.recv())
        begun.append((process, folder, living(folder / "pipe")))
    (dead, left, orphan), (alive, other, served) = begun
    os.kill(dead.pid, signal.SIGKILL)
    dead.join()
    assert living(left / "pipe")
    with mps.served(print):
        assert ended(orphan)
        assert not left.exists()
        assert living(other / "pipe") == served
    alive.kill()
    alive.join()
    with mps.served(print):
        assert ended(served)


def test_what_another_user_left_is_not_touched(home, monkeypatch):
    left = home / "tmp" / f"{mps.PREFIX}theirs"
    left.mkdir()
    (left / "owner").touch()
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    mps._clear()
    assert left.exists()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    mps._clear()
    assert not left.exists()


def test_a_record_tells_of_it_only_where_it_was_used(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.delenv(mps.USED, raising=False)
    plain = environment.environment(cpu)
    assert not {"mps", "sharing"} & plain.keys()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    cuda = torch.device("cuda", 0)
    assert not {"mps", "sharing"} & environment.environment(cuda).keys()
    monkeypatch.setenv(mps.USED, "own")
    assert environment.environment(cpu) == plain
    assert environment.environment(cuda, 4).items() >= {"mps": "own", "sharing": 4}.items()
