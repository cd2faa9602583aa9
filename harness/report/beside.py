"""What other designs of a study, that were run here too, say of its tricks."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pandas as pd

import harness.report.frames as frames
from harness import Problem
from harness.report.findings import Gain, told_gains
from harness.report.title import DESIGNS
from harness.store import Store

Plan = dict[str, Any]


def designs(
    plan: Plan, others: Iterable[Plan], store: Store, table: pd.DataFrame, effects: pd.DataFrame | None
) -> dict[str, list[Gain]]:
    """The gains that each design tells, by its name in words; empty where no design beside that of `plan` tells any.

    Of the `others` those that are this study with the same settings and at least one rung of it; of two of one design
    that with more runs.
    """
    told = {plan["design"]: told_gains(plan, table.set_index("place", drop=False), effects)}
    ids = {rung["id"] for rung in plan["rungs"]}
    for other in sorted(others, key=lambda each: -sum(len(rung["seeds"]) for rung in each["rungs"])):
        same = other["study"] == plan["study"] and _settings(other) == _settings(plan)
        if not same or other["design"] in told or not ids & {rung["id"] for rung in other["rungs"]}:
            continue
        with suppress(Problem):  # its runs are scored by several metrics
            every = frames.runs(other, store)
            if frames.counted(every).any() and frames.headline(every) == frames.headline(table):
                rungs = frames.rungs(other, every).set_index("place", drop=False)
                told[other["design"]] = told_gains(other, rungs, frames.effects(other, every))
    known = {design: [gain for gain in gains if gain.known] for design, gains in told.items()}
    known = {DESIGNS[design]: known[design] for design in DESIGNS if known.get(design)}
    return known if len(known) > 1 else {}


def _settings(plan: Plan) -> tuple[list[str], bool]:
    """What makes the runs of a plan others than the study's; how many there are, and by which design, does not."""
    return [said for said in plan["settings"] if "=" in said], bool(plan.get("tuned"))
