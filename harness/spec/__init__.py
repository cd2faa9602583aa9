"""A run's specification: slots that hold frozen parts, its id, and its canonical form."""

from harness.spec.canonical import first_error, flat, parse, plain, resolved
from harness.spec.differences import changes, moved, shape
from harness.spec.part import SECOND, SELF, UNPROVEN, Check, File, Part, referenced
from harness.spec.settings import assign, meant
from harness.spec.slots import (
    Ascent,
    Augment,
    Data,
    Decay,
    Init,
    Mix,
    Model,
    Optimizer,
    Precision,
    Schedule,
    Stop,
    Targets,
)
from harness.spec.spec import UPSTREAM_SEED, Spec, Teacher, parts, upstream
from harness.spec.tricks import Branches, Step, Trick, declared, declares, stack
