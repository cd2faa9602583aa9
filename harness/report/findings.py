"""What a study found, in sentences made from its frames. No claim is stronger than its verdict."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

import harness.report.frames as frames
import harness.report.published as published
import harness.report.tables as tables
from harness import Problem, one_line, stats
from harness.report.frames import Plan, Row
from harness.spec import UPSTREAM_SEED
from harness.store import Store

Paragraph = tuple[str, str]  # what it is about, "" of the opening; its sentences, not escaped
NAMED = 12  # rungs that a sentence names, those of the largest gains first
DESIGNS = {
    "ladder": "is a ladder of {rungs}",
    "leave-one-out": "holds {tricks} together against all but each, {rungs}",
    "add-one": "holds each of {tricks}, alone, against the baseline, {rungs}",
    "shapley": "tells the Shapley values of {tricks} from {rungs}",
    "factorial": "is a factorial of {tricks} in {rungs}",
}
ONLY = {  # what the gains of a design leave open
    "ladder": "Each gain is on top of the rungs that it is built on: in another order it may be another.",
    "leave-one-out": "Each gain is on top of all other tricks: what a trick gives alone may differ.",
    "add-one": "Each gain is of a trick alone: what several give together is not in it.",
}


@dataclass(frozen=True)
class Gain:
    """What a table says that tricks gave, in points of top-1: `added` to those of `below`, by name."""

    name: str
    value: float
    low: float
    high: float
    verdict: str
    mde: float = math.nan
    aliases: str = ""
    added: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()

    def __str__(self) -> str:
        aliased = f" (aliased with {self.aliases})" if self.aliases else ""
        return f"{self.name} {tables.gain(self.value, self.low, self.high)}{aliased}"


def found(
    plan: Plan, store: Store, every: pd.DataFrame, table: pd.DataFrame, effects: pd.DataFrame | None
) -> list[Paragraph]:
    """What the study found; `table` and `effects` as frames has them of the runs `every`."""
    table = table.set_index("place", drop=False)
    gains, ends = told_gains(plan, table, effects), far(plan, table)
    paragraphs = [
        ("", f"{_made_of(plan, every, table)} {_in_all(plan, every, table, effects, ends)}"),
        ("", _how(plan, table, ends) if gains else ""),
        *_by_verdict(plan, gains),
        ("Interactions", _interactions(effects)),
        ("Not as the others", _apart(plan, every, table, gains)),
        *beside_paper(every, gains),
        ("What else may be in a gain", _confounds(plan, table)),
        ("Cost", _cost(plan, store, every, table, ends)),
    ]
    return [(about, text) for about, text in paragraphs if text]


def markdown(study: str, told: Iterable[Paragraph], commands: Iterable[str]) -> str:
    paragraphs = [f"**{about}.** {tables.literal(text)}" if about else tables.literal(text) for about, text in told]
    made = "\n".join("    " + one_line(line, 2000) for line in commands)
    return "\n\n".join([f"# {tables.literal(one_line(study))}: what was found", *paragraphs, made]) + "\n"


# --- words -----------------------------------------------------------------------------------------------------------


def bare(title: str) -> str:
    """What the gain of a rung is of: its title without the sign before it."""
    return re.sub(r"^[+−] ", "", title)


def _rung(title: str) -> str:
    """The rung itself, which of "− mixup" is the one without."""
    return bare(re.sub(r"^− ", "without ", title))


def _listed(items: Iterable[object]) -> str:
    every = list(map(str, items))
    more = [f"and {len(every) - NAMED} more"] if len(every) > NAMED else []
    return "; ".join([*every[:NAMED], *more])


def _some(table: pd.DataFrame, mark: str) -> str:
    """The rungs with a mark: their names, or of more than three their number."""
    names = [_rung(title) for title in table.loc[table[mark], "title"]]
    if len(names) > 3:
        return f"all {len(table)} rungs" if len(names) == len(table) else f"{len(names)} of {len(table)} rungs"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _range(values: Iterable[float], told: Callable[[float], str] = "{:,}".format) -> str:
    ends = sorted(values)
    return " to ".join(dict.fromkeys((told(ends[0]), told(ends[-1]))))


def _top1(row: pd.Series) -> str:
    spread = "" if math.isnan(row["top1_sd"]) else f" ± {row['top1_sd']:.2f}"
    return f"{row['top1_mean']:.2f}{spread}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# --- the study -------------------------------------------------------------------------------------------------------


def _made_of(plan: Plan, every: pd.DataFrame, table: pd.DataFrame) -> str:
    """The study, its data, its first network, and how many runs of it there are."""
    first, good = table.iloc[0], every[frames.counted(every)].iloc[0]
    params, classes = first["params"], good["classes"]
    rungs, tricks = _count(len(plan["rungs"]), "rung"), _count(len(plan["tricks"]), "trick")
    size = f"{params / 1e6:.2f} M" if params >= 1e5 else f"{params:,}"
    asked = {(rung["id"], seed) for rung in plan["rungs"] for seed in rung["seeds"]}
    have = {(plan["rungs"][place]["id"], seed) for place, seed in zip(every["place"], every["seed"], strict=True)}
    damaged = {(plan["rungs"][place]["id"], seed) for place, seed in frames.apart(every)["damaged"]}
    lines = [
        f"{one_line(plan['label'])} {DESIGNS[plan['design']].format(rungs=rungs, tricks=tricks)}: "
        f"{_count(len(have), 'run')}, {_range(table['n'])} seed{'s' * bool(table['n'].max() > 1)} a rung, of "
        f"{_range(table['epochs'])} epochs on {', '.join(sorted(set(every['device'])))}.",
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
            f"{_count(len(asked - have - damaged), 'run')} of {len(asked):,} are missing still; this is what there is."
        )
    return " ".join(lines)


def _how(plan: Plan, table: pd.DataFrame, ends: list[tuple[int, int]]) -> str:
    """What the numbers below are."""
    if plan["design"] in frames.EFFECTS:
        text = f"{frames.EFFECTS[plan['design']]} In brackets 95 % intervals; verdicts are after Holm over the tricks"
    else:
        own = table.loc[table["gain"].notna(), "gain_pairs"]
        pairs = f" over the {_range(own)} seeds of its look" if plan["decide"] and len(own) else ""
        tests = f"paired t-tests after Holm over all {table['p'].count()}"
        text = (
            f"Each rung's gain is in points of top-1 {frames.GAINS[plan['design']]}, paired by seed{pairs}, with the "
            f"95 % interval in brackets; verdicts are of {'group-sequential t-tests' if plan['decide'] else tests}"
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
    """How top-1 went from the first rung to the last, as far as the design has such two."""
    first = table.iloc[0]
    if not ends:
        return f"Top-1 of {bare(first['title'])} is {_top1(first)}."
    totals = _totals(plan, every, table, effects, ends)
    if len(ends) > 1:
        items = [f"{bare(table.loc[above, 'title'])} {said}" for (above, _), said in zip(ends, totals, strict=True)]
        return f"Top-1 of {bare(first['title'])} is {_top1(first)}. Totals over it: {_listed(items)}."
    (above, below), (said,) = ends[0], totals
    at = [f"{_top1(row)} ({bare(row['title'])})" for _, row in table.loc[[below, above]].iterrows()]
    return f"Top-1 went from {at[0]} to {at[1]}: the total is {said}."


def _totals(
    plan: Plan, every: pd.DataFrame, table: pd.DataFrame, effects: pd.DataFrame | None, ends: list[tuple[int, int]]
) -> list[str]:
    """Each total gain with its verdict, after Holm over the table's own tests and these."""
    good, at = every[frames.counted(every)], dict[int, dict[int, float]]()
    for place, seed, top1 in zip(good["place"], good["seed"], good["top1"], strict=True):
        at.setdefault(place, {})[seed] = top1
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
        if any(verdicts.get(place, "").startswith(frames.BARRED) for place in _way(plan, above, below)):
            told.append("not told, for rungs on the way cannot be compared")
        elif not x:
            told.append("not told, for no seed has both")
        else:
            if known:
                gain, low, high = table.loc[above, ["gain", "gain_low", "gain_high"]]
            n = int(table.loc[above, "gain_pairs"]) if known else len(x)
            said = _judged(verdict) if known or not plan["decide"] else "not tested, as seeds were added by looks"
            told.append(f"{tables.gain(gain, low, high)} points, paired over {_count(n, 'seed')}, {said}")
    return told


