"""What was found of gains, in sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

import harness.report.frames as frames
import harness.report.tables as tables
from harness import one_line
from harness.report.findings.words import Section, bare, listed, rung_of
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
    decimals: int = 2

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)

    def __str__(self) -> str:
        return f"{self.titled} {self.span}"

    @property
    def span(self) -> str:
        return tables.gain(self.value, self.low, self.high, self.decimals)

    @property
    def titled(self) -> str:
        return f"{self.name} (aliased with {self.aliases})" if self.aliases else self.name


def way_of(plan: Plan, above: int, below: int) -> Sequence[int]:
    """The places from `above` down to the one over `below`; of a design that compares no rungs, all."""
    if plan["design"] in frames.EFFECTS:
        return range(len(plan["rungs"]))
    way = [above]
    while (gain := plan["rungs"][way[-1]]["gain"]) and gain[1] != below:
        way.append(gain[1])
    return way


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
    made = [replace(gain, decimals=frames.measure(table).decimals) for gain in made]
    return sorted(made, key=lambda gain: -abs(np.nan_to_num(gain.value)))


def _effect(row: Row, *names: str) -> Gain:
    size = row["value"], row["low"], row["high"]
    return Gain(row["name"], *size, row["verdict"], math.nan, row["aliases"], frozenset(names))


GLANCE = (  # what a verdict begins with, and how a reader is told
    (("helps",), "Helps"),
    (("hurts",), "Hurts"),
    (("not resolved", "known"), "Not resolved"),
    (("",), "Not tested"),
)


def at_a_glance(plan: Plan, gains: Sequence[Gain]) -> list[str]:
    """The names of the tricks by their verdicts, the largest gains first."""
    lines = []
    for starts, word in GLANCE:
        own = [g.titled for g in gains if g.known and (g.verdict.startswith(starts) if starts[0] else not g.verdict)]
        why = "the first planned look is still to come" if plan["decide"] else "one pair of seeds gives no verdict"
        lines += [f"{word}{f' ({why})' * (not starts[0])}: {listed(own)}."] if own else []
    return lines


def verdicts(gains: Sequence[Gain], unit: str = "points") -> Section:
    """A row a gain, the largest first, with what it could have resolved where a test was of a fixed number of seeds."""
    known = [gain for gain in gains if gain.known and not gain.verdict.startswith(frames.BARRED)]
    if not known:
        return Section(VERDICTS)
    rows = [(g.titled, g.span, g.verdict.partition(" (")[0] or "–") for g in known]
    table = pd.DataFrame(rows, columns=["trick", f"gain, {unit}" if unit else "gain", "verdict"])
    if not all(math.isnan(gain.mde) for gain in known):
        table[RESOLVABLE] = ["–" if math.isnan(gain.mde) else f"{gain.mde:.{gain.decimals}f}" for gain in known]
    return Section(VERDICTS, (), table)


VERDICTS, READING, RESOLVABLE = "Verdicts", "How to read the gains", "smallest resolvable gain"
OF_TABLE = (VERDICTS, READING)  # what a page has in its table and notes


def interactions(effects: pd.DataFrame | None) -> list[str]:
    own = [row for row in effects.to_dict("records") if not row["main"]] if effects is not None else []
    if not own:
        return []
    said = [(_effect(row), tables.TOGETHER[row["verdict"]]) for row in own if row["verdict"] in tables.TOGETHER]
    items = [f"{gain}, {word}" for gain, word in sorted(said, key=lambda pair: -abs(pair[0].value))]
    if not items:
        return [f"None of {count(len(own), 'interaction')} is resolved."]
    verb = "is" if len(items) == 1 else "are"
    return [f"{len(items)} of {count(len(own), 'interaction')} {verb} resolved: {listed(items)}."]


def set_apart(plan: Plan, every: pd.DataFrame, table: pd.DataFrame, gains: Sequence[Gain]) -> list[str]:
    """Rungs whose gain is not told, and runs that did not end as runs do."""
    lines = []
    odd = [f"{gain.name} ({gain.verdict})" for gain in gains if gain.verdict.startswith(frames.BARRED)]
    alone = [gain.name for gain in gains if math.isnan(gain.value) and not gain.verdict]
    if odd:
        lines.append(f"These cannot be compared, and have no gain: {listed(odd)}.")
    if alone:
        lines.append(f"No seed has both runs yet for {listed(alone)}.")
    for what, text in (
        ("diverged", "diverged, counted with the accuracy reached by then"),
        ("refused", "refused by its evidence, and in no number here"),
        ("damaged", "damaged, and in no number here"),
    ):
        own = frames.apart(every)[what]
        if own:
            items = [f"{rung_of(one_line(plan['rungs'][place]['title']))} seed {seed}" for place, seed in own]
            lines.append(f"{count(len(own), 'run')} {spoken(text, frames.headline(table))}: {listed(items)}.")
    return lines
