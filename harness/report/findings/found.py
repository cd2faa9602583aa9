"""What a study found, in sentences made from its frames: never of more than they hold."""

import math
from collections.abc import Iterable

import pandas as pd

import harness.report.frames as frames
import harness.report.tables as tables
from harness import one_line, stats
from harness.report.findings.doubts import confounds, costs
from harness.report.findings.gains import by_verdict, interactions, judged, set_apart, told_gains, way_of
from harness.report.findings.paper import beside_paper
from harness.report.findings.transfer import transferred
from harness.report.findings.words import DESIGNS, Paragraph, bare, listed, score_of, span
from harness.report.frames import Plan
from harness.report.words import METRICS, count, opening, spoken
from harness.store import Store


def found(
    plan: Plan, store: Store, every: pd.DataFrame, table: pd.DataFrame, effects: pd.DataFrame | None
) -> list[Paragraph]:
    """What the study found; `table` and `effects` as frames has them of the runs `every`."""
    table = table.set_index("place", drop=False)
    gains, ends = told_gains(plan, table, effects), far(plan, table)
    paragraphs = [
        ("", f"{_made_of(plan, every, table)} {_in_all(plan, every, table, effects, ends)}"),
        ("", _how(plan, table, ends) if gains else ""),
        *by_verdict(plan, gains),
        ("Interactions", interactions(effects)),
        ("Not as the others", set_apart(plan, every, table, gains)),
        *transferred(every, frames.backbones(plan, store, every)),
        *beside_paper(every, gains),
        ("What else may be in a gain", confounds(plan, table)),
        ("Cost", costs(plan, store, every, table, ends)),
    ]
    return [(about, text) for about, text in paragraphs if text]


def markdown(study: str, told: Iterable[Paragraph], commands: Iterable[str]) -> str:
    paragraphs = [f"**{about}.** {tables.literal(text)}" if about else tables.literal(text) for about, text in told]
    made = "\n".join("    " + one_line(line, 2000) for line in commands)
    return "\n\n".join([f"# {tables.literal(one_line(study))}: what was found", *paragraphs, made]) + "\n"


def _made_of(plan: Plan, every: pd.DataFrame, table: pd.DataFrame) -> str:
    """The study, its data, its first network, and how many runs of it there are."""
    first, good = table.iloc[0], every[frames.counted(every)].iloc[0]
    params, classes = first["params"], good["classes"]
    rungs, tricks = count(len(plan["rungs"]), "rung"), count(len(plan["tricks"]), "trick")
    size = f"{params / 1e6:.2f} M" if params >= 1e5 else f"{params:,}"
    asked = {(rung["id"], seed) for rung in plan["rungs"] for seed in rung["seeds"]}
    have = {(plan["rungs"][place]["id"], seed) for place, seed in zip(every["place"], every["seed"], strict=True)}
    damaged = {(plan["rungs"][place]["id"], seed) for place, seed in frames.apart(every)["damaged"]}
    lines = [
        f"{one_line(plan['label'])} {DESIGNS[plan['design']].format(rungs=rungs, tricks=tricks)}: "
        f"{count(len(have), 'run')}, {span(table['n'])} seed{'s' * bool(table['n'].max() > 1)} a rung, of "
        f"{span(table['epochs'])} epochs on {', '.join(sorted(set(every['device'])))}.",
        f"Trained on {good['trained']:,} images{f' of {classes:,.0f} classes' if pd.notna(classes) else ''}, tested on "
        f"{good['tested']:,}; the first rung's network has {size} parameters and takes "
        f"{first['gmacs']:.3g} GFLOPs (multiply-adds) an image.",
    ]
    if plan["decide"]:
        when, error = frames.planned(plan["decide"])
        doubt = "" if (when, error) == frames.BEFOREHAND else f" The error of all rows and looks together is {error}."
        known = f"known to ± {plan['decide']['points']:g}"
        lines.append(f"Seeds were added, at looks {when}, until gains were resolved or {known}.{doubt}")
    if asked - have - damaged:
        lines.append(
            f"{count(len(asked - have - damaged), 'run')} of {len(asked):,} are missing still; this is what there is."
        )
    return " ".join(lines)


