"""`harness.compare`: options in, one call, words out."""

import json
import sys

import pytest

from harness import compare as command
from harness.cli import main
from harness.report import remember
from harness.store import Store
from tests.kit.records import designed, record, rung
from tests.kit.tiny import finish, known


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    for name, score in (("baseline", 80.0), ("one", 85.0)):
        for seed in range(3):
            finish(Store(), name, seed, record(score + seed * (name == "one"), tested=100))
    remember(designed("ladder", [rung("baseline"), rung("one", [1, 0])]))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["harness.compare", *words])
        with pytest.raises(SystemExit) as end:
            main(command.parser(), command.run)
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_it_says_what_it_found_and_where_the_picture_is(told, tmp_path):
    code, out, err = told("s:baseline", "s:one")
    folder = tmp_path / "runs" / "compared" / "s-one-over-s-baseline"
    assert (code, err) == (0, "")
    assert "**B over A: +6.00 [+3.52, +8.48] points of top-1: helps**" in out
    assert f"picture: {folder}/compared.png" in out
    assert (folder / "compared.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = told(known("baseline"), f"{tmp_path / 'runs'}:s:one", "--to", str(tmp_path / "own"), "--json")
    value = json.loads(out)
    assert (code, value["folder"], value["rows"][0]["verdict"]) == (0, str(tmp_path / "own"), "helps")
    assert value["rows"][0]["gain"]["value"] == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("s:baseline", "s:two"), "harness.compare: 'two' is no rung of s: baseline, one\n"),
        (("s", "s"), "harness.compare: s and s are the same runs: there is nothing to compare\n"),
        (("s", "x"), "harness.compare: no study 'x' was run here"),
        (("s",), "harness.compare: the following arguments are required: B; see --help\n"),
    ],
)
def test_a_mistake_is_one_line(words, said, told):
    code, out, err = told(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(said)
