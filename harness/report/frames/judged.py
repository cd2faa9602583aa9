"""Verdicts of gains: together over a table, and at planned looks."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from harness import stats
from harness.report.frames.pairs import by_seed, one_image, pairs, right_bits
from harness.report.frames.read import Pair, Plan, worth
from harness.report.words import Measure


def test_of(plan: Plan) -> stats.Test:
    """Which t-test the gains of a plan have; what was planned for the plain one, before there was another, keeps it."""
    decide: dict[str, Any] | None = plan["decide"]
    told: stats.Test = decide.get("test", "t") if decide else plan.get("test", "moderated")
    return told


def judge(
    plan: Plan, paired: dict[int, list[Pair]], decided: dict[int, stats.Decision], by: Measure | None = None
) -> dict[int, dict[str, Any]]:
    """Gain, interval, p and verdict by place, of pairs and decisions as `looked_at` has them.

    Of a metric `by` which lower is better a gain below 0 helps.

    `test` is which was made in the end, "moderated" or "t", and `why` the reason where that is another than was asked
    for; `d0`, its lower bound and `d0_estimate`, Smyth's estimate, are nan where no bound was worked out, and `share`
    is of the level. `plain_*` are by the plain t-test, where another was asked for.
    """
    rows = {place: [[worth(a) for _, a, _ in ours], [worth(b) for _, _, b in ours]] for place, ours in paired.items()}
    seeds = [[seed for seed, _, _ in ours] for ours in paired.values()]
    asked = test_of(plan)
    table = stats.compare(rows.values(), asked, step=one_image(paired), seeds=seeds)
    judged = {
        place: {"gain": c.gain, "gain_low": c.low, "gain_high": c.high, "p": c.p, "adjusted": c.adjusted}
        | {"rho": c.rho, "mde": c.mde, "verdict": c.verdict}
        | _by(c.prior, asked, c.df)
        | _plainly(c.plain)
        for place, c in zip(rows, table, strict=True)
    }
    for place, d in decided.items():
        if place not in judged:
            continue
        judged[place] |= {"gain": d.gain, "gain_low": d.low, "gain_high": d.high, "p": d.p, "adjusted": math.nan}
        judged[place] |= {"mde": math.nan, "verdict": d.verdict} | _by(d.prior, asked, d.df) | _looked_at(d.plain)
    return {place: row | _told(by or Measure(), row) for place, row in judged.items()}


def _told(by: Measure, row: dict[str, Any]) -> dict[str, str]:
    """The verdicts as the metric has them: turned where lower is better, and an MDE in its unit."""
    found = {}
    for kind in ("", "plain_"):
        verdict, mde = by.turned(row[f"{kind}verdict"]), row[f"{kind}mde"]
        if by.unit != "%" and verdict.startswith("not resolved (MDE"):
            verdict = f"not resolved (MDE {by.bare(mde)})"
        found[f"{kind}verdict"] = verdict
    return found


def _by(prior: stats.Prior, asked: stats.Test, df: float) -> dict[str, Any]:
    test, why = ("moderated", "") if prior.df else ("t", prior.why if asked == "moderated" else "")
    told = {"d0": prior.bound, "d0_estimate": prior.estimate, "share": prior.share}
    return {"test": test, "why": why, "df": df} | told


def _looked_at(plain: stats.Decision | None) -> dict[str, Any]:
    found = _plainly(None)
    if not plain:
        return found
    told = {"plain_low": plain.low, "plain_high": plain.high, "plain_p": plain.p, "plain_verdict": plain.verdict}
    return found | told


def _plainly(c: stats.Comparison | None) -> dict[str, Any]:
    names = ("low", "high", "p", "adjusted", "mde")
    found = {f"plain_{name}": getattr(c, name) if c else math.nan for name in names}
    return found | {"plain_verdict": c.verdict if c else ""}


def decisions(plan: Plan, paired: dict[int, list[Pair]]) -> dict[int, stats.Decision]:
    """What the planned looks said of each gain, by place; nothing where the number of seeds is fixed."""
    rows = {}
    for place, rung in enumerate(plan["rungs"]):
        ours = paired.get(place, [])  # a rung without a run is a row all the same
        if plan["decide"] and rung["gain"]:
            gains = {seed: worth(a) - worth(b) for seed, a, b in ours}
            rows[place] = [gains.get(seed, math.nan) for seed in rung["seeds"]]
    if not rows:
        return {}
    told = plan["decide"]
    planned = list(rows.values()), told["points"], told["looks"]
    step, test = one_image(paired), told.get("test", "t")
    decided = stats.decide(*planned, step=step, test=test)
    if test != "t":  # what the plain test would have said of the same looks, by the seeds that there are
        plain = stats.decide(*planned, step=step)
        decided = [replace(own, plain=other) for own, other in zip(decided, plain, strict=True)]
    return dict(zip(rows, decided, strict=True))


BEFOREHAND = "planned beforehand", "at most .05"


def planned(decide: dict[str, Any]) -> tuple[str, str]:
    """When the looks that a plan decides by were planned, and the error of all rows and looks together.

    Of plans with other looks each adds up to .05 (Bonferroni), and more where it was chosen by what was seen. Other
    points at the same looks add nothing: they only end rows before later looks, and a row may be found at any look. Nor
    can what was seen have chosen the program's own looks. Plans by another test are others.
    """
    earlier, looks = decide.get("earlier", []), decide["looks"]
    by = {"t": "", "moderated": ", moderated"}
    told = "; ".join(
        f"± {each['points']:g} at {', '.join(map(str, each['looks']))} seeds{by[each.get('test', 't')]}"
        for each in earlier
    )
    before = f"{'the plan' if len(earlier) == 1 else 'plans'} before ({told})"
    test = decide.get("test", "t")
    ways = {(tuple(each["looks"]), each.get("test", "t")) for each in earlier}
    plans = 1 + len(ways - {(tuple(looks), test)})
    if plans > 1:
        most = f"{min(1, 0.05 * plans):.2f}".removeprefix("0")
        return (
            "of another plan than the first",
            f"at most {most} with {before}, and more where what was seen chose this",
        )
    if earlier:
        return BEFOREHAND[0], f"at most .05, with {before} too, for only the points are others"
    if decide.get("pairs") and tuple(looks) != stats.LOOKS[test]:
        pairs = f"{decide['pairs']} pair{'s' * (decide['pairs'] > 1)} of runs"
        return f"planned when {pairs} were finished", "at most .05, and more where what those showed chose the looks"
    return BEFOREHAND


def due(plan: Plan, every: pd.DataFrame) -> list[int]:
    """How many seeds each rung should have by now, of a plan that decides by looks and lists all seeds there may be."""
    looks = plan["decide"]["looks"]
    gains = [place for place, rung in enumerate(plan["rungs"]) if rung["gain"]]
    at = by_seed(every)
    told = decisions(plan, {place: pairs(plan, at, place) for place in gains})
    between: list[tuple[int, int]] = [tuple(plan["rungs"][place]["gain"]) for place in told]
    asked = stats.seeds_asked(told.values(), between, looks)
    return [asked.get(place, looks[0]) for place in range(len(plan["rungs"]))]


def new_data(ours: list[Pair]) -> tuple[float, float]:
    """The 95 % interval of a gain, in points, on new test data of the same kind: seeds and examples both vary.

    nan of metrics that are of a whole set, not of its images: these are not told right or wrong one by one.
    """
    if not all(row["correct"] and row.get("score", "top1") == "top1" for _, a, b in ours for row in (a, b)):
        return math.nan, math.nan
    if len(ours) < 2 or len({row["tested"] for _, a, b in ours for row in (a, b)}) > 1:
        return math.nan, math.nan
    above, below = right_bits([a for _, a, _ in ours]), right_bits([b for _, _, b in ours])
    gain, _, seeds, se, df = stats.gain_errors(above, below)
    if math.isnan(se) or se == 0:
        return math.nan, math.nan
    df = df if math.isnan(seeds) else min(df, seeds)  # never narrower than for seeds alone
    low, high, _ = stats.t_test(gain, se, df)
    return 100 * low, 100 * high
