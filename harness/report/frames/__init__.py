"""Frames: one row a run, a rung, an effect, a check.

A rung is known by its `place` in the plan, not by its name: two names may be the same, or be cut to the same.
"""

from harness.report.frames.backbones import backbones, beside_backbones
from harness.report.frames.classes import class_gains, classes
from harness.report.frames.compared import effects, looked_at, rungs, seeds_as_dots
from harness.report.frames.judged import BEFOREHAND, decisions, due, judge, new_data, planned, test_of
from harness.report.frames.measured import metric_of, value_of
from harness.report.frames.notes import COMMON, EFFECTS, GAINS, MARKS, evidence, footnotes, glances, marks
from harness.report.frames.pairs import (
    APART,
    BARRED,
    apart,
    around,
    astray,
    barred,
    by_seed,
    elsewhere,
    held_to,
    one_image,
    paired,
    pairs,
    pairs_apart,
    right_bits,
    same_run,
)
from harness.report.frames.read import EMPTY, Pair, Plan, Row, counted, headline, measure, runs, worth
