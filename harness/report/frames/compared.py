"""A frame of rungs, each beside the one that it is compared with; and one of effects."""

import math
from typing import Any

import numpy as np
import pandas as pd

from harness import one_line, stats
from harness.report.frames.judged import decisions, judge, new_data
from harness.report.frames.pairs import barred, by_seed, elsewhere, pairs
from harness.report.frames.read import Pair, Plan, counted, headline, measure, worth
from harness.report.words import SECOND


def rungs(plan: Plan, every: pd.DataFrame) -> pd.DataFrame:
    """One row a rung of `plan` that has runs; the headline metric and gains in points of percent, unrounded.

    `score` is the name of that metric, and of the columns with its mean and s.d.: "top1", `top1_mean` and `top1_sd`.
    Of a metric of another `unit` both are in that; where `lower` is better a gain is as measured, and helps below 0.

    `gain` is the mean of differences paired by seed of the two rungs that the plan names, with its 95 % t-interval;
    the verdict is of paired t-tests, moderated or plain as `test_of` says, after Holm over the rows, or of bounds for
    planned looks where the plan decides by them. `judge` says which test it was, and what the plain one says. All of a
    gain, ρ̂ and `new_low` and `new_high`, the bounds for new test data, too, is of its `gain_pairs`: those of its look,
    where there are looks. `total`, over the baseline, is of all seeds that both have, and its interval is by the plain
    test; the means are of all `n` runs. nan where there are no runs, or too few.
    """
    good = every[counted(every)]
    at = by_seed(every)
    odd, score, by = barred(plan, at), headline(every), measure(every)
    beside = [name for name in (SECOND.get(score, "top1"), "balanced_accuracy") if name != score]
    paired, decided = looked_at(plan, {place: [] if place in odd else pairs(plan, at, place) for place in sorted(at)})
    judged = judge(plan, paired, decided, by)
    upstream = {inner["of"] for inner in plan["upstream"]}
    rows = []
    for place in paired:
        rung, own, ours = plan["rungs"][place], good[good["place"] == place], paired[place]
        mean, sd = stats.mean_sd(own[score])
        row: dict[str, Any] = {"place": place, "rung": one_line(rung["name"]), "title": one_line(rung["title"])}
        row |= {"score": score, "unit": by.unit, "lower": by.lower}
        row |= {"n": len(own), f"{score}_mean": mean, f"{score}_sd": sd} | judged[place]
        row["gain_pairs"] = len(ours)
        row["new_low"], row["new_high"] = new_data(ours)
        if place in odd:
            row["verdict"] = row["plain_verdict"] = odd[place]
        base = at.get(0, {}) if plan["design"] == "ladder" and place else {}
        total = [worth(row) - worth(base[seed]) for seed, row in at[place].items() if seed in base]
        step = 100 / own["tested"].max() if score == "top1" else None  # one test image
        row["total"], row["total_low"], row["total_high"], _ = stats.paired_t(total, step=step)
        for second in beside:
            if second in own and own[second].notna().all():
                row[f"{second}_mean"], row[f"{second}_sd"] = stats.mean_sd(own[second])
        other = next((i for i in rung["gain"] or () if i != place), None)
        row["over"] = "" if other is None else one_line(plan["rungs"][other]["name"])
        row |= {
            "params": own["params"].iloc[0],
            "gmacs": own["gmacs"].iloc[0],
            "seconds_per_epoch": own["seconds_per_epoch"].median(),
            "epochs": rung["epochs"],
            "budget_changed": other is not None and plan["rungs"][other]["epochs"] != rung["epochs"],
            "upstream": rung["name"] in upstream,
            "emulated": bool(own["emulated"].any()),
            "also": bool(rung["also"]),
            "elsewhere": any(elsewhere(above, below) for _, above, below in ours),
            "diverged": int((own["status"] == "diverged").sum()),
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["place"])


def looked_at(plan: Plan, paired: dict[int, list[Pair]]) -> tuple[dict[int, list[Pair]], dict[int, stats.Decision]]:
    """The pairs by place that each gain is of, and what planned looks said of it: those of its look, where it has any.

    Seeds that a neighbour asked for after a row was decided are not in its gain, so they are in nothing beside it.
    """
    decided = decisions(plan, paired)
    seeds = {place: set(plan["rungs"][place]["seeds"][: told.n]) for place, told in decided.items()}
    used = {
        place: [pair for pair in ours if place not in seeds or pair[0] in seeds[place]]
        for place, ours in paired.items()
    }
    return used, decided


def seeds_as_dots(plan: Plan, every: pd.DataFrame) -> dict[int, list[tuple[int, float]]]:
    """By place: (seed, gain) of each pair that the gain is of."""
    at = by_seed(every)
    odd = barred(plan, at)
    every_pair = {place: [] if place in odd else pairs(plan, at, place) for place in range(len(plan["rungs"]))}
    used, _ = looked_at(plan, every_pair)
    return {place: [(seed, worth(a) - worth(b)) for seed, a, b in ours] for place, ours in used.items()}


