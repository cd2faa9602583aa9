"""What a user reads where a command cannot go on, and what becomes of one whose words nobody reads."""

import argparse
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness import Problem, cli
from harness.cli import main

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (Problem("no study\n'x'"), 2, "harness.own: no study 'x'\n"),
        (
            FileNotFoundError(2, "No such file or directory", "a b"),
            2,
            "harness.own: [Errno 2] No such file or directory: 'a b'\n",
        ),
        (KeyboardInterrupt(), 130, "\nharness.own: interrupted\n"),
        (KeyboardInterrupt("what is kept stays"), 130, "\nharness.own: interrupted; what is kept stays\n"),
    ],
)
def test_one_line_and_a_status(raised, code, said, monkeypatch, capsys):
    def run(options):
        raise raised

    monkeypatch.setattr("sys.argv", ["own"])
    with pytest.raises(SystemExit) as ended:
        main(argparse.ArgumentParser(prog="harness.own"), run)
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err) == (code, "", said)


# --- output ----------------------------------------------------------------------------------------------------------

WORDY = """
import argparse, os, subprocess, sys
from pathlib import Path
from harness.cli import main

def run(options):
    file = open("file", "w")  # the first that this process opens
    for number in range(3000):
        print("out", number)
        print("err", number, file=sys.stderr, flush=True)
    subprocess.run(["sh", "-c", "echo out; echo err >&2"])
    file.write("own")
    file.close()
    Path("end").touch()
    return 7

parser = argparse.ArgumentParser(prog="own")
parser.set_defaults(shows=sys.argv.pop() == "shows")
main(parser, run)
"""


def command(code, *words, closed=(), environment=None, **how):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    line = [sys.executable, "-c", code, *words]
    return subprocess.Popen(line, env=environment, preexec_fn=lambda: [os.close(number) for number in closed], **how)


def ended(folder):
    """Whether the work came to its end, and nothing but its own is in its file."""
    return (folder / "end").exists() and (folder / "file").read_text() == "own"


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_the_work_goes_on_where_output_is_closed(closed, tmp_path):
    own = command(WORDY, "", cwd=tmp_path, closed=closed, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told = own.communicate(timeout=60)
    assert own.returncode == 7
    assert ended(tmp_path)
    for number, name in ((1, b"out"), (2, b"err")):
        lines = b"".join(name + b" %d\n" % i for i in range(3000)) + name + b"\n"
        assert told[number - 1] == (b"" if number in closed else lines)


@pytest.mark.parametrize("of", ["pipe", "terminal"])
@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_the_work_goes_on_where_the_reader_is_gone(of, streams, tmp_path):
    ours, theirs = os.pipe() if of == "pipe" else os.openpty()
    kept = {name: subprocess.PIPE for name in ("stdout", "stderr") if name not in streams}
    own = command(WORDY, "", cwd=tmp_path, **dict.fromkeys(streams, theirs), **kept)
    os.close(theirs)
    assert os.read(ours, 3) in (b"out", b"err")
    os.close(ours)
    told = [text for text in own.communicate(timeout=60) if text]
    assert own.returncode == 7
    assert ended(tmp_path)
    assert [len(text.splitlines()) for text in told] == [3001] * len(kept), "all that has a reader, and nothing else"


def test_a_command_that_only_shows_ends_when_nobody_reads_on(tmp_path):
    own = command(WORDY, "shows", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert own.stdout.readline() == b"out 0\n"
    own.stdout.close()
    own.stdout = None
    _, err = own.communicate(timeout=60)
    assert own.returncode == -signal.SIGPIPE
    assert all(line.startswith(b"err ") for line in err.splitlines())
    assert not (tmp_path / "end").exists()


def test_output_that_a_full_disk_cuts_off_is_said_when_the_work_is_done(tmp_path):
    with open("/dev/full", "w") as full:
        own = command(WORDY, "", cwd=tmp_path, stdout=full, stderr=subprocess.PIPE)
        _, err = own.communicate(timeout=60)
    assert own.returncode == 2
    assert ended(tmp_path)
    last = "own: [Errno 28] No space left on device: '<stdout>'"
    assert [line for line in err.decode().splitlines() if "err" not in line.split() and "echo" not in line] == [last]


def test_a_slow_reader_is_waited_for_where_another_program_made_its_pipe_non_blocking(tmp_path):
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)  # less than is written at once
    os.set_blocking(theirs, False)
    own = command(WORDY, "", cwd=tmp_path, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as reader:
        assert reader.read(1) == b"o"
        time.sleep(0.05)  # it is full again
        assert len(reader.read().splitlines()) == 3001
    assert own.wait(60) == 7


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("ascii", rb"zero \u03b3 \xb1 \u03c1\u0302 \udcff"),
        ("latin-1", b"zero \\u03b3 \xb1 \\u03c1\\u0302 \\udcff"),
        ("utf-8", "zero γ ± ρ̂ ".encode() + rb"\udcff"),
    ],
)
def test_letters_that_output_cannot_encode_are_spelt_out(encoding, told, tmp_path):
    code = "import argparse; from harness.cli import main\n"
    code += "p = argparse.ArgumentParser(description='zero γ ± ρ̂ \\udcff')\n"
    code += "main(p, lambda options: print(p.description))"
    for words in ((), ("--help",)):
        own = command(code, *words, stdout=subprocess.PIPE, environment={"PYTHONIOENCODING": encoding})
        out, _ = own.communicate(timeout=60)
        assert own.returncode == 0
        assert told in out.splitlines()


