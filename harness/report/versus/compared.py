"""B over A, rung by rung: a plan of two sides, its runs, and a row a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

import harness.report.frames as frames
from harness import Problem, stats
from harness.report.frames import Plan, Row, worth
from harness.report.versus.differ import allowed, changes, checks, showed
from harness.report.versus.sides import Rung, Side, matched
from harness.report.words import METRICS
from harness.store import Store


@dataclass(frozen=True)
class Compared:
    """What `compare` found: a plan whose even places are A's rungs, each below its B's; runs; a row a pair."""

    a: Side
    b: Side
    plan: Plan
    every: pd.DataFrame
    table: pd.DataFrame  # of B's rungs, as frames.rungs has them
    rows: list[dict[str, Any]]  # as JSON tells them, one a row of the table
    paired: bool
    only: tuple[list[str], list[str]]  # rungs of A, and of B, that have no other


def compare(a: Side, b: Side, test: stats.Test = "moderated") -> Compared:
    """B over A: differences by seed where the sides share seeds, else of means (Welch); judged together, by Holm.

    Seeds pair where each two rungs of which both have two runs share two seeds. Raises Problem as `matched` does, and
    where scores are of different metrics.
    """
    pairs = matched(a, b)
    single = len(pairs) == 1 and not (a.whole and b.whole)
    rungs: list[dict[str, Any]] = []
    for i, (one, other) in enumerate(pairs):
        forms = [side.store.forms(rung.id, rung.seeds[0])["resolved"] for side, rung in ((a, one), (b, other))]
        paths = changes(*forms)
        names = (a.address, b.address) if single else (one.title, other.title)
        rungs += [_described(*each) for each in zip((one, other), forms, names, strict=True)]
        rungs[-1] |= {"gain": [2 * i + 1, 2 * i], "may": allowed(paths), "changes": paths}
    plan: Plan = {"study": "compared", "label": f"{a.address} and {b.address}", "design": "add-one", "rungs": rungs}
    plan |= {"about": "", "settings": [], "command": [], "tricks": [], "decide": None, "upstream": [], "test": test}
    every = _runs(plan, a.store, b.store)
    paired, table = _pair(every, len(pairs)), frames.rungs(plan, every)
    table = table[table["place"] % 2 == 1].reset_index(drop=True)
    if not paired:
        table = _apart(table, every)
    table = table.assign(verdict=[_verdict(plan, every, row) for row in table.to_dict("records")])
    rows = [_row(plan, every, row) for row in table.to_dict("records")]
    met = {rung.id for pair in pairs for rung in pair} | {r.id for r in a.rungs} & {r.id for r in b.rungs}
    only = [[rung.title for rung in side.rungs if rung.id not in met] for side in (a, b)]
    return Compared(a, b, plan, every, table, rows, paired, (only[0], only[1]))


def _described(rung: Rung, form: dict[str, Any], name: str) -> dict[str, Any]:
    told = {"name": name, "title": name, "id": rung.id, "seeds": list(rung.seeds), "epochs": form.get("epochs", 0)}
    told |= {"microbatch": form.get("microbatch"), "stops": bool(form.get("stop")), "on": [], "gain": None}
    return told | {"also": [], "may": [], "changes": {}}


def _runs(plan: Plan, a: Store, b: Store) -> pd.DataFrame:
    """The runs of both sides in one frame. Raises Problem where a side has none, or metrics differ."""
    made, damaged = [], []
    for start, store in ((0, a), (1, b)):
        every = frames.runs(plan | {"rungs": plan["rungs"][start::2]}, store)
        if not frames.counted(every).any():
            raise Problem(f"{plan['label']}: no run of one side is whole: python -m harness.store verify says more")
        damaged += [(2 * place + start, *rest) for place, *rest in every.attrs["damaged"]]
        made.append(every.assign(place=2 * every["place"] + start))
        made[-1].attrs.clear()
    scores = [METRICS[frames.headline(every)] for every in made]
    if scores[0] != scores[1]:
        raise Problem(f"{plan['label']} are scored by {scores[0]} and {scores[1]}: that is no comparison")
    both = pd.concat(made, ignore_index=True)
    both.attrs["damaged"] = damaged
    return both


def _pair(every: pd.DataFrame, pairs: int) -> bool:
    """Whether seeds pair: by which runs there are, and not by what they came to."""
    good = every[frames.counted(every)]
    seeds = [set(good.loc[good["place"] == place, "seed"]) for place in range(2 * pairs)]
    both = [(seeds[2 * i], seeds[2 * i + 1]) for i in range(pairs)]
    return any(a & b for a, b in both) and all(len(a & b) > 1 for a, b in both if len(a) > 1 and len(b) > 1)


def _apart(table: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """The gains of a table by Welch's test."""
    good, score = every[frames.counted(every)], frames.headline(every)
    arms: list[Sequence[Any]] = [
        [good.loc[good["place"] == place - back, score].to_numpy() for back in (0, 1)] for place in table["place"]
    ]
    judged = stats.compare_apart([(above, below) for above, below in arms])
    named = {"gain": "gain", "gain_low": "low", "gain_high": "high"}
    named |= {name: name for name in ("p", "adjusted", "rho", "df", "mde", "verdict")}
    told = {column: [getattr(row, name) for row in judged] for column, name in named.items()}
    at = frames.by_seed(every)
    apart = [
        any(frames.elsewhere(a, b) for a in at.get(place, {}).values() for b in at.get(place - 1, {}).values())
        for place in table["place"]
    ]
    return table.assign(**told, test="welch", why="", gain_pairs=0, elsewhere=apart)