def effects(plan: Plan, every: pd.DataFrame) -> pd.DataFrame | None:
    """Shapley values, or factorial effects: one row each, in points of the headline metric; None under other designs.

    Over the seeds for which all rungs have runs: `value` is the mean, with its 95 % t-interval. `order_se` is what the
    sampling of orders adds, which is in the interval too. Verdicts after Holm: main effects, or values, are a family;
    interactions are another. Empty where no seed is complete.
    """
    if plan["design"] not in ("shapley", "factorial"):
        return None
    good, by = every[counted(every)], measure(every)
    odd = "; ".join(dict.fromkeys(barred(plan, by_seed(every)).values()))
    table = good.pivot_table(index="seed", columns="place", values=headline(every))
    table = table.reindex(columns=range(len(plan["rungs"]))).dropna()
    made = _shapley(plan, table) if plan["design"] == "shapley" else _factorial(plan, table)
    rows = []
    for family in made["main"].unique() if len(made) else ():
        own = made[made["main"] == family]
        draws = len(plan["orders"]) // 2
        tests = [_interval(values, se, draws) for values, se in zip(own["values"], own["order_se"], strict=True)]
        adjusted = stats.holm([p for *_, p in tests])
        for (_, effect), (value, low, high, p), q in zip(own.iterrows(), tests, adjusted, strict=True):
            verdict = odd or by.turned(stats.adjusted_verdict(value, q, math.nan))
            rows.append(
                {"name": effect["name"], "value": value, "low": low, "high": high, "order_se": effect["order_se"]}
                | {"p": p, "adjusted": q, "verdict": verdict, "aliases": effect["aliases"], "main": family}
                | {"n": len(effect["values"])}
            )
    return pd.DataFrame(rows)


def _interval(values: np.ndarray, order_se: float, draws: int) -> tuple[float, float, float, float]:
    """(mean, low, high, p) over seeds; what sampled orders add to the variance is in."""
    value, low, high, p = stats.paired_t(values)
    n = len(values)
    if math.isnan(p) or math.isnan(order_se) or order_se == 0:
        return value, low, high, p
    seeds = float(values.var(ddof=1)) / n
    se, df = stats.summed([(seeds, n - 1), (order_se**2, draws - 1)])
    return value, *stats.t_test(value, se, df)


def _shapley(plan: Plan, table: pd.DataFrame) -> pd.DataFrame:
    k, at = len(plan["tricks"]), {frozenset(rung["on"]): place for place, rung in enumerate(plan["rungs"])}
    titles = [one_line(trick["title"]) for trick in plan["tricks"]]
    order_se = np.full(k, math.nan)
    if plan["orders"]:
        turns = np.array(plan["orders"])
        places = [[at[frozenset(order[:r])] for r in range(k + 1)] for order in plan["orders"]]
        values = np.array([stats.sampled_shapley(turns, row[places])[0] for row in table.to_numpy()]).reshape(-1, k)
        if len(table):
            order_se = stats.sampled_shapley(turns, table.to_numpy().mean(0)[places])[1]
    else:
        columns = [at[frozenset(j for j in range(k) if i >> j & 1)] for i in range(2**k)]
        values = stats.shapley(table.to_numpy()[:, columns])
    return _drafts(titles, values, order_se)


def _factorial(plan: Plan, table: pd.DataFrame) -> pd.DataFrame:
    k, titles = len(plan["tricks"]), [one_line(trick["title"]) for trick in plan["tricks"]]
    design = np.array([[1 if j in rung["on"] else -1 for j in range(k)] for rung in plan["rungs"]])
    found = stats.factorial_effects(design, table.to_numpy().T)

    def name(word: str) -> str:
        return " × ".join(titles[stats.FACTORS.index(letter)] for letter in word)

    groups = stats.aliases(k, plan["generators"]) if plan["generators"] else [(word,) for word in found]
    groups.sort(key=lambda group: (len(group[0]), group[0]))
    made = _drafts([name(group[0]) for group in groups], np.array([found[group[0]] for group in groups]).T)
    made["aliases"] = [", ".join(map(name, group[1:])) for group in groups]
    made["main"] = [len(group[0]) == 1 for group in groups]
    return made


def _drafts(names: list[str], values: np.ndarray, order_se: np.ndarray | None = None) -> pd.DataFrame:
    """One row a name; `values` are seeds x names."""
    spread = np.full(len(names), math.nan) if order_se is None else order_se
    return pd.DataFrame(
        {"name": names, "values": list(values.T), "order_se": spread, "aliases": "", "main": True}, dtype=object
    )
