"""The list of tricks, and the card of one: made of docstrings, and whole."""

import json
import re
import runpy
import sys
import warnings

import pytest

from harness import tricks
from harness.spec import declared
from harness.tricks import __main__ as cards
from tests.kit import shipped

FOUND = dict(cards.found())


def told(monkeypatch, capsys, *words):
    """Exit status, output and errors of the command."""
    monkeypatch.setattr(sys, "argv", ["harness.tricks", *words])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it was imported before
        with pytest.raises(SystemExit) as end:
            runpy.run_module("harness.tricks", run_name="__main__", alter_sys=True)
    out, error = capsys.readouterr()
    return end.value.code or 0, out, error


def test_every_trick_that_is_shipped_is_found():
    assert FOUND.keys() >= shipped.TRICKS
    assert "imgaug_blur" in FOUND, "a file may have more than one"


@pytest.mark.parametrize("name", [name for name in FOUND if name in shipped.TRICKS or name.startswith("imgaug")])
def test_every_card_is_whole(name):
    card = FOUND[name]
    assert re.search(r"\d{4}", card["source"]), "the file's docstring names who and when, in brackets"
    assert card["slots"] == list(declared(getattr(sys.modules[card["import"].split()[1]], name)))
    assert all(card[key].endswith(".") and len(card[key]) > 4 for key in ("about", "hurts", "cost"))
    assert all(part["about"].endswith(".") for part in card["parts"])


def test_a_card_says_what_a_trick_sets(monkeypatch, capsys):
    code, out, _ = told(monkeypatch, capsys, "mixup")
    assert code == 0
    lines = dict(re.findall(r"^(\w+) {2,}(.+)$", out, re.M))
    assert lines["slots"] == "mix, epochs"
    assert lines["fields"] == "alpha=0.2, epochs=1.667"
    assert lines["source"] == "He et al. 2019, section 5.4; Zhang et al. 2018"
    assert lines["part"].startswith("Mixup: One λ")
    assert {"hurts", "cost", "use"} <= lines.keys()
    assert out.startswith("mixup: λ ~ Beta(0.2, 0.2) of two images and of their targets.\n")
    assert FOUND["distillation"]["fields"][2]["default"] == "(resnet_d, cosine, label_smoothing)"


def test_the_list_has_a_line_each(monkeypatch, capsys):
    code, out, _ = told(monkeypatch, capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == sorted(FOUND, key=list(FOUND).index)
    assert "Slot: ascent. Foret et al. 2021" in out
    code, out, _ = told(monkeypatch, capsys, "--json", "--quiet")
    assert [each["name"] for each in json.loads(out)] == list(FOUND)


@pytest.mark.parametrize(
    ("name", "said"),
    [("mixp", "no trick 'mixp'; did you mean mixup?"), ("\x1b[2J", "python -m harness.tricks lists all")],
)
def test_a_wrong_name_is_said_in_a_line(name, said, monkeypatch, capsys):
    code, out, error = told(monkeypatch, capsys, name)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert said in error
    assert "\x1b" not in error


def test_a_file_that_is_torn_is_left_out_and_said(monkeypatch, capsys, tmp_path):
    (tmp_path / "torn.py").write_text("def torn(")
    monkeypatch.setattr(tricks, "__path__", [*tricks.__path__, str(tmp_path)])
    assert dict(cards.found()).keys() == FOUND.keys()
    assert capsys.readouterr().err.startswith("harness.tricks: left out: torn: SyntaxError")
