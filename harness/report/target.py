"""What it costs to reach a target: epochs and seconds of each rung, and what each trick saves, paired by seed.

A rung has as many whole epochs as the mean over its seeds takes to reach the target, found by whole runs of several
lengths (`harness.study.target`). Between the longest that falls short and the one that reaches it, the epochs at which
the means cross the target are told, with a value for each seed, as `stats.crossings` has it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import harness.report.frames as frames
import harness.report.tables as tables
from harness import one_line, stats
from harness.paths import write_atomic
from harness.report.figures import resolved
from harness.report.findings import bare
from harness.report.frames import Plan, Row
from harness.report.words import METRICS, opening
from harness.store import Store

COSTS = ("epochs", "seconds")
Pair = tuple[int, int]


def frame(plan: Plan, store: Store) -> pd.DataFrame:
    """One row a rung: the mean `epochs` and `seconds` to the target, s.d. and values by seed, and what they save.

    `length` is the whole number of epochs that reached the target, `low` the greatest tried that did not; `score` and
    `score_sd` are of the first, or of the longest where none did. `epochs_saved` and `seconds_saved` are those of the
    rung that it is held to less its own, with 95 % t-intervals and verdicts after Holm, each cost by itself. nan where
    the target was not reached, or not by whole runs that are all there.
    """
    rows: list[Row] = []
    for place, rung in enumerate(plan["rungs"]):
        told = plan["target"]["rungs"][place]
        ids = {length["epochs"]: length["id"] for length in told["tried"]}
        last = told["reached"] or max(ids)
        row: Row = {"place": place, "rung": one_line(rung["name"]), "title": one_line(rung["title"])}
        row |= {"ended": told["ended"], "reached": told["reached"] is not None, "length": last, "low": told["low"]}
        row["tried"] = ", ".join(map(str, sorted(ids)))
        at = _records(store, ids[last], rung["seeds"])
        row["n"] = len(at)
        row["score"], row["score_sd"] = stats.mean_sd([_scored(record) for record in at.values()])
        row["metric"] = next((record.get("score", "top1") for record in at.values()), "top1")
        below = _records(store, ids[told["low"]], rung["seeds"]) if told["low"] else {}
        rows.append(row | _costs(plan["target"]["score"], told, rung["seeds"], at, below))
    made = pd.DataFrame(rows)
    planned = {place: tuple(rung["gain"]) for place, rung in enumerate(plan["rungs"]) if rung["gain"]}
    for cost in COSTS:
        found = saved(plan, made, cost, planned.values())
        for name in ("gain", "gain_low", "gain_high", "verdict"):
            none = "" if name == "verdict" else math.nan
            own = [found.get(planned.get(place, (-1, -1)), {}).get(name, none) for place in made["place"]]
            made[name.replace("gain", f"{cost}_saved").replace("verdict", f"{cost}_verdict")] = own
    return made


def _records(store: Store, spec_id: str, seeds: Iterable[int]) -> dict[int, dict[str, Any]]:
    return {seed: store.read(spec_id, seed) for seed in seeds if (spec_id, seed) in store}


def _scored(record: Mapping[str, Any]) -> float:
    return float(record["metrics"][record.get("score", "top1")])


def _costs(target: float, told: Row, seeds: list[int], at: Mapping[int, Row], below: Mapping[int, Row]) -> Row:
    """Epochs and seconds by seed; seconds are as many an epoch as the seed's run at the length that reached it."""
    whole = told["ended"] and told["reached"] and len(at) == len(seeds) and (not told["low"] or len(below) == len(at))
    values: dict[str, dict[int, float]] = {cost: {} for cost in COSTS}
    if whole:
        low, high = ([_scored(each[seed]) for seed in seeds if seed in each] for each in (below, at))
        epochs = stats.crossings(told["low"], low, told["reached"], high, target)
        values["epochs"] = dict(zip(seeds, epochs.tolist(), strict=True))
        values["seconds"] = {seed: n * at[seed]["seconds_per_epoch"] for seed, n in values["epochs"].items()}
    row: Row = {}
    for cost, own in values.items():
        mean, sd = stats.mean_sd(list(own.values())) if own else (math.nan, math.nan)
        row |= {cost: mean, f"{cost}_sd": sd, f"{cost}_by_seed": own}
    return row


