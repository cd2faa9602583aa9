"""Words that findings are made of: sections, numbers, names, lists of them."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from harness.report.words import together

NAMED = 12  # rungs that a sentence names, those of the largest gains first
DESIGNS = {
    "ladder": "A ladder of {rungs}",
    "leave-one-out": "All of {tricks} together, and without each: {rungs}",
    "add-one": "Each of {tricks} alone on the baseline: {rungs}",
    "shapley": "Shapley values of {tricks} from {rungs}",
    "factorial": "A factorial of {tricks} in {rungs}",
    "against": "{rungs}, each held against the same one",
}
ONLY = {  # what the gains of a design leave open
    "ladder": "Each gain is on top of the rungs below it. In another order it may differ.",
    "leave-one-out": "Each gain is on top of all other tricks. What a trick gives alone may differ.",
    "add-one": "Each gain is of a trick alone. What several give together is not in it.",
    "against": "Each gain is of all that a rung has and the other has not.",
}


@dataclass(frozen=True)
class Section:
    """What it is about, "" of the opening; sentences, each a bullet, and a table; none of it escaped."""

    about: str
    lines: tuple[str, ...] = ()
    table: pd.DataFrame | None = None

    def __bool__(self) -> bool:
        return bool(self.lines) or self.table is not None


def bare(title: str) -> str:
    """What the gain of a rung is of: its title without the sign before it."""
    return re.sub(r"^[+−] ", "", title)


def rung_of(title: str) -> str:
    """The rung itself, which of "− mixup" is the one without."""
    return bare(re.sub(r"^− ", "without ", title))


def listed(items: Iterable[object]) -> str:
    every = list(map(str, items))
    more = [f"and {len(every) - NAMED} more"] if len(every) > NAMED else []
    return "; ".join([*every[:NAMED], *more])


def some(table: pd.DataFrame, mark: str) -> str:
    """The rungs with a mark: their names, or of more than three their number."""
    names = [rung_of(title) for title in table.loc[table[mark], "title"]]
    if len(names) > 3:
        return f"all {len(table)} rungs" if len(names) == len(table) else f"{len(names)} of {len(table)} rungs"
    return together(names)


def span(values: Iterable[float], told: Callable[[float], str] = "{:,}".format) -> str:
    ends = sorted(values)
    return " to ".join(dict.fromkeys((told(ends[0]), told(ends[-1]))))


def score_of(row: pd.Series, decimals: int = 2) -> str:
    mean, sd = row[f"{row['score']}_mean"], row[f"{row['score']}_sd"]
    return f"{mean:.{decimals}f}" if math.isnan(sd) else f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def spent(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
