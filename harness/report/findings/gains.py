"""What was found of gains, in sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

import harness.report.frames as frames
import harness.report.tables as tables
from harness import one_line
from harness.report.findings.words import Paragraph, bare, listed, rung_of
from harness.report.frames import Plan, Row
from harness.report.words import count, spoken


@dataclass(frozen=True)
class Gain:
    """What a table says that tricks gave, in points of the score: `added` to those of `below`, by name."""

    name: str
    value: float
    low: float
    high: float
    verdict: str
    mde: float = math.nan
    aliases: str = ""
    added: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()

    def __str__(self) -> str:
        aliased = f" (aliased with {self.aliases})" if self.aliases else ""
        return f"{self.name} {tables.gain(self.value, self.low, self.high)}{aliased}"


def way_of(plan: Plan, above: int, below: int) -> Sequence[int]:
    """The places from `above` down to the one over `below`; of a design that compares no rungs, all."""
    if plan["design"] in frames.EFFECTS:
        return range(len(plan["rungs"]))
    way = [above]
    while (gain := plan["rungs"][way[-1]]["gain"]) and gain[1] != below:
        way.append(gain[1])
    return way


def judged(verdict: str) -> str:
    if verdict in ("helps", "hurts"):
        return f"which {verdict}"
    return f"which is {verdict}" if verdict else "so without interval and verdict"


def told_gains(plan: Plan, table: pd.DataFrame, effects: pd.DataFrame | None) -> list[Gain]:
    """Each gain, or main effect, that the study's table has, the largest first."""
    names = [one_line(trick["name"]) for trick in plan["tricks"]]
    if effects is not None:
        title = {one_line(trick["title"]): name for trick, name in zip(plan["tricks"], names, strict=True)}
        made = [_effect(row, title[row["name"]]) for row in effects.to_dict("records") if row["main"]]
    else:
        on = [frozenset(names[i] for i in rung["on"]) for rung in plan["rungs"]]
        rows: list[Row] = [row for row in table.to_dict("records") if plan["rungs"][row["place"]]["gain"]]
        made = []
        for row in rows:
            above, below = plan["rungs"][row["place"]]["gain"]
            added = on[above] - on[below] if on[below] <= on[above] else frozenset[str]()
            size = row["gain"], row["gain_low"], row["gain_high"]
            made.append(Gain(bare(row["title"]), *size, row["verdict"], row["mde"], "", added, on[below]))
    return sorted(made, key=lambda gain: -abs(np.nan_to_num(gain.value)))


def _effect(row: Row, *names: str) -> Gain:
    size = row["value"], row["low"], row["high"]
    return Gain(row["name"], *size, row["verdict"], math.nan, row["aliases"], frozenset(names))


def by_verdict(plan: Plan, gains: Sequence[Gain]) -> list[Paragraph]:
    """A paragraph a verdict."""
    known = [gain for gain in gains if not math.isnan(gain.value)]
    helps, hurts = ([g for g in known if g.verdict.startswith(word)] for word in ("helps", "hurts"))
    open_ = [g for g in known if g.verdict.startswith(("not resolved", "known"))]
    untested = [g for g in known if not g.verdict]
    told = [("Helps", f"{listed(helps)}." if helps else ""), ("Hurts", f"{listed(hurts)}." if hurts else "")]
    if open_:
        items = [f"{g}{_seen(g)}" for g in open_]
        text = f"{listed(items)}."
        if not all(math.isnan(g.mde) for g in open_):
            text += " Seen, that is resolved, with chance .8, by the spread that the rung's own seeds had."
        told.append(("Not resolved", text))
    if untested:
        why = "The first planned look is still to come." if plan["decide"] else "One pair of seeds gives no verdict."
        told.append(("Not tested", f"{listed(untested)}. {why}"))
    return told


def _seen(gain: Gain) -> str:
    if gain.verdict.startswith("known"):
        return f", {gain.verdict}"
    return "" if math.isnan(gain.mde) else f", would have been seen if at least {gain.mde:.2f}"


def interactions(effects: pd.DataFrame | None) -> str:
    own = [row for row in effects.to_dict("records") if not row["main"]] if effects is not None else []
    if not own:
        return ""
    said = [(_effect(row), tables.TOGETHER[row["verdict"]]) for row in own if row["verdict"] in tables.TOGETHER]
    items = [f"{gain}, {word}" for gain, word in sorted(said, key=lambda pair: -abs(pair[0].value))]
    if not items:
        return f"Of {len(own)} none is resolved."
    return f"Of {len(own)}, {len(items)} {'is' if len(items) == 1 else 'are'} resolved: {listed(items)}."


def set_apart(plan: Plan, every: pd.DataFrame, table: pd.DataFrame, gains: Sequence[Gain]) -> str:
    """Rungs whose gain is not told, and runs that did not end as runs do."""
    lines = []
    odd = [f"{gain.name} ({gain.verdict})" for gain in gains if gain.verdict.startswith(frames.BARRED)]
    alone = [gain.name for gain in gains if math.isnan(gain.value) and not gain.verdict]
    if odd:
        lines.append(f"No gain is told of what cannot be compared: {listed(odd)}.")
    if alone:
        lines.append(f"No pair of runs tells a gain yet of {listed(alone)}.")
    for what, text in (
        ("diverged", "diverged, and counted with the accuracy then reached"),
        ("refused", "refused by the evidence, and in no number here"),
        ("damaged", "damaged, and in no number here"),
    ):
        own = frames.apart(every)[what]
        if own:
            items = [f"{rung_of(one_line(plan['rungs'][place]['title']))} seed {seed}" for place, seed in own]
            lines.append(f"{count(len(own), 'run')} {spoken(text, frames.headline(table))}: {listed(items)}.")
    return " ".join(lines)