def _way(plan: Plan, above: int, below: int) -> Sequence[int]:
    """The places from `above` down to the one over `below`; of a design that compares no rungs, all."""
    if plan["design"] in frames.EFFECTS:
        return range(len(plan["rungs"]))
    way = [above]
    while (gain := plan["rungs"][way[-1]]["gain"]) and gain[1] != below:
        way.append(gain[1])
    return way


def _judged(verdict: str) -> str:
    if verdict in ("helps", "hurts"):
        return f"which {verdict}"
    return f"which is {verdict}" if verdict else "so without interval and verdict"


# --- its gains -------------------------------------------------------------------------------------------------------


def told_gains(plan: Plan, table: pd.DataFrame, effects: pd.DataFrame | None) -> list[Gain]:
    """Each gain, or main effect, that the study's table has, the largest first."""
    names = [one_line(trick["name"]) for trick in plan["tricks"]]
    if effects is not None:
        title = {one_line(trick["title"]): name for trick, name in zip(plan["tricks"], names, strict=True)}
        made = [_effect(row, title[row["name"]]) for row in effects.to_dict("records") if row["main"]]
    else:
        on = [frozenset(names[i] for i in rung["on"]) for rung in plan["rungs"]]
        rows: list[Row] = [row for row in table.to_dict("records") if plan["rungs"][row["place"]]["gain"]]
        made = []
        for row in rows:
            above, below = plan["rungs"][row["place"]]["gain"]
            added = on[above] - on[below] if on[below] <= on[above] else frozenset[str]()
            size = row["gain"], row["gain_low"], row["gain_high"]
            made.append(Gain(bare(row["title"]), *size, row["verdict"], row["mde"], "", added, on[below]))
    return sorted(made, key=lambda gain: -abs(np.nan_to_num(gain.value)))


