"""A run's specification: slots that hold frozen parts, its id, and its canonical form."""

from harness.spec.aspects import ASPECTS, MAY, may
from harness.spec.canonical import first_error, flat, parse, plain, resolved
from harness.spec.differences import changes, moved, shape
from harness.spec.part import SECOND, SELF, UNPROVEN, Check, File, Flag, Part, keeps_up, referenced
from harness.spec.settings import assign, meant
from harness.spec.slots import (
    Ascent,
    Augment,
    Average,
    Clip,
    Compiler,
    Data,
    Decay,
    Derived,
    Draws,
    Evaluation,
    Init,
    Loss,
    Mix,
    Model,
    Optimizer,
    Precision,
    Rates,
    Resolution,
    Sampler,
    Schedule,
    Stop,
    Targets,
    Task,
)
from harness.spec.spec import UPSTREAM_SEED, Spec, Teacher, needed, parts, upstream
from harness.spec.tricks import Branches, Step, Trick, declared, declares, on_backbone, stack
