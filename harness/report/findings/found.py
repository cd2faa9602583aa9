"""What a study found, in bullets and tables made from its frames: never of more than they hold."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

import harness.report.frames as frames
import harness.report.tables as tables
from harness import one_line, stats
from harness.report.findings.doubts import confounds, costs
from harness.report.findings.gains import (
    READING,
    RESOLVABLE,
    Gain,
    at_a_glance,
    interactions,
    set_apart,
    told_gains,
    verdicts,
    way_of,
)
from harness.report.findings.paper import beside_paper
from harness.report.findings.transfer import transferred
from harness.report.findings.words import DESIGNS, Section, bare, listed, score_of, span
from harness.report.frames import Plan
from harness.report.words import count, flops, opening, spoken
from harness.store import Store


def found(
    plan: Plan, store: Store, every: pd.DataFrame, table: pd.DataFrame, effects: pd.DataFrame | None
) -> list[Section]:
    """What the study found; `table` and `effects` as frames has them of the runs `every`."""
    table = table.set_index("place", drop=False)
    gains, ends = told_gains(plan, table, effects), far(plan, table)
    opening = [
        *_made_of(plan, every, table),
        *_in_all(plan, every, table, effects, ends),
        *at_a_glance(plan, gains),
    ]
    sections = [
        Section("", tuple(opening)),
        verdicts(gains, frames.measure(table).points),
        Section(READING, tuple(_how(plan, table, ends, gains) if gains else ())),
        Section("Interactions", tuple(interactions(effects))),
        Section("Runs set apart", tuple(set_apart(plan, every, table, gains))),
        *transferred(every, frames.backbones(plan, store, every)),
        *beside_paper(plan, every, gains),
        Section("What else may be in a gain", tuple(confounds(plan, table))),
        Section("Cost", tuple(costs(plan, store, every, table, ends))),
    ]
    return [section for section in sections if section]


def markdown(study: str, told: Iterable[Section], commands: Iterable[str]) -> str:
    parts = [f"# {tables.literal(one_line(study))}: what was found"]
    for section in told:
        parts += [f"## {tables.literal(section.about)}"] if section.about else []
        parts += [tables.markdown(section.table, section.table.columns)] if section.table is not None else []
        parts += ["\n".join(f"- {tables.literal(line)}" for line in section.lines)] if section.lines else []
    made = "\n".join("    " + one_line(line, 2000) for line in commands)
    return "\n\n".join([*parts, "## To make it again", made]) + "\n"


def _made_of(plan: Plan, every: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """The study, its data, its first network, and how many runs of it there are."""
    first, good = table.iloc[0], every[frames.counted(every)].iloc[0]
    params, classes = first["params"], good["classes"]
    rungs, tricks = count(len(plan["rungs"]), "rung"), count(len(plan["tricks"]), "trick")
    size = f"{params / 1e6:.2f} M" if params >= 1e5 else f"{params:,}"
    asked = {(rung["id"], seed) for rung in plan["rungs"] for seed in rung["seeds"]}
    have = {(plan["rungs"][place]["id"], seed) for place, seed in zip(every["place"], every["seed"], strict=True)}
    damaged = {(plan["rungs"][place]["id"], seed) for place, seed in frames.apart(every)["damaged"]}
    lines = [
        f"{DESIGNS[plan['design']].format(rungs=rungs, tricks=tricks)}: {count(len(have), 'run')}, "
        f"{_each(table['n'], 'seed')} for each rung, {_each(table['epochs'], 'epoch')}, on "
        f"{', '.join(sorted(set(every['device'])))}.",
        f"Trained on {good['trained']:,} images{f' of {classes:,.0f} classes' if pd.notna(classes) else ''}, tested on "
        f"{good['tested']:,}. The first rung's network has {size} parameters and takes {flops(first['gmacs'])} "
        "(multiply-adds) for an image.",
    ]
    if plan["decide"]:
        when, error = frames.planned(plan["decide"])
        doubt = "" if (when, error) == frames.BEFOREHAND else f" The error of all rows and looks together is {error}."
        known = f"known to ± {plan['decide']['points']:g}"
        lines.append(f"Seeds were added, at looks {when}, until gains were resolved or {known}.{doubt}")
    if asked - have - damaged:
        lines.append(f"{len(asked - have - damaged):,} of {count(len(asked), 'run')} are still missing.")
    return lines


def _each(numbers: pd.Series, what: str) -> str:
    return f"{span(numbers)} {what}{'s' * bool(max(numbers) != 1)}"


def _how(plan: Plan, table: pd.DataFrame, ends: list[tuple[int, int]], gains: Sequence[Gain]) -> list[str]:
    """What the numbers are."""
    score = frames.headline(table)
    one = "total" if len(ends) == 1 else "totals"
    total = f" and the {one}" if ends and not plan["decide"] else ""
    if plan["design"] in frames.EFFECTS:
        lines = [spoken(frames.EFFECTS[plan["design"]], score)]
        tests = f"Verdicts are of t-tests after Holm over the tricks{total}."
    else:
        own = table.loc[table["gain"].notna(), "gain_pairs"]
        pairs = f" over the {span(own)} seeds of its look" if plan["decide"] and len(own) else ""
        lines = [f"A gain is in {frames.measure(table).of} {frames.GAINS[plan['design']]}, paired by seed{pairs}."]
        kind = "moderated" if (leans := (table["test"] == "moderated").any()) else "paired"
        tests = f"Verdicts are of {kind} t-tests after Holm over {count(int(table['p'].count()), 'gain')}{total}"
        own_tests = "a plain one" if len(ends) == 1 else "plain ones"
        tests += f", the {one} by {own_tests}." if leans and total else "."
        tests = "Verdicts are of group-sequential t-tests." if plan["decide"] else tests
    if not any(gain.verdict for gain in gains):
        return lines
    lines += ["Brackets are 95 % intervals, each for its own row.", tests]
    lines.append("So an interval may leave out 0 though its gain is not resolved.")
    if not all(math.isnan(gain.mde) for gain in gains):
        lines.append(
            f"The {RESOLVABLE} is what a row would resolve with probability .8, given the spread of its own seeds."
        )
    return lines


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
) -> list[str]:
    """How the score went from the first rung to the last, as far as the design has such two."""
    first, by = table.iloc[0], frames.measure(table)
    metric, many = opening(by.title), by.decimals
    if not ends:
        return [f"{metric} of {bare(first['title'])} is {score_of(first, many)}."]
    totals = _totals(plan, every, table, effects, ends)
    if len(ends) > 1:
        items = [f"{bare(table.loc[above, 'title'])} {said}" for (above, _), said in zip(ends, totals, strict=True)]
        return [
            f"{metric} of {bare(first['title'])} is {score_of(first, many)}.",
            f"In total over it: {listed(items)}.",
        ]
    (above, below), (said,) = ends[0], totals
    at = [f"{score_of(row, many)} ({bare(row['title'])})" for _, row in table.loc[[below, above]].iterrows()]
    return [f"{metric} went from {at[0]} to {at[1]}. In total: {said}."]


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
    share = 1.0 if effects is not None else float(table["share"].min())
    adjusted = (stats.holm([*own, *new])[len(own) :] / share).clip(max=1)
    told, verdicts, by = [], table["verdict"].to_dict(), frames.measure(table)
    for (above, below), x, (gain, low, high, _), q, known in zip(ends, tests, drafts, adjusted, planned, strict=True):
        verdict = verdicts[above] if known else by.turned(stats.adjusted_verdict(gain, q, math.nan))
        if any(verdicts.get(place, "").startswith(frames.BARRED) for place in way_of(plan, above, below)):
            told.append("no number, because rungs on the way cannot be compared")
        elif not x:
            told.append("no number, because no seed has both")
        else:
            if known:
                gain, low, high = table.loc[above, ["gain", "gain_low", "gain_high"]]
            n = int(table.loc[above, "gain_pairs"]) if known else len(x)
            tested = known or not plan["decide"]
            said = verdict if tested else "not tested, because seeds were added by looks"
            told.append(
                f"{tables.gain(gain, low, high, by.decimals)} {by.points}{' ' * bool(by.points)}over "
                f"{count(n, 'pair')} of runs{f' ({said})' * bool(said)}"
            )
    return told
