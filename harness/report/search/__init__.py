"""The report of a hyper-parameter search: its trials as tables, figures and one page, from an Optuna study.

The first objective is the validation score in %, maximised; a second, if any, is a cost. What Optuna computes
(importances, the Pareto front) is Optuna's; it is drawn here, since its own figures are not made for print.
"""

from harness.report.search.figures import (
    ACROSS,
    PANELS,
    below,
    best_of_n,
    dots,
    front,
    history,
    hue,
    importance,
    parallel,
    pool,
    room,
    slices,
)
from harness.report.search.matters import POOL, SHUFFLES, Importance, importances
from harness.report.search.page import draw, render
from harness.report.search.read import (
    BEST,
    COSTS,
    ENOUGH,
    STATES,
    TOLD,
    Trial,
    axis_of,
    complete,
    ranked,
    read,
    score_of,
    scored,
    state_of,
)
from harness.report.search.scales import Scale, scales, shown
from harness.report.search.tables import markdown, space_table, trial_csv, trial_table
from harness.report.search.words import (
    OBJECTIVES,
    again,
    best_said,
    chosen_said,
    how_said,
    matters_said,
    more_said,
    test_said,
)