def saved(plan: Plan, table: pd.DataFrame, cost: str, wanted: Iterable[Pair]) -> dict[Pair, Row]:
    """What the first of each pair of places saves over the second, paired by seed: gains, intervals and verdicts.

    Tested together with those that the plan has; none where one of the two has not reached the target.
    """
    by_seed = dict(zip(table["place"], table[f"{cost}_by_seed"], strict=True))
    planned = [tuple(rung["gain"]) for rung in plan["rungs"] if rung["gain"]]
    arms, seeds = {}, []
    for above, below in dict.fromkeys((*planned, *wanted)):
        both = sorted(by_seed.get(above, {}).keys() & by_seed.get(below, {}).keys())
        if both:
            arms[above, below] = [[by_seed[place][seed] for seed in both] for place in (below, above)]
            seeds.append(both)
    found = stats.compare(arms.values(), frames.test_of(plan), step=0.0, seeds=seeds)
    return {
        pair: {"gain": c.gain, "gain_low": c.low, "gain_high": c.high, "verdict": c.verdict}
        for pair, c in zip(arms, found, strict=True)
    }


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """One row a rung as text; what a page shows at once comes first."""
    text = pd.DataFrame({"rung": table["title"]})
    for cost, decimals in (("epochs", 2), ("seconds", 1)):
        text[cost] = [tables.spread(mean, sd, decimals) for mean, sd in table[[cost, f"{cost}_sd"]].to_numpy()]
        names = [f"{cost}_saved", f"{cost}_saved_low", f"{cost}_saved_high"]
        text[f"{cost} saved"] = [tables.gain(gain, low, high, decimals) for gain, low, high in table[names].to_numpy()]
        if cost == "epochs":
            text["verdict"] = [verdict or "–" for verdict in table["epochs_verdict"]]
            text["whole epochs"] = [
                str(row["length"]) if row["reached"] else _short(row) for _, row in table.iterrows()
            ]
    metric = table["metric"].iloc[0]
    text[METRICS[metric]] = [tables.spread(row["score"], row["score_sd"]) for _, row in table.iterrows()]
    text["n"] = table["n"].astype(str)
    text["tried"] = table["tried"]
    return text


def _short(row: pd.Series) -> str:
    return f"not reached by {row['length']}" if row["ended"] else f"{row['length']} to be run"


def notes(plan: Plan, table: pd.DataFrame) -> list[str]:
    """What to know of such a table, and of each rung that did not reach the target, in a line."""
    score, metric = plan["target"]["score"], METRICS[table["metric"].iloc[0]]
    lines = [
        f"Each rung trains for as many whole epochs as the mean over its seeds takes to reach {score:g} % {metric}, "
        "found by bisection over whole runs of the lengths tried. That assumes that more epochs do not make it worse.",
        "Epochs: where the line between the longest that falls short and the one that reaches it crosses the target; "
        "their s.d. is over the seeds, from the noise of both. Seconds: as many an epoch as these runs took.",
        "Saved: the rung that it is built on, or held to, less its own; paired by seed, 95 % intervals, verdicts after "
        "Holm over the table. The choice of the two lengths by the same runs is in no interval.",
    ]
    for _, row in table.iterrows():
        if row["ended"] and not row["reached"]:
            lines.append(f"{row['title']}: never reached {score:g} %: {row['score']:.2f} after {row['length']} epochs.")
        elif not row["ended"]:
            lines.append(f"{row['title']}: its runs of {row['length']} epochs are missing; the same command goes on.")
        elif pd.isna(row["low"]):
            lines.append(f"{row['title']}: reached by the shortest tried, {row['length']}: fewer might do.")
    return lines


def told(plan: Plan, table: pd.DataFrame, ends: Sequence[Pair]) -> list[str]:
    """What was found: the epochs of the first rung and the last, what all tricks save, and which of them are resolved.

    `ends` are (above, below) of what all tricks together gave, as `findings.far` has them. No line of a table without
    two rungs that reached the target.
    """
    score, metric = plan["target"]["score"], METRICS[table["metric"].iloc[0]]
    by_place, lines = table.set_index("place"), []
    for (above, below), total in saved(plan, table, "epochs", ends).items():
        if (above, below) in ends:
            first, last = (
                f"{bare(row['title'])} takes {row['epochs']:.2f} ± {row['epochs_sd']:.2f} epochs"
                for row in (by_place.loc[below], by_place.loc[above])
            )
            share = total["gain"] / by_place.loc[below, "epochs"]
            found = tables.gain(total["gain"], total["gain_low"], total["gain_high"], 2)
            lines.append(
                f"To {score:g} % {metric} {first}, {last}. Saved in total: {found} "
                f"epochs, {100 * share:.0f} % ({total['verdict']})."
            )
    if lines:
        verdicts = {bare(row["title"]): row["epochs_verdict"] for _, row in table.iterrows() if row["epochs_verdict"]}
        for word, own in (("Resolved", True), ("Not resolved", False)):
            named = [title for title, verdict in verdicts.items() if resolved(verdict) == own]
            lines += [f"{word}, each by itself: {'; '.join(named)}."] if named else []
        lines.append("All other numbers here are of the runs at those lengths, which were chosen to end alike.")
    return lines


def write(folder: Path, study: str, plan: Plan, table: pd.DataFrame) -> str:
    """Write target.{md,csv}; returns the first."""
    metric = opening(METRICS[table["metric"].iloc[0]])
    heading = (
        f"{one_line(study)}: epochs to {plan['target']['score']:g} % {metric.lower() if metric == 'Top-1' else metric}"
    )
    text = tables.document(heading, [tables.markdown(shown(table), ["rung"])], notes(plan, table))
    values = table.drop(columns=["place", "title", "epochs_by_seed", "seconds_by_seed"])
    write_atomic(folder / "target.md", text.encode())
    write_atomic(folder / "target.csv", tables.comma_separated(values).encode())
    return text
