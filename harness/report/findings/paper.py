"""What was found beside what a paper has."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

import harness.report.frames as frames
import harness.report.published as published
import harness.report.tables as tables
from harness import Problem
from harness.report.findings.gains import Gain
from harness.report.findings.words import Paragraph, listed

TABLES = {"top1": (4, 5, 6), "mAP": (8,), "mIoU": (9,)}  # by headline metric: where the paper has gains
DATA = {"top1": "imagenet", "mAP": "voc", "mIoU": "ade20k"}
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


def beside_paper(every: pd.DataFrame, gains: Sequence[Gain]) -> list[Paragraph]:
    """The gains that the paper has a number for, by whether signs agree, and how far signs and order do."""
    score = frames.headline(every)
    both = paper_gains(gains, score)
    if not both:
        return []
    same, first, last = published.same_data(every, DATA[score]), TABLES[score][0], TABLES[score][-1]
    where = f"Tables {first} to {last}" if first != last else f"Table {first}"
    lines = [
        f"He et al. (2019, {where}) have a number for {len(both)} of these gains, each of one run, without a "
        "spread, on top of the tricks before it in their order."
    ]
    if not same:
        lines.append("Their data are others, so only signs and order are compared.")
    said: dict[str, list[str]] = {"opposite": [], "same sign": [], "not resolved": []}
    for gain, paper in both:
        said[published.agrees(paper, gain.value, gain.verdict)].append(
            f"{gain.name} (paper {tables.gain(paper, math.nan, math.nan)}, here "
            f"{tables.gain(gain.value, gain.low, gain.high)})"
        )
    words = {
        "opposite": "Opposite sign, and resolved here",
        "same sign": "Same sign, and resolved here",
        "not resolved": "Not resolved here, which neither confirms nor refutes",
    }
    if not said["opposite"]:
        lines.append("No gain that is resolved here has the opposite sign.")
    lines += [f"{words[what]}: {listed(items)}." for what, items in said.items() if items]
    rows = [(score, paper, gain.value, gain.verdict) for gain, paper in both]
    agreement = published.agreement(pd.DataFrame(rows, columns=["metric", "paper_gain", "gain", "verdict"]), score)
    return [("Where it disagrees with the paper", " ".join(lines)), ("", " ".join(agreement))]
