"""What was found beside what a paper has."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

import harness.report.frames as frames
import harness.report.published as published
import harness.report.tables as tables
from harness import Problem
from harness.report.findings.gains import Gain
from harness.report.findings.words import Section, listed
from harness.report.frames import Plan

TABLES = {"top1": (4, 5, 6), "mAP": (8,), "mIoU": (9,)}  # by headline metric: where the paper has gains
DATA = {"top1": "imagenet", "mAP": "voc", "mIoU": "ade20k"}
NAMES = ("Bag of Tricks", "1812.01187")  # a study that is after the paper says so by one of these
Known = dict[str, tuple[float, str]]  # by rung: the paper's score, and the rung that its gain is over


def paper_gain(number: int, known: Known, added: frozenset[str], below: frozenset[str]) -> float:
    """The paper's gain, in points, of `added` tricks in its Table `number`; nan where it has none.

    Rows of Table 5 are networks of which each takes the other's place: the gain is over the one that is in `below`. Two
    tricks that Table 6 has together and apart: a gain with the other on is over the other, 79.29 - 79.15 for
    distillation where there is mixup.
    """
    ways = {rung.partition(".")[0] for rung in known if "." in rung} & below
    start = "".join(f"{way}." for way in sorted(ways))
    own = {rung.removeprefix(start): rung for rung in known if rung.startswith(start)}
    sets = {frozenset(name.split("+")): rung for name, rung in own.items() if "." not in name}
    for together, rung in sets.items():
        rest = together - added
        if added < together and rest <= below and rest in sets:
            return round(known[rung][0] - known[sets[rest]][0], 6)
    if added not in sets:
        return math.nan
    rung = sets[added]
    over = known[rung][1]
    if number == 5:
        earlier = list(known)[: list(known).index(rung)]
        over = [name for place, name in enumerate(earlier) if not place or name in below][-1] if earlier else ""
    return round(known[rung][0] - known[over][0], 6) if over else math.nan


def paper_gains(gains: Iterable[Gain], score: str = "top1") -> list[tuple[Gain, float]]:
    """The gains that the paper has a number for, with it; none where the paper's numbers are not there.

    In top-1 its Tables 4, 5 and 6 have them, in mAP Table 8 and in mIoU Table 9.
    """
    if not any(gain.added for gain in gains):
        return []
    had: dict[int, Known] = {}
    try:
        for number in TABLES[score]:
            cells = published.read(number)[1]
            cells = cells[(cells["metric"] == score) & (cells["rung"] != "")]
            had[number] = {rung: (paper, over) for rung, paper, over in cells[["rung", "paper", "over"]].values}
    except Problem:
        return []
    made = []
    for gain in gains:
        if math.isnan(gain.value) or gain.verdict.startswith(frames.BARRED):
            continue
        values = [paper_gain(number, known, gain.added, gain.below) for number, known in had.items() if gain.added]
        made += [(gain, value) for value in values if not math.isnan(value)]
    return made


def after_paper(plan: Plan) -> bool:
    """Whether a study is after the paper: its own words name it."""
    return any(name in plan["about"] for name in NAMES)


def beside_paper(plan: Plan, every: pd.DataFrame, gains: Sequence[Gain]) -> list[Section]:
    """The gains that the paper has a number for, of a study that is after it: side by side, and how far they agree."""
    score = frames.headline(every)
    both = paper_gains(gains, score) if after_paper(plan) and score in TABLES else []
    if not both:
        return []
    same, first, last = published.same_data(every, DATA[score]), TABLES[score][0], TABLES[score][-1]
    where = f"Tables {first} to {last}" if first != last else f"Table {first}"
    has = "has a number" if len(both) == 1 else "have numbers"
    lines = [
        f"He et al. (2019, {where}) {has} for {len(both)} of these gains. Each is of one run, without a spread, on top "
        "of the tricks before it in their order."
    ]
    if not same:
        lines.append("Their data differ from these, so only signs and order are compared.")
    signs = [published.agrees(paper, gain.value, gain.verdict) for gain, paper in both]
    opposite = [gain.name for (gain, _), sign in zip(both, signs, strict=True) if sign == "opposite"]
    lines.append(
        f"Resolved here with the opposite sign: {listed(opposite)}."
        if opposite
        else "No gain that is resolved here has the opposite sign."
    )
    if "not resolved" in signs:
        lines.append("A gain that is not resolved here neither confirms nor refutes the paper's.")
    rows = [(score, paper, gain.value, gain.verdict) for gain, paper in both]
    lines += published.agreement(pd.DataFrame(rows, columns=["metric", "paper_gain", "gain", "verdict"]), score)
    shown = [
        (gain.name, tables.gain(paper, math.nan, math.nan), tables.gain(gain.value, gain.low, gain.high), sign)
        for (gain, paper), sign in zip(both, signs, strict=True)
    ]
    table = pd.DataFrame(shown, columns=["trick", "paper's gain", "gain here", "signs"])
    return [Section("Beside the paper", tuple(lines), table)]
