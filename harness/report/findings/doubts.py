"""What may be in a gain beside its trick, and what it costs."""

from contextlib import suppress

import pandas as pd

import harness.report.frames as frames
from harness import Problem, one_line
from harness.report.findings.words import ONLY, bare, listed, some, span, spent
from harness.report.frames import Plan
from harness.report.plans import built_on
from harness.report.words import count, flops, spoken
from harness.store import Store

CLOCK = "These are medians by the clock, on a machine that may have been busy."


def confounds(plan: Plan, table: pd.DataFrame) -> list[str]:
    """What the plan knows to be in a gain beside the trick, or that no run here varied."""
    rungs, lines = plan["rungs"], []
    longer = [
        f"{bare(row['title'])} ({rungs[above]['epochs']} epochs against {rungs[below]['epochs']})"
        for _, row in table[table["budget_changed"]].iterrows()
        for above, below in [rungs[row["place"]]["gain"]]
    ]
    if plan["design"] in frames.EFFECTS:
        longer = [one_line(trick["title"]) for trick in plan["tricks"] if "epochs" in trick["moves"]]
    if longer:
        lines.append(f"These gains include another length of training: {listed(longer)}.")
    lines += _trained_first(plan, table)
    if table["emulated"].any():
        said = spoken("their accuracy is that of the precision, their speed is not", frames.headline(table))
        lines.append(f"The precision is emulated in {some(table, 'emulated')}: {said}.")
    more = [
        f"{bare(row['title'])} ({', '.join(rungs[row['place']]['also'])})" for _, row in table[table["also"]].iterrows()
    ]
    if more:
        lines.append(f"More than the trick differs for {listed(more)}.")
    if table["elsewhere"].any():
        lines.append(
            f"Hardware, commits or library versions differ between the runs compared for {some(table, 'elsewhere')}."
        )
    if any(rung.get("microbatch") for rung in rungs):
        lines.append("Where a batch was taken in passes, batch norm saw one pass at a time.")
    if len(rungs) > 1:
        tuned = "Settings that no trick changes are the baseline's. They were not tuned for each rung."
        lines += [] if "tuned" in plan else [tuned]
        lines += [ONLY[plan["design"]]] if plan["design"] in ONLY else []
    return [*lines, "All numbers are of one split into training and test images."]


def _trained_first(plan: Plan, table: pd.DataFrame) -> list[str]:
    """Of the networks that rungs build on: whether each seed has its own, so that their spread is in the intervals."""
    seeds = {rung["name"]: rung["seeds"] for rung in plan["rungs"]}
    own, one = set[str](), set[str]()
    for inner in plan["upstream"]:
        each = len(seeds.get(inner["of"], ())) > 1 and inner.get("seeds") == seeds[inner["of"]]
        (own if each else one).add(one_line(inner["of"]))
    marked = table.assign(one=table["rung"].isin(one), own=table["rung"].isin(own))
    told = (
        ("one", "one for all seeds", "No interval includes the spread of such networks"),
        ("own", "one for each seed", "The intervals include the spread of such networks"),
    )
    return [
        f"Another network is trained first, {how}, for {some(marked, mark)}. {where}; "
        "the seconds per epoch leave it out."
        for mark, how, where in told
        if marked[mark].any()
    ]


def costs(plan: Plan, store: Store, every: pd.DataFrame, table: pd.DataFrame, ends: list[tuple[int, int]]) -> list[str]:
    runs = {
        (plan["rungs"][place]["id"], seed): seconds
        for place, seed, seconds in zip(every["place"], every["seed"], every["seconds"], strict=True)
    }
    first = [key for key in built_on(plan) if key in store]
    for key in first:
        with suppress(Problem):  # it is damaged, and does not tell
            runs[key] = runs.get(key) or store.read(*key)["seconds"]
    both = table.loc[[*ends[0]]] if len(ends) == 1 else table
    seconds, macs = both["seconds_per_epoch"], both["gmacs"]
    told = "{:.3g}".format
    if len(ends) == 1:
        (above, below), (dear, cheap), (more, less) = both["title"].map(bare), seconds, macs
        lines = [
            f"An epoch of {above} takes {told(dear)} s, one of {below} {told(cheap)} s (× {dear / cheap:.2f}). {CLOCK}",
            f"An image takes {flops(more)} in {above}, and {flops(less)} in {below} (× {more / less:.2f}).",
        ]
    else:
        lines = [
            f"An epoch takes {span(seconds, told)} s, depending on the rung. {CLOCK}",
            f"An image takes {span(macs, flops)}, depending on the rung.",
        ]
    also = f", {count(len(first), 'network')} trained first among them," if first else ""
    return [*lines, f"All {count(len(runs), 'run')}{also} took {spent(sum(runs.values()))} of training."]
