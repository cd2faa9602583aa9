"""`SKILL.md`, which tells a program what the commands print: each is run, and each key and exit status is true."""

import json
import re
import runpy
import shlex
import shutil
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

import harness
from harness import cli
from harness.__main__ import commands
from harness.engine import execute
from harness.export import graph
from harness.store import Store
from harness.tricks.mixup import mixup
from tests.kit.tiny import BASELINE

SKILL = (Path(harness.__file__).parent / "SKILL.md").read_text()
ROWS = re.findall(r"^\| `harness (.+?)` \| (.+) \|$", SKILL, re.M)
STUDY = '''"""Does mixup help?"""
from harness.tricks.mixup import mixup
from tests.kit.tiny import BASELINE
TRICKS = (mixup,)
SEEDS = (0,)
'''
MORE = {
    "ablate STUDY": "--track tensorboard --jobs 1",
    "sync STUDY": "--track tensorboard",
    "check STUDY": "--only mixup",
    "plan STUDY --detect POINTS": "--sd 1",
}


@pytest.fixture
def user(trained, tmp_path, monkeypatch):
    """A user's folder, with a study of which every run is finished."""
    shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(graph, "find_spec", lambda name: None)  # ONNX takes seconds, and has tests of its own
    execute(mixup(BASELINE), 0, Store(), torch.device("cpu"))
    for label in Store().root.parent.glob("studies/*"):
        label.unlink()
    (tmp_path / "pets.py").write_text(STUDY)
    for seed in range(2):
        (tmp_path / "files").mkdir(exist_ok=True)
        torch.save(BASELINE.model.build(1, 10).state_dict(), tmp_path / "files" / f"{seed}.pt")
    for number, place in enumerate(("train/cat", "train/dog", "val/cat", "val/dog")):
        (tmp_path / "photos" / place).mkdir(parents=True)
        Image.new("RGB", (80, 90), (number, 0, 0)).save(tmp_path / "photos" / place / "a.png")
    return tmp_path


@pytest.fixture
def told(monkeypatch, capsys):
    def run(line):
        """Exit status and JSON of a command, in this process."""
        name, *words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", [f"harness.{name}", *words, "--json"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it was imported before
            with pytest.raises(SystemExit) as end:
                runpy.run_module(f"harness.{name}", run_name="__main__", alter_sys=True)
        torch.set_num_threads(1)  # weights are asked by all cores
        return end.value.code or 0, json.loads(capsys.readouterr().out)

    return run


def lacks(value, path):
    """Whether nothing is at a path such as `rungs[].gain.value`; behind a null nothing is asked for."""
    step, _, rest = path.partition(".")
    name, many, _ = step.partition("[]")
    if name and not (isinstance(value, dict) and name in value):
        return True
    value = value[name] if name else value
    if many:
        own = [lacks(item, rest) for item in value if item is not None] if rest else []
        return not value or any(own)
    return lacks(value, rest) if rest and value is not None else False


def test_each_command_prints_what_it_says(user, told):
    assert len(ROWS) > 15
    assert {line.partition(" ")[0] for line, _ in ROWS} <= commands().keys()
    words = {"STUDY": "./pets.py", "RUNG": "baseline", "RUN": BASELINE.id, "DIR": "mine"}
    words |= {"NAME": "mixup", "FILE": "a.tar", "DAY": time.strftime("%Y-%m-%d"), "URL": str(user / "there")}
    words |= {"A": "./pets.py:baseline", "B": "./pets.py:mixup", "POINTS": "1", "PATH": "files"}
    words |= {"…": "", "DATA": "photos", "TO": "prepared"}
    seen = {}
    for line, keys in ROWS:
        own = re.sub(r"\b[A-Z]+\b|…", lambda word: words[word[0]], line)
        own = own.replace("a.tar", "mine.py") if line.startswith("new") else own
        code, value = told(f"{own} {MORE.get(line, '')}")
        assert code == 0, (line, value)
        paths = re.findall(r"`(.+?)`", keys)
        assert [path for path in paths if lacks(value, path)] == [], line
        seen[line] = value
    assert seen["ablate STUDY"]["trained"] == 0
    assert seen["ablate STUDY"]["rungs"][1]["gain"]["over"] == "baseline"
    assert seen["report STUDY"].keys() == seen["ablate STUDY"].keys() - {"trained", "reused", "failed"}
    assert "digits" in seen["ablate --list"]
    assert seen["report STUDY --against RUNG"]["rungs"][1]["gain"]["over"] == "baseline"
    assert seen["compare A B"]["rows"][0]["b"]["name"] == "./pets.py:mixup"
    assert seen["plan STUDY --detect POINTS"]["designs"][0]["missing"] > 0
    assert {key["seed"] for key in seen["store rm STUDY --delete"]["runs"]} == {0}


def test_each_exit_status_is_the_one_it_says(user, told):
    rows = dict(re.findall(r"^\| (\d+) \| .+? \| (.+) \|$", SKILL, re.M))
    assert list(rows) == re.findall(r"(\d+), ", cli.ENDS), "no more and no fewer"
    code, value = told("report ./nosuch.py")
    assert (code, value.keys()) == (2, {"error"})
    assert "`error`" in rows["2"]
    result = next((user / "runs" / "store").glob("*/0/result.json"))
    result.write_text(result.read_text().replace("top1", "top2"))
    code, value = told("store verify")
    assert (code, len(value["wrong"]) > 0) == (1, True)
    assert "`interrupted`, `left`, `asked`" in rows["130"]


@pytest.mark.parametrize(
    ("value", "path", "due"),
    [
        ({"a": [{"b": {"c": 1}}, {"b": None}]}, "a[].b.c", False),
        ({"a": [{"b": {}}]}, "a[].b.c", True),
        ({"a": []}, "a[].b", True),
        ([{"a": 1}], "[].a", False),
        ([{"a": 1}], "[].b", True),
        ({"a": 1}, "b", True),
    ],
)
def test_how_a_key_is_looked_for(value, path, due):
    assert lacks(value, path) is due
