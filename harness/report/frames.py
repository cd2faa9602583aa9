"""Frames: one row a run, and one row a rung.

A rung is known by its `place` in the plan, not by its name: two names may be the same, or be cut to the same.
"""

from typing import Any

import pandas as pd

from harness import one_line, stats
from harness.store import Store

Plan = dict[str, Any]


def runs(plan: Plan, store: Store) -> pd.DataFrame:
    """One row for each (rung, seed) that the store has, in the order of the plan."""
    rows = []
    for place, rung in enumerate(plan["rungs"]):
        for seed in rung["seeds"]:
            record = store.read(rung["id"], seed) if (rung["id"], seed) in store else store.refused(rung["id"], seed)
            if record:
                rows.append(
                    {
                        "place": place,
                        "rung": one_line(rung["name"]),
                        "seed": seed,
                        "status": record["status"],
                        **record["metrics"],
                        "params": record["params"],
                        "gmacs": record["macs"] / 1e9,
                        "seconds_per_epoch": record["seconds_per_epoch"],
                        "precision": record["precision"]["name"],
                        "emulated": record["precision"]["emulated"],
                        "device": one_line(record["environment"]["device_name"]),
                        "commit": record["environment"]["commit"],
                    }
                )
    return pd.DataFrame(rows, columns=None if rows else ["place", "rung", "status"])


def counted(every: pd.DataFrame) -> pd.Series:
    """The runs that enter a table: finished and diverged ones, not the refused."""
    return every["status"].isin(["finished", "diverged"])


def ladder(plan: Plan, every: pd.DataFrame) -> pd.DataFrame:
    """One row a rung of `plan` that has runs; accuracies and gains in points of percent, unrounded.

    `gain` is over the rung below in the plan, `total` over the baseline; each the mean of differences paired by seed,
    with the bounds of its 95 % t-interval. nan where either side has no run, or fewer than two pairs give no interval.
    """
    good = every[counted(every)]
    top1 = {place: dict(zip(rows["seed"], rows["top1"], strict=True)) for place, rows in good.groupby("place")}
    upstream = {inner["of"] for inner in plan["upstream"]}
    rows = []
    for i, rung in enumerate(plan["rungs"]):
        if i not in top1:
            continue
        own = good[good["place"] == i]
        mean, sd = stats.mean_sd(own["top1"])
        row: dict[str, Any] = {"place": i, "rung": one_line(rung["name"]), "title": one_line(rung["title"])}
        row |= {"n": len(own), "top1_mean": mean, "top1_sd": sd}
        for prefix, other in (("gain", i - 1), ("total", 0)):
            gain, low, high, pairs = stats.paired_gain(top1[i], top1.get(other, {}) if i else {})
            row |= {prefix: gain, f"{prefix}_low": low, f"{prefix}_high": high, f"{prefix}_pairs": pairs}
        row["verdict"] = stats.verdict(row["gain_low"], row["gain_high"])
        if "top5" in own and own["top5"].notna().all():
            row["top5_mean"], row["top5_sd"] = stats.mean_sd(own["top5"])
        row |= {
            "params": own["params"].iloc[0],
            "gmacs": own["gmacs"].iloc[0],
            "seconds_per_epoch": own["seconds_per_epoch"].median(),
            "epochs": rung["epochs"],
            "budget_changed": i > 0 and plan["rungs"][i - 1]["epochs"] != rung["epochs"],
            "upstream": rung["name"] in upstream,
            "emulated": bool(own["emulated"].any()),
            "diverged": int((own["status"] == "diverged").sum()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


MARKS = {
    "budget_changed": ("†", "trains for another number of epochs than the rung below: part of its gain may be length"),
    "upstream": ("§", "needs another network trained first; its seconds an epoch leave that out"),
    "emulated": ("‡", "FP16 emulated: accuracy is that of half precision, speed is not"),
}


def marks(row: pd.Series) -> str:
    return "".join(mark for name, (mark, _) in MARKS.items() if row[name])


def footnotes(plan: Plan, every: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know: how numbers were made, marks, and runs that are not as the others."""
    notes = [
        "Top-1 and top-5: mean ± s.d. over n seeds, percent of the test set after the last epoch. Gains: points of "
        "top-1, paired by seed, with 95 % t-intervals, not adjusted for the number of rows; one that contains 0 is "
        "not resolved.",
        "GFLOPs are multiply-adds of one image's forward. Seconds an epoch: median, training alone, on "
        + ", ".join(sorted(set(every["device"])))
        + ".",
    ]
    if plan["settings"]:
        notes.insert(0, f"With {', '.join(one_line(said, 300) for said in plan['settings'])}.")
    notes += [f"{mark} {text}." for name, (mark, text) in MARKS.items() if table[name].any()]
    small = {rung["title"]: rung["microbatch"] for rung in plan["rungs"] if rung.get("microbatch")}
    if small:
        which = ", ".join(f"{title} ({images} images)" for title, images in small.items())
        notes.append(f"In passes whose gradients add up to the batch's; batch norm saw a pass, not the batch: {which}.")
    for status, text in (("diverged", "diverged, and counted in n"), ("refused", "refused by its evidence, left out")):
        named = every[every["status"] == status]
        if len(named):
            which = ", ".join(f"{r.rung} seed {r.seed}" for r in named.itertuples())
            notes.append(f"{len(named)} run{'s' * (len(named) > 1)} {text}: {which}.")
    lacking = [
        f"{one_line(rung['name'])} ({len(rung['seeds']) - have} of {len(rung['seeds'])})"
        for place, rung in enumerate(plan["rungs"])
        if (have := int((every["place"] == place).sum())) < len(rung["seeds"])
    ]
    if lacking:
        notes.append(f"Runs still missing: {', '.join(lacking)}.")
    if len(set(every["device"])) > 1:
        notes.append("Runs come from different hardware.")
    if len(set(every["commit"])) > 1:
        notes.append("Runs come from different commits of the harness.")
    return notes
