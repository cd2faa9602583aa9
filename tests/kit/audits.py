"""Audited steps, and how far they are from what was due."""

import copy

from harness.evidence.proofs import BRAIN, FULL, HALF, MOST
from harness.parts.models import Dense
from harness.parts.optimizers import SGD, Adam, AdamP, AdamW, Expectigrad
from harness.tricks.bf16 import bf16
from harness.tricks.distillation import Distill
from harness.tricks.fp16 import fp16
from harness.tricks.label_smoothing import label_smoothing
from harness.tricks.mixup import mixup
from harness.tricks.sam import sam
from harness.tricks.tf32 import tf32
from tests.kit.stops import Plain

COUNTS = ("labels", "frozen", "missing", "asleep", "passes")


def over(gaps, kind="float32", by=1.0):
    """The gaps that are above their limits, or above `by` of them; and the counts that are not 0."""
    limits = MOST | {"float32": FULL, "float16": HALF, "bfloat16": BRAIN, "tf32": HALF}[kind]
    told = {name for name, limit in limits.items() if name in gaps and not gaps[name] < by * limit}
    return told | {name for name in COUNTS if gaps.get(name)}


def everything(tiny):
    taught = label_smoothing(mixup(tiny, epochs=1)).but(microbatch=100, teacher=(Distill(spec=tiny),))
    return sam(fp16(taught))


def undecayed(tiny):
    return tiny.but(optimizer=Expectigrad(), decay=tiny.decay.but(weight=0.0))


RIGHT = {
    "plain": lambda tiny: tiny,
    "fp16": fp16,
    "bf16": bf16,
    "tf32": tf32,
    "sam": sam,
    "microbatch": lambda tiny: tiny.but(microbatch=100),
    "teacher": lambda tiny: tiny.but(teacher=(Distill(spec=tiny),)),
    "mixup": lambda tiny: label_smoothing(mixup(tiny, epochs=1)),
    "adam": lambda tiny: tiny.but(optimizer=Adam()),
    "adamw": lambda tiny: tiny.but(optimizer=AdamW(), decay=tiny.decay.but(weight=0.1)),
    "adamp": lambda tiny: tiny.but(optimizer=AdamP(), decay=tiny.decay.but(weight=0.1)),
    "expectigrad": undecayed,
    "no momentum": lambda tiny: tiny.but(optimizer=SGD(momentum=0.0)),
    "dense": lambda tiny: tiny.but(model=Dense(hidden=(16,), size=8)),
    "without a reference": lambda tiny: tiny.but(model=Plain()),
    "everything": everything,
}


def with_spec(trace, spec):
    replay = copy.copy(trace.auditor.replay)
    replay.spec = spec
    return replay
