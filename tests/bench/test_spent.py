"""Phases by what a stack shows. How long anything takes is asserted nowhere."""

import ast
import json
import sys
import time
from pathlib import Path

import pytest

from harness.bench.spent import HOME, OTHER, PHASES, RULES, START, gathered, phase, watched


def called(*stack):
    """The innermost frame of functions that call each other, each of (file, name)."""

    def here():
        return sys._getframe()

    inner = here
    for file, name in reversed(stack):
        space = {"inner": inner}
        exec(compile(f"def {name}(): return inner()", file, "exec"), space)
        inner = space[name]
    return inner()


@pytest.mark.parametrize(
    ("stack", "due"),
    [
        ([("train.py", "train_epoch")], "loop"),
        ([("train.py", "train_epoch"), ("train.py", "gradient")], "forward"),
        ([("train.py", "gradient"), ("parts/precision.py", "backward")], "backward"),
        ([("train.py", "gradient"), ("evidence/audit.py", "anything")], "evidence"),
        ([("train.py", "train_epoch"), ("parts/data/photos.py", "train")], "draw"),
        ([("train.py", "evaluate"), ("parts/data/photos.py", "test")], "evaluation"),
        ([("train.py", "result"), ("evidence/proofs.py", "prove"), ("parts/data/boxes.py", "load")], "load"),
        ([("engine/worker.py", "work")], "idle"),
        ([("parts/models/resnet.py", "forward")], OTHER),
    ],
)
def test_the_innermost_function_that_is_known_has_the_phase(stack, due):
    assert phase(called(*((HOME + file, name) for file, name in stack), ("/else/where.py", "lower"))) == due


def test_a_stack_of_others_has_no_phase_and_imports_are_of_the_start():
    assert phase(called(("/else/train.py", "gradient"))) == OTHER
    assert phase(called((HOME + "train.py", "train"), ("<frozen importlib._bootstrap>", "_find_and_load"))) == START
    assert phase(None) == OTHER


@pytest.mark.parametrize(("file", "name"), list(RULES))
def test_each_rule_is_of_code_that_there_is(file, name):
    found = Path(HOME, file)
    files = [found] if found.suffix == ".py" else list(found.glob("*.py"))
    assert files
    if name:
        nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text())))
        assert any(isinstance(node, ast.FunctionDef) and node.name == name for node in nodes)


def until(holds):
    """Sleep until it does; a machine that is busy may look late, and not never."""
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends, "it does not hold in a minute"
        time.sleep(0.001)


def test_phases_add_up_to_the_time_watched():
    phases = iter(["forward", "backward"] * 100_000)
    before = time.monotonic()
    with watched(every=0.001, look=lambda frame: next(phases)) as spent:
        began = time.monotonic()
        until(lambda: len(spent) == 2)
        ended = time.monotonic()
    assert set(spent) == {"forward", "backward", OTHER}
    assert min(spent["forward"], spent["backward"]) > 0
    assert ended - began <= sum(spent.values()) <= time.monotonic() - before


def test_what_a_thread_does_is_seen():
    seen = []
    with watched(every=0.001, look=lambda frame: seen.append(frame.f_code.co_name) or OTHER):
        until(lambda: seen.count("until") >= 3)
    assert seen.count("until") >= 3


def test_what_came_before_and_after_a_worker_is_counted(tmp_path):
    for name, began in (("1", 3.0), ("2", 5.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"began": began, "ended": 9, "spent": {"step": 9 - began}}))
    found = gathered(tmp_path, 1.0, 10.0)
    assert found == {"start": 3.0, "step": 5.0, "end": 1.0}
    assert list(found) == [name for name in PHASES if name in found]
    assert sum(found.values()) == 9.0
