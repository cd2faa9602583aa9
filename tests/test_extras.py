"""What lacks an optional package says which extra has it, before the first run."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

import harness
from experiments.digits import BASELINE
from harness import Problem
from harness.parts import imgaug_policy
from harness.parts.imgaug_policy import ImgAug, policy
from harness.parts.optimizers import Expectigrad
from tests.kit.coloured import Coloured

ROOT = Path(harness.__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
UNDECAYED = BASELINE.but(decay=BASELINE.decay.but(weight=0.0))


@pytest.mark.parametrize(
    ("package", "spec"),
    [
        ("imgaug", BASELINE.but(data=Coloured(), augment=(ImgAug(),))),
        ("expectigrad", UNDECAYED.but(optimizer=Expectigrad())),
    ],
)
def test_a_part_without_its_package_is_refused_with_a_line_that_names_the_extra(package, spec, monkeypatch):
    spec.agree()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Problem) as problem:
        spec.agree()
    assert f'{package} is not installed, and this needs it: pip install "ablation-harness[{package}]"' in str(
        problem.value
    )
    assert "\n" not in str(problem.value)


def test_one_that_is_built_without_being_planned_says_so_too(monkeypatch):
    policy.cache_clear()
    monkeypatch.setitem(sys.modules, "imgaug", None)
    monkeypatch.setattr(imgaug_policy, "_imgaug", imgaug_policy._imgaug.__wrapped__)
    with pytest.raises(Problem, match=r"\[imgaug\]"):
        ImgAug().ready()
    monkeypatch.setitem(sys.modules, "expectigrad", None)
    with pytest.raises(Problem, match=r"\[expectigrad\]"):
        Expectigrad().form()


def test_each_extra_that_is_named_is_one():
    files = [*(ROOT / "harness").rglob("*.py"), ROOT / "README.md", ROOT / "Makefile"]
    text = "\n".join(path.read_text() for path in files)
    ways = (r"ablation-harness\[([\w,]+)\]", r"installed\(\"\w+\", extra=\"(\w+)\"\)", r"editable \"\.\[([\w,]+)\]")
    every = {extra for way in ways for group in re.findall(way, text) for extra in group.split(",")}
    assert every >= {"imgaug", "expectigrad", "ray", "remote", "postgres", "coco"}
    assert every <= EXTRAS.keys()