# --- for programs -----------------------------------------------------------------------------------------------------


def called(run, *words, monkeypatch, capsys, parser=None):
    monkeypatch.setattr("sys.argv", ["own", *words])
    with pytest.raises(SystemExit) as ended:
        main(parser or argparse.ArgumentParser(prog="harness.own"), run)
    return ended.value.code, *capsys.readouterr()


def told(options):
    print("words")
    print("a warning", file=sys.stderr)
    cli.answer({"path": Path("a/b"), "share": np.float32(0.5), "none": math.nan, "rows": (np.int64(1), "γ")})
    return 1


def test_json_is_alone_on_stdout_and_words_go_to_stderr(monkeypatch, capsys):
    code, out, err = called(told, "--json", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, err) == (1, "words\na warning\n")
    assert json.loads(out) == {"path": "a/b", "share": 0.5, "none": None, "rows": [1, "γ"]}
    assert called(told, monkeypatch=monkeypatch, capsys=capsys) == (1, "words\n", "a warning\n")


def test_quiet_leaves_warnings_and_the_result(monkeypatch, capsys):
    assert called(told, "--quiet", monkeypatch=monkeypatch, capsys=capsys) == (1, "", "a warning\n")
    code, out, err = called(told, "--json", "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, json.loads(out)["path"], err) == (1, "a/b", "a warning\n")


def test_a_command_without_an_answer_gives_its_words(monkeypatch, capsys):
    code, out, _ = called(lambda options: print("one\ntwo"), "--json", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, json.loads(out)) == (None, {"words": ["one", "two"]})


def test_an_error_is_json_too(monkeypatch, capsys):
    def run(options):
        cli.answer({"done": True})
        raise Problem("no study\n'x'")

    code, out, err = called(run, "--json", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, json.loads(out), err) == (2, {"error": "no study 'x'"}, "harness.own: no study 'x'\n")
    assert called(run, "--quiet", monkeypatch=monkeypatch, capsys=capsys) == (2, "", "harness.own: no study 'x'\n")


@pytest.mark.parametrize("words", [["--nosuch"], ["inner", "--nosuch"], ["inner", "--n", "x"], []])
def test_a_mistake_in_the_words_of_a_command_is_one_line_and_json_too(words, monkeypatch, capsys):
    def parser():
        made = argparse.ArgumentParser(prog="harness.own")
        made.add_subparsers(required=True, dest="what").add_parser("inner").add_argument("--n", type=int)
        return made

    for more in ([], ["--json"]):
        code, out, err = called(told, *more, *words, monkeypatch=monkeypatch, capsys=capsys, parser=parser())
        assert (code, err.count("\n"), err.startswith("harness.own")) == (2, 1, True)
        assert err.endswith("; see --help\n")
        assert ((json.loads(out)["error"] in err) if more else out == "") is True


def test_every_command_says_how_it_ends_and_commands_within_it_too(monkeypatch, capsys):
    def parser():
        made = argparse.ArgumentParser(prog="harness.own", epilog="Own words.")
        made.add_subparsers(required=True).add_parser("inner")
        return made

    for words in (["--help"], ["inner", "--help"]):
        code, out, _ = called(told, *words, monkeypatch=monkeypatch, capsys=capsys, parser=parser())
        said = " ".join(out.split())
        assert code == 0
        assert "--json" in said
        assert "Exit status: 0, done; 1, something failed" in said
        assert ("Own words. Exit status" in said) == (len(words) == 1)
    for words in (["--json", "inner"], ["inner", "--json"]):
        _, out, _ = called(told, *words, monkeypatch=monkeypatch, capsys=capsys, parser=parser())
        assert json.loads(out)["path"] == "a/b"


def test_no_command_has_a_json_of_its_own():
    for path in (ROOT / "harness").rglob("*.py"):
        assert '"--json"' not in path.read_text() or path.name == "cli.py", path