def _verdict(plan: Plan, every: pd.DataFrame, row: Row) -> str:
    """A table's verdict; or that test images are others, or that both sides are the same runs."""
    above, below = row["place"], row["place"] - 1
    tests = [every.loc[every["place"] == place, ["tested", "test_images"]] for place in (above, below)]
    sizes, digests = ([set(own[name]) - {""} for own in tests] for name in ("tested", "test_images"))
    if sizes[0] != sizes[1] or (all(digests) and digests[0] != digests[1]):
        return "not comparable: tested on other images"
    verdict = str(row["verdict"])
    if not verdict.startswith("refused: bit for bit"):
        return verdict
    same = plan["rungs"][above]["id"] == plan["rungs"][below]["id"]
    return "the same runs, bit for bit" if same else "the same runs, bit for bit, though specifications differ"


def _row(plan: Plan, every: pd.DataFrame, row: Row) -> dict[str, Any]:
    """A pair: both sides, the gain, and what differs."""
    above, score, at = row["place"], frames.headline(every), frames.by_seed(every)
    told: dict[str, Any] = {
        name: _side(plan, at.get(place, {}), place, score) for name, place in (("a", above - 1), ("b", above))
    }
    gain = {"value": row["gain"], "low": row["gain_low"], "high": row["gain_high"], "pairs": int(row["gain_pairs"])}
    gain |= {name: row[name] for name in ("p", "adjusted", "rho", "mde", "test", "why", "df")}
    rung = plan["rungs"][above]
    told |= {"gain": None if math.isnan(row["gain"]) else gain, "verdict": row["verdict"]}
    told |= {"marks": [name for name in frames.MARKS if row[name]], "specification": rung["changes"]}
    seen = showed(frames.paired(at, (above, above - 1)), rung["may"])
    return told | {"showed": seen, "checks": checks(plan, every, above - 1, above)}


def _side(plan: Plan, own: dict[int, Row], place: int, score: str) -> dict[str, Any]:
    mean, sd = stats.mean_sd([worth(run) for run in own.values()])
    told = {"name": plan["rungs"][place]["name"], "id": plan["rungs"][place]["id"], "n": len(own), "seeds": list(own)}
    seconds = float(pd.Series([run["seconds_per_epoch"] for run in own.values()], dtype=float).median())
    told |= {"score": {"metric": score, "mean": mean, "sd": sd}, "seconds_per_epoch": seconds}
    return told | {"params": next((run["params"] for run in own.values()), None)}
