"""`harness COMMAND`, and what `python -m harness` prints."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import __main__ as door

ROOT = Path(harness.__file__).parent


def told(*words):
    """Exit status, output and errors of a process."""
    code = "from harness.__main__ import main; main()"  # as the script that an installation makes
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT.parent, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_it_knows_each_command_and_what_it_is_for():
    found = door.commands()
    files = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__main__.py")}
    assert found.keys() <= files
    assert found.keys() >= {"ablate", "bench", "check", "new", "report", "search", "store", "sync"}
    assert not found.keys() & {"train", "paths", "spec", "__main__"}
    assert all(text.endswith(".") and len(text) < 120 and "`" not in text for text in found.values())


@pytest.mark.parametrize("words", [(), ("--help",)])
def test_alone_it_prints_what_there_is(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["harness", *words])
    door.main()
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in door.commands())
    assert (ROOT / "SKILL.md").is_file()
    assert str(ROOT / "SKILL.md") in out, "where an assistant reads on"


def test_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["harness", "--version"])
    door.main()
    assert capsys.readouterr().out == f"harness {harness.__version__}\n"


def test_a_command_has_the_other_words(monkeypatch):
    seen = []
    monkeypatch.setattr(runpy, "run_module", lambda name, **how: seen.append((name, how, sys.argv[1:])))
    monkeypatch.setattr(sys, "argv", ["harness", "ablate", "digits", "--dry-run"])
    door.main()
    assert seen == [("harness.ablate", {"run_name": "__main__", "alter_sys": True}, ["digits", "--dry-run"])]


def test_an_unknown_command_is_said_in_a_line():
    assert told("ablat") == (2, "", "harness: no command 'ablat'; did you mean ablate?\n")
    code, _, error = told("\x1b[2Jx")
    assert (code, error.count("\n")) == (2, 1)
    assert "\x1b" not in error


def test_what_a_command_says_of_a_mistake_is_the_same():
    code, out, error = told("report", "no/such")
    assert (code, out) == (2, "")
    assert error.startswith("harness.report: 'no/such' cannot be a study's name")