def _effect(row: Row, *names: str) -> Gain:
    size = row["value"], row["low"], row["high"]
    return Gain(row["name"], *size, row["verdict"], math.nan, row["aliases"], frozenset(names))


def _by_verdict(plan: Plan, gains: Sequence[Gain]) -> list[Paragraph]:
    """A paragraph a verdict."""
    known = [gain for gain in gains if not math.isnan(gain.value)]
    helps, hurts = ([g for g in known if g.verdict.startswith(word)] for word in ("helps", "hurts"))
    open_ = [g for g in known if g.verdict.startswith(("not resolved", "known"))]
    untested = [g for g in known if not g.verdict]
    told = [("Helps", f"{_listed(helps)}." if helps else ""), ("Hurts", f"{_listed(hurts)}." if hurts else "")]
    if open_:
        items = [f"{g}{_seen(g)}" for g in open_]
        text = f"{_listed(items)}."
        if not all(math.isnan(g.mde) for g in open_):
            text += " Seen, that is resolved, with chance .8, by the spread that the rung's own seeds had."
        told.append(("Not resolved", text))
    if untested:
        why = "The first planned look is still to come." if plan["decide"] else "One pair of seeds gives no verdict."
        told.append(("Not tested", f"{_listed(untested)}. {why}"))
    return told


def _seen(gain: Gain) -> str:
    if gain.verdict.startswith("known"):
        return f", {gain.verdict}"
    return "" if math.isnan(gain.mde) else f", would have been seen if at least {gain.mde:.2f}"


def _interactions(effects: pd.DataFrame | None) -> str:
    own = [row for row in effects.to_dict("records") if not row["main"]] if effects is not None else []
    if not own:
        return ""
    said = [(_effect(row), tables.TOGETHER[row["verdict"]]) for row in own if row["verdict"] in tables.TOGETHER]
    items = [f"{gain}, {word}" for gain, word in sorted(said, key=lambda pair: -abs(pair[0].value))]
    if not items:
        return f"Of {len(own)} none is resolved."
    return f"Of {len(own)}, {len(items)} {'is' if len(items) == 1 else 'are'} resolved: {_listed(items)}."


