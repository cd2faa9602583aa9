"""Published tables under both tests: what each seed came to is read from the points of the figures on their pages.

    python -m tests.kit.reread            # every page in reports/ whose table has gains of one seed each

A page older than the moderated test keeps no runs, but its figures have every seed as a point. Points are brought to
percent by the means of the table, and a page is told only where the gains and intervals of the table come out again.
"""

import csv
import itertools
import re
import sys
from pathlib import Path

import numpy as np

from harness import stats

REPORTS = Path(__file__).parents[2] / "reports"
POINT = re.compile(r'<use href="#[^"]*" x="([-\d.]+)" y="([-\d.]+)" style="fill: #8c8c8c')


def seeds(page: str, table: list[dict[str, str]]) -> dict[str, np.ndarray]:
    """What each seed of a rung came to, in percent, in the order of seeds. ValueError where the page does not tell."""
    many, means = ([float(row[name]) for row in table] for name in ("n", "top1_mean"))
    for drawn in re.findall(r'<g id="[^"]*PathCollection_\d+">(.*?)</g>', page, re.S):
        rows: dict[str, list[float]] = {}
        for x, y in POINT.findall(drawn):
            rows.setdefault(y, []).append(float(x))
        own = [np.array(rows[y]) for y in sorted(rows, key=float)]
        if [len(each) for each in own] != many:
            continue
        slope, start = np.polyfit([each.mean() for each in own], means, 1)
        values = [slope * each + start for each in own]
        if max(abs(each.mean() - mean) for each, mean in zip(values, means, strict=True)) < 1e-3:
            return {row["rung"]: each for row, each in zip(table, values, strict=True)}
    raise ValueError("no figure has a point a seed, of these means")


def gains(table: list[dict[str, str]], known: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The paired differences of each gain: those of the two rungs that give its mean and its interval."""
    found = {}
    for row in table:
        if not row["gain"]:
            continue
        due = np.array([float(row[name]) for name in ("gain", "gain_low", "gain_high")])
        for above, below in itertools.permutations(known, 2):
            if len(known[above]) == len(known[below]) and row["rung"] in (above, below):
                x = known[above] - known[below]
                if np.abs(np.array([x.mean(), *stats.t_interval(x)]) - due).max() < 2e-3:
                    found[row["rung"]] = x
                    break
        else:
            raise ValueError(f"no two rungs give the gain of {row['rung']}")
    return found


def row(name: str, rows: dict[str, np.ndarray]) -> str:
    """A line of the table: what each test resolves, and how much narrower intervals are."""
    own = [range(len(x)) for x in rows.values()]
    made = stats.compare(list(rows.values()), test="moderated", seeds=own)
    sure = [each.verdict.startswith(("helps", "hurts")) for each in made]
    plainly = [each.plain.verdict.startswith(("helps", "hurts")) for each in made if each.plain]
    width = [(each.high - each.low) / (each.plain.high - each.plain.low) for each in made if each.plain]
    other = [
        f"{rung}: {a.plain.verdict.partition(' (')[0]} → {a.verdict.partition(' (')[0]}"
        for rung, a, b, c in zip(rows, made, sure, plainly, strict=True)
        if b != c and a.plain
    ]
    d0 = f"{made[0].prior.bound:.2f}" + (" (plain test)" if not made[0].prior.df else "")
    cells = [name, len(rows), len(own[0]), d0, sum(plainly), sum(sure), "; ".join(other) or "none"]
    return f"| {' | '.join(map(str, [*cells, f'{np.nanmedian(width):.2f}']))} |"


def main() -> None:
    print("| page | gains | seeds | d₀ at least | resolved, plain | moderated | changes | width of intervals |")
    print("|:--|--:|--:|--:|--:|--:|:--|--:|")
    for path in sorted(REPORTS.rglob("table.csv")):
        name = str(path.parent.relative_to(REPORTS))
        with open(path, newline="") as file:
            table = list(csv.DictReader(file))
        try:
            print(row(name, gains(table, seeds((path.parent / "index.html").read_text(), table))))
        except (ValueError, KeyError, OSError) as why:
            print(f"{name}: left out: {why}", file=sys.stderr)


if __name__ == "__main__":
    main()