def _how(plan: Plan, table: pd.DataFrame, ends: list[tuple[int, int]]) -> str:
    """What the numbers below are."""
    score = frames.headline(table)
    if plan["design"] in frames.EFFECTS:
        about = spoken(frames.EFFECTS[plan["design"]], score)
        text = f"{about} In brackets 95 % intervals; verdicts are after Holm over the tricks"
    else:
        own = table.loc[table["gain"].notna(), "gain_pairs"]
        pairs = f" over the {span(own)} seeds of its look" if plan["decide"] and len(own) else ""
        fixed = f"paired t-tests after Holm over all {table['p'].count()}"
        tests = "group-sequential t-tests" if plan["decide"] else fixed
        text = (
            f"Each rung's gain is in points of {METRICS[score]} {frames.GAINS[plan['design']]}, paired by seed{pairs}, "
            f"with the 95 % interval in brackets; verdicts are of {tests}"
        )
    totals = "the total" if len(ends) == 1 else "totals"
    total = f", {totals} tested with them" if ends and not plan["decide"] else ""
    return (
        f"{text}{total}. An interval is for itself alone: one that leaves out 0 may be of a gain that is not resolved."
    )


def far(plan: Plan, table: pd.DataFrame) -> list[tuple[int, int]]:
    """(above, below) of what all tricks together gave: of a ladder each end over the baseline."""
    rungs, have = plan["rungs"], list(table.index)
    if plan["design"] in frames.EFFECTS:
        sets = {len(rungs[place]["on"]): place for place in have}
        k = len(plan["tricks"])
        return [(sets[k], sets[0])] if k and {0, k} <= sets.keys() else []
    if plan["design"] != "ladder" or 0 not in have:
        return []
    under: set[int] = set()
    for place in have:
        while rungs[place]["gain"] and (place := rungs[place]["gain"][1]) not in under:
            under.add(place)
    return [(place, 0) for place in have if place and place not in under]


def _in_all(
    plan: Plan, every: pd.DataFrame, table: pd.DataFrame, effects: pd.DataFrame | None, ends: list[tuple[int, int]]
) -> str:
    """How the score went from the first rung to the last, as far as the design has such two."""
    first, metric = table.iloc[0], opening(METRICS[frames.headline(table)])
    if not ends:
        return f"{metric} of {bare(first['title'])} is {score_of(first)}."
    totals = _totals(plan, every, table, effects, ends)
    if len(ends) > 1:
        items = [f"{bare(table.loc[above, 'title'])} {said}" for (above, _), said in zip(ends, totals, strict=True)]
        return f"{metric} of {bare(first['title'])} is {score_of(first)}. Totals over it: {listed(items)}."
    (above, below), (said,) = ends[0], totals
    at = [f"{score_of(row)} ({bare(row['title'])})" for _, row in table.loc[[below, above]].iterrows()]
    return f"{metric} went from {at[0]} to {at[1]}: the total is {said}."


def _totals(
    plan: Plan, every: pd.DataFrame, table: pd.DataFrame, effects: pd.DataFrame | None, ends: list[tuple[int, int]]
) -> list[str]:
    """Each total gain with its verdict, after Holm over the table's own tests and these."""
    good, at = every[frames.counted(every)], dict[int, dict[int, float]]()
    for place, seed, score in zip(good["place"], good["seed"], good[frames.headline(good)], strict=True):
        at.setdefault(place, {})[seed] = score
    tests = [
        [at[above][seed] - at[below][seed] for seed in sorted(at[above].keys() & at[below])] for above, below in ends
    ]
    drafts = list(map(stats.paired_t, tests))
    own = table["p"] if effects is None else effects.loc[effects["main"].astype(bool), "p"] if len(effects) else ()
    planned = [list(plan["rungs"][above]["gain"] or ()) == [above, below] for above, below in ends]
    new = [math.nan if known else draft[-1] for known, draft in zip(planned, drafts, strict=True)]
    adjusted = stats.holm([*own, *new])[len(own) :]
    told, verdicts = [], table["verdict"].to_dict()
    for (above, below), x, (gain, low, high, _), q, known in zip(ends, tests, drafts, adjusted, planned, strict=True):
        verdict = verdicts[above] if known else stats.adjusted_verdict(gain, q, math.nan)
        if any(verdicts.get(place, "").startswith(frames.BARRED) for place in way_of(plan, above, below)):
            told.append("not told, for rungs on the way cannot be compared")
        elif not x:
            told.append("not told, for no seed has both")
        else:
            if known:
                gain, low, high = table.loc[above, ["gain", "gain_low", "gain_high"]]
            n = int(table.loc[above, "gain_pairs"]) if known else len(x)
            said = judged(verdict) if known or not plan["decide"] else "not tested, as seeds were added by looks"
            told.append(f"{tables.gain(gain, low, high)} points, paired over {count(n, 'seed')}, {said}")
    return told