def _apart(plan: Plan, every: pd.DataFrame, table: pd.DataFrame, gains: Sequence[Gain]) -> str:
    """Rungs whose gain is not told, and runs that did not end as runs do."""
    lines = []
    odd = [f"{gain.name} ({gain.verdict})" for gain in gains if gain.verdict.startswith(frames.BARRED)]
    alone = [gain.name for gain in gains if math.isnan(gain.value) and not gain.verdict]
    if odd:
        lines.append(f"No gain is told of what cannot be compared: {_listed(odd)}.")
    if alone:
        lines.append(f"No pair of runs tells a gain yet of {_listed(alone)}.")
    for what, text in (
        ("diverged", "diverged, and counted with the accuracy then reached"),
        ("refused", "refused by the evidence, and in no number here"),
        ("damaged", "damaged, and in no number here"),
    ):
        own = frames.apart(every)[what]
        if own:
            items = [f"{_rung(one_line(plan['rungs'][place]['title']))} seed {seed}" for place, seed in own]
            lines.append(f"{_count(len(own), 'run')} {text}: {_listed(items)}.")
    return " ".join(lines)


# --- the paper -------------------------------------------------------------------------------------------------------

Known = dict[str, tuple[float, str]]  # by rung: the paper's top-1, and the rung that its gain is over


def paper_gain(number: int, known: Known, added: frozenset[str], below: frozenset[str]) -> float:
    """The paper's gain, in points, of `added` tricks in its Table `number`; nan where it has none.

    Rows of Table 5 are networks of which each takes the other's place: the gain is over the one that is in `below`. Two
    tricks that Table 6 has together and apart: a gain with the other on is over the other, 79.29 - 79.15 for
    distillation where there is mixup.
    """
    ways = {rung.partition(".")[0] for rung in known if "." in rung} & below
    start = "".join(f"{way}." for way in sorted(ways))
    own = {rung.removeprefix(start): rung for rung in known if rung.startswith(start)}
    sets = {frozenset(name.split("+")): rung for name, rung in own.items() if "." not in name}
    for together, rung in sets.items():
        rest = together - added
        if added < together and rest <= below and rest in sets:
            return round(known[rung][0] - known[sets[rest]][0], 6)
    if added not in sets:
        return math.nan
    rung = sets[added]
    over = known[rung][1]
    if number == 5:
        earlier = list(known)[: list(known).index(rung)]
        over = [name for place, name in enumerate(earlier) if not place or name in below][-1] if earlier else ""
    return round(known[rung][0] - known[over][0], 6) if over else math.nan


def paper_gains(gains: Iterable[Gain]) -> list[tuple[Gain, float]]:
    """The gains that Tables 4, 5 and 6 have a number for, with it; none where the paper's numbers are not there."""
    if not any(gain.added for gain in gains):
        return []
    top1: dict[int, Known] = {}
    try:
        for number in (4, 5, 6):
            cells = published.read(number)[1]
            cells = cells[(cells["metric"] == "top1") & (cells["rung"] != "")]
            top1[number] = {rung: (paper, over) for rung, paper, over in cells[["rung", "paper", "over"]].values}
    except Problem:
        return []
    made = []
    for gain in gains:
        if math.isnan(gain.value) or gain.verdict.startswith(frames.BARRED):
            continue
        values = [paper_gain(number, known, gain.added, gain.below) for number, known in top1.items() if gain.added]
        made += [(gain, value) for value in values if not math.isnan(value)]
    return made


