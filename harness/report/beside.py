"""What several designs, or studies, say of each trick: those of one study that were run here, or those asked for."""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

import harness.report.figures as figures
import harness.report.frames as frames
import harness.report.tables as tables
from harness import Problem, one_line
from harness.cli import jsonable
from harness.report.figures import resolved
from harness.report.findings import Gain, told_gains
from harness.report.plans import built_on
from harness.report.title import DESIGNS
from harness.report.words import METRICS, Measure
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


HEADINGS = {  # of one study
    "ladder": "on the ladder",
    "leave-one-out": "on all others",
    "add-one": "alone",
    "shapley": "Shapley",
    "factorial": "factorial",
}
FEW = 7  # columns that a figure has room for


@dataclass(frozen=True)
class Column:
    """A plan of several side by side: what it is called, its gains in the order of its rungs, and its runs."""

    label: str
    heading: str
    score: str
    gains: list[Gain]
    asked: int  # runs, those that others build on too
    new: int  # of them, those that no column before it has


def columns(plans: Sequence[Plan], store: Store) -> list[Column]:
    """A column a plan. Raises Problem where one has no gain, is there twice, or has another metric than the first."""
    made: list[Column] = []
    met: set[tuple[str, int]] = set()
    for plan, heading in zip(plans, _headings(plans), strict=True):
        label = one_line(plan["label"])
        every = frames.runs(plan, store)
        score = frames.headline(every)
        table = frames.rungs(plan, every).set_index("place", drop=False)
        order = {gain: i for i, gain in enumerate(_titles(plan))}
        told = told_gains(plan, table, frames.effects(plan, every)) if len(every) else []
        gains = sorted((g for g in told if g.known), key=lambda gain: order.get(gain.name, len(order)))
        if not gains:
            raise Problem(f"--beside: {label} has no gain to tell: python -m harness.ablate trains what is missing")
        if label in {column.label for column in made}:
            raise Problem(f"--beside: {label} is there twice")
        if made and made[0].score != score:
            raise Problem(f"--beside: {made[0].label} by {METRICS[made[0].score]}, {label} by {METRICS[score]}")
        asked = {(rung["id"], seed) for rung in plan["rungs"] for seed in rung["seeds"]} | set(built_on(plan))
        made.append(Column(label, heading, score, gains, len(asked), len(asked - met)))
        met |= asked
    return made


def _titles(plan: Plan) -> list[str]:
    return [one_line(trick["title"]) for trick in plan["tricks"]]


def _headings(plans: Sequence[Plan]) -> list[str]:
    """What each is called: by its design where all are of one study, and by its label where that is not enough."""
    looks = [f", --decide {plan['decide']['points']:g}" if plan["decide"] else "" for plan in plans]
    short = [HEADINGS[plan["design"]] + look for plan, look in zip(plans, looks, strict=True)]
    one = len({plan["study"] for plan in plans}) == 1
    return [
        name if one and short.count(name) == 1 else one_line(plan["label"])
        for plan, name in zip(plans, short, strict=True)
    ]


def _rows(made: Sequence[Column]) -> list[str]:
    """The tricks of all columns: in the order of the first that has them."""
    return list(dict.fromkeys(gain.name for column in made for gain in column.gains))


def written(made: Sequence[Column]) -> tuple[str, str, dict[str, Any]]:
    """The columns as Markdown, as CSV, a line a gain, and for a program."""
    score, by = METRICS[made[0].score], [{gain.name: gain for gain in column.gains} for column in made]
    cells = {"trick": [tables.literal(name) for name in _rows(made)]}
    for column, own in zip(made, by, strict=True):
        cells[tables.literal(column.heading)] = [_cell(own.get(name)) for name in _rows(made)]
    each = [f"{column.heading} {column.asked:,} and {column.new:,}" for column in made]
    notes = [
        f"Gains are in points of {score}; those that their own table resolves are bold.",
        f"Runs asked for, and of those what no column before it has: {'; '.join(each)}.",
    ]
    head = f"{', '.join(column.label for column in made)}: each trick"
    text = tables.document(head, [tables.markdown(pd.DataFrame(cells), [], right=True)], notes)
    rows = [
        {"trick": gain.name, "of": column.label, "gain": gain.value, "low": gain.low, "high": gain.high}
        | {"verdict": gain.verdict}
        for column in made
        for gain in column.gains
    ]
    named = [
        {"label": column.label, "heading": column.heading, "runs": column.asked, "new": column.new} for column in made
    ]
    told: dict[str, Any] = jsonable({"score": made[0].score, "columns": named, "gains": rows})
    return text, tables.comma_separated(pd.DataFrame(rows)), told


def _cell(gain: Gain | None) -> str:
    if gain is None or math.isnan(gain.value):
        return "–"
    told = f"{round(gain.value, 2) + 0.0:+.2f}"
    return f"**{told}**" if resolved(gain.verdict) else told


def drawn(made: Sequence[Column]) -> Figure | None:
    """The same with intervals, a panel a column; None where there are too many of them."""
    if len(made) > FEW:
        return None
    told = {
        column.heading: {gain.name: (gain.value, gain.low, gain.high, gain.verdict) for gain in column.gains}
        for column in made
    }
    names = list(dict.fromkeys(column.label.partition("@")[0] for column in made))
    return figures.designs(", ".join(names), _rows(made), told, Measure(made[0].score))
