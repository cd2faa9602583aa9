import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import Problem
from harness.parts.data import ImageFolder
from harness.parts.schedules import Piecewise
from harness.spec import needed, parts, upstream
from harness.tricks.distillation import Distill
from harness.tricks.warmup import LinearWarmup
from tests.kit import backbones
from tests.kit.specs import through_json
from tests.kit.tiny import tiny_plan


def test_parts_that_do_not_agree_are_said_in_a_line(tiny, taught):
    tiny.agree()
    taught.agree()
    wrong = Piecewise(warmup=LinearWarmup(epochs=10))
    for spec in (tiny.but(schedule=wrong), tiny.but(teacher=(Distill(spec=tiny.but(schedule=wrong)),))):
        with pytest.raises(Problem, match="must be less than epochs=6"):
            spec.agree()


def test_parts_are_listed_in_order_without_those_inside_inner_specifications(tiny, taught):
    names = ["Digits", "ResNet", "Xavier", "DecayAll", "NAG", "Piecewise", "Step", "Shift", "FP32"]
    assert [type(part).__name__ for part in parts(tiny)] == names
    assert [type(part).__name__ for part in parts(taught)] == [*names, "Distill"]


def test_upstream_is_innermost_first_and_each_once(tiny):
    first = tiny.but(epochs=1)
    second = tiny.but(epochs=2, teacher=(Distill(spec=first),))
    both = tiny.but(teacher=(Distill(spec=second), Distill(spec=first, temperature=3)))
    assert upstream(tiny) == ()
    assert upstream(second) == (first,)
    assert upstream(both) == (first, second)


def test_a_teacher_is_of_seed_0_and_a_backbone_of_the_runs_own_seed(tiny, taught):
    assert needed(tiny, 3) == ()
    assert needed(taught, 3) == ((taught.teacher[0].spec, 0),)
    detector = backbones.DETECTOR
    assert not tiny.model.paired
    assert needed(detector, 3) == ((detector.model.backbone, 3),)
    distilled = backbones.DISTILLED(detector)
    (teacher, backbone) = upstream(distilled)
    assert needed(distilled, 3) == ((teacher, 0), (backbone, 3)), "the teacher of a backbone of seed 3"


def test_a_backbone_below_a_teacher_is_of_the_teachers_seed(tiny):
    detector = backbones.DETECTOR
    student = detector.but(epochs=2, teacher=(Distill(spec=detector),))
    backbone = detector.model.backbone
    assert needed(student, 3) == ((backbone, 3), (backbone, 0), (detector, 0))
    assert upstream(student) == (backbone, detector)


def test_json_keeps_where_the_data_lies(tiny, tmp_path):
    spec = tiny.but(data=ImageFolder(root=tmp_path, size=32))
    assert through_json(spec) == spec


def test_ids_do_not_depend_on_the_hash_seed():
    code = "from tests.kit.tiny import tiny_plan; print(*(spec.id for spec, _ in tiny_plan().runs()))"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [spec.id for spec, _ in tiny_plan().runs()]