def beside_paper(every: pd.DataFrame, gains: Sequence[Gain]) -> list[Paragraph]:
    """The gains that the paper has a number for, by whether signs agree, and how far signs and order do."""
    both = paper_gains(gains)
    if not both:
        return []
    same = published.same_data(every, "imagenet")
    lines = [
        f"He et al. (2019, Tables 4 to 6) have a number for {len(both)} of these gains, each of one run, without a "
        "spread, on top of the tricks before it in their order."
    ]
    if not same:
        lines.append("Their data are others, so only signs and order are compared.")
    said: dict[str, list[str]] = {"opposite": [], "same sign": [], "not resolved": []}
    for gain, paper in both:
        said[published.agrees(paper, gain.value, gain.verdict)].append(
            f"{gain.name} (paper {tables.gain(paper, math.nan, math.nan)}, here "
            f"{tables.gain(gain.value, gain.low, gain.high)})"
        )
    words = {
        "opposite": "Opposite sign, and resolved here",
        "same sign": "Same sign, and resolved here",
        "not resolved": "Not resolved here, which neither confirms nor refutes",
    }
    if not said["opposite"]:
        lines.append("No gain that is resolved here has the opposite sign.")
    lines += [f"{words[what]}: {_listed(items)}." for what, items in said.items() if items]
    rows = [("top1", paper, gain.value, gain.verdict) for gain, paper in both]
    agreement = published.agreement(pd.DataFrame(rows, columns=["metric", "paper_gain", "gain", "verdict"]), "top1")
    return [("Where it disagrees with the paper", " ".join(lines)), ("", " ".join(agreement))]


# --- what else, and what it cost -------------------------------------------------------------------------------------


def _confounds(plan: Plan, table: pd.DataFrame) -> str:
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
        lines.append(f"The length of training is in what these give: {_listed(longer)}.")
    if table["upstream"].any():
        lines.append(
            f"Another network is trained first, with one seed, for {_some(table, 'upstream')}: what another one would "
            "give is in no interval, and its cost not in the seconds an epoch."
        )
    if table["emulated"].any():
        lines.append(
            f"FP16 is emulated in {_some(table, 'emulated')}: its accuracy is that of half precision, its speed not."
        )
    more = [
        f"{bare(row['title'])} ({', '.join(rungs[row['place']]['also'])})" for _, row in table[table["also"]].iterrows()
    ]
    if more:
        lines.append(f"More than the trick differs for {_listed(more)}.")
    if table["elsewhere"].any():
        lines.append(
            f"Hardware, commits or library versions differ between the runs compared for {_some(table, 'elsewhere')}."
        )
    if any(rung.get("microbatch") for rung in rungs):
        lines.append("Batch norm saw a pass, not the batch, where a batch was taken in passes.")
    if len(rungs) > 1:
        tuned = "Settings that a trick does not change are those of the baseline: none was tuned for a rung."
        lines += [] if "tuned" in plan else [tuned]
        lines += [ONLY[plan["design"]]] if plan["design"] in ONLY else []
    return " ".join([*lines, "All numbers are of one split into training and test images."])


def _cost(plan: Plan, store: Store, every: pd.DataFrame, table: pd.DataFrame, ends: list[tuple[int, int]]) -> str:
    runs = {
        (plan["rungs"][place]["id"], seed): seconds
        for place, seed, seconds in zip(every["place"], every["seed"], every["seconds"], strict=True)
    }
    first = [key for key in {(inner["id"], UPSTREAM_SEED): 0 for inner in plan["upstream"]} if key in store]
    for key in first:
        with suppress(Problem):  # it is damaged, and does not tell
            runs[key] = runs.get(key) or store.read(*key)["seconds"]
    both = table.loc[[*ends[0]]] if len(ends) == 1 else table
    seconds, macs = both["seconds_per_epoch"], both["gmacs"]
    told = "{:.3g}".format
    if len(ends) == 1:
        (above, below), (dear, cheap), (more, less) = both["title"].map(bare), seconds, macs
        text = (
            f"An epoch takes {told(dear)} s at {above} against {told(cheap)} s at {below}, × {dear / cheap:.2f}: "
            f"medians by the clock, whatever else ran. An image takes {told(more)} against {told(less)} GFLOPs, "
            f"× {more / less:.2f}."
        )
    else:
        text = (
            f"An epoch takes {_range(seconds, told)} s, medians by the clock, whatever else ran, and an image "
            f"{_range(macs, told)} GFLOPs, by the rung."
        )
    also = f", {_count(len(first), 'network')} trained first among them," if first else ""
    return f"{text} All {_count(len(runs), 'run')} together{also} trained for {_time(sum(runs.values()))}."
