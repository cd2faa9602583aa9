import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import Problem, bench
from harness.bench.loop import Measured
from tests.kit.bench import command
from tests.kit.commands import harness

SPENT = {"start": 0.5, "forward": 8.0, "evaluation": 1.5}


def test_the_ratio_is_of_medians(monkeypatch, capsys):
    bounds = iter([100.0, 300.0, 120.0])
    studies = iter([60.0, 40.0])
    monkeypatch.setattr("harness.bench.loop.bound", lambda spec, places, seconds: next(bounds))
    seen = lambda spec, places, how: Measured(next(studies), 10.0, SPENT, 90.0, 95.0)  # noqa: E731
    monkeypatch.setattr("harness.bench.loop.study", seen)
    command("--model", "small", "--rounds", "2", "--jobs", "2", "--device", "cpu")
    out = capsys.readouterr().out
    assert re.findall(r"(bound|harness) +([\d.]+)\n", out) == [
        ("bound", "100.0"),
        ("harness", "60.0"),
        ("bound", "300.0"),
        ("harness", "40.0"),
        ("bound", "120.0"),
    ]
    assert re.search(r"bound +100\.0 +120\.0 +3\n", out)
    assert re.search(r"harness +40\.0 +50\.0 +2\n", out)
    assert "harness / bound = 0.417" in out  # 50 / 120
    assert "the bound itself moved by x 3.00" in out
    assert "in the training loop: 0.750 of the bound" in out
    assert "of 10 s a process: start 5.0%, forward 80.0%, evaluation 15.0%; together 100.0%" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--study", "digits:mix"], "--study digits:mix: it has no such rung; there are: baseline, warmup"),
        (["--study", "digits:distillation"], "--study digits:distillation: it builds on another run"),
        (["--model", "vgg"], "--model vgg: unknown; there are: small, resnet18"),
        (["--data", "/nowhere"], "/nowhere"),
        (["--batch-size", "1000"], "--batch-size 1000: there are 597"),
        (["--batch-size", "0"], "--batch-size 0: must be above 0"),
        (["--seconds", "nan"], "--seconds nan: must be above 0"),
        (["--curve-every", "0"], "--curve-every 0: must be above 0"),
        (["--device", "tpu"], "--device tpu"),
        (["--loader", "/nowhere"], "data.root=/nowhere: no such folder"),
        (["--imgaug", "/nowhere"], "data.root=/nowhere: no such folder"),
    ],
)
def test_mistakes(words, says):
    with pytest.raises(Problem, match=re.escape(says)):
        command("--device", "cpu", *words)


def test_a_mistake_is_one_line_and_help_is_light():
    words = [sys.executable, "-m", "harness.bench", "--seconds", "-1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(bench.__file__).parents[2])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "harness.bench: --seconds -1: must be above 0\n"
    code = "import sys; from harness.bench.__main__ import parser; parser().format_help()"
    code += "; print({'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_command_measures_a_study_in_processes_of_its_own(tmp_path):
    words = ("--model", "small", "--jobs", "1", "--device", "cpu", "--seconds", "0.5")
    done = harness(tmp_path, *words, module="harness.bench")
    assert done.returncode == 0, done.stderr
    assert re.search(r"harness / bound = [0-9.]+", done.stdout)
    shares = re.search(r"of \d+ s a process: (.*); together 100.0%", done.stdout)[1]
    assert sum(float(share) for share in re.findall(r"([0-9.]+)%", shares)) == pytest.approx(100, abs=1)
