"""Figures, drawn without a display: data in, a Figure out; `save` alone writes.

`every` has one row a run, `table` one row a rung. A name is text: cut to its room, and never read as a formula.
"""

from harness.report.figures.by_class import by_class
from harness.report.figures.captions import CAPTIONS, captions
from harness.report.figures.costs import cost, pareto
from harness.report.figures.curves import band, by_epoch, curves, panels, rates, scales, told_as
from harness.report.figures.designs import designs
from harness.report.figures.gains import apart, beside, effects, forest
from harness.report.figures.style import (
    BESIDE,
    CLEAR,
    HELPS,
    HURTS,
    INK,
    LONG,
    MANY,
    SEED,
    SMALL,
    TEN,
    Array,
    Seeds,
    colors,
    decimal,
    frame,
    heading,
    height,
    interval,
    names,
    percent,
    resolved,
    save,
    score_interval,
    sharing,
    sizes,
    style,
    tint,
)
from harness.report.figures.to_target import to_target
from harness.report.figures.transfer import transfer
from harness.report.figures.versus import versus
from harness.report.figures.waterfall import waterfall
