"""What a user reads where a command cannot go on."""

import argparse

import pytest

from harness import Problem
from harness.cli import main


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
