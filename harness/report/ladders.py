"""A published ladder beside the runs of a study: sign, order, and whether the gains themselves differ.

`reports/published/ladders.csv` has a line for each ladder: the study that makes it, what it is, the accuracy that its
epochs are for, the data, where its numbers were read, and what to know. `<ladder>.csv` has a line for each number: the
source's words; the metric; the value, its s.d. and the runs that it is of, empty where the source does not say; what is
`known` of it, "best of 3" say; the `rung` that makes it here, and the one that its gain is `over`; and a note.
`interactions.csv` names four rungs of a ladder: without two tricks, with each of them, and with both.

Epochs and seconds are those to a target (`harness.report.target`), and their gains are what is saved. Other costs are
ratios.
"""

import math
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import harness.report.frames as frames
import harness.report.published as published
import harness.report.tables as tables
import harness.report.target as target
from harness import Problem, one_line, stats
from harness.report.frames import Plan, Row
from harness.report.words import METRICS, together

SAVED = ("epochs", "seconds")
RATIOS = {"gmacs": "G", "images_per_second": "images/s"}
TITLES = {"epochs": "epochs", "seconds": "s", "gmacs": "GFLOPs", "images_per_second": "images/s", "mce": "mCE"}
SAME = {**published.SAME, "cifar10": (10, 50_000, 10_000)}


def ladders() -> pd.DataFrame:
    """What ladders.csv says of each, by its name. Raises Problem where the files are not there."""
    return _read("ladders").set_index("ladder")


def of(study: str, every: pd.DataFrame) -> str:
    """The ladder that a study makes: that of its name, or, of a small twin, of the rest of it.

    Raises Problem where there is none.
    """
    for name in sorted(every.index, key=len, reverse=True):
        if study == name or study.endswith(f"_{name}") or study == f"{name}_small":
            return str(name)
    text = f"there are {', '.join(every.index)}, and small twins of these such as cifar10_{every.index[0]}"
    raise Problem(f"{one_line(study)}: no published ladder is of it; {text}")


def read(ladder: str) -> tuple[dict[str, str], pd.DataFrame, pd.DataFrame]:
    """What is said of a ladder, its numbers, `paper`, `paper_sd` and `paper_n` as such, and its interactions."""
    about: dict[str, str] = ladders().loc[ladder].to_dict()
    cells, crossed = _read(ladder), _read("interactions")
    for name, own in (("paper", "value"), ("paper_sd", "sd"), ("paper_n", "n")):
        cells[name] = [float(text) if text else math.nan for text in cells[own]]
    return about, cells, crossed[crossed["ladder"] == ladder]


def _read(name: str) -> pd.DataFrame:
    try:
        return pd.read_csv(published.FOLDER / f"{name}.csv", dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        text = f"{error.filename} is missing: published numbers come with the repository, run the command from there"
        raise Problem(text) from None


def compare(plan: Plan, every: pd.DataFrame, reached: pd.DataFrame | None = None) -> tuple[str, str]:
    """The ladder of a study beside its runs `every`, as (Markdown, CSV); `reached` is of a plan with a target.

    Raises Problem where no ladder is of this study.
    """
    ladder = of(plan["study"], ladders())
    about, cells, crossed = read(ladder)
    table = beside(plan, every, cells, reached)
    same, two = _same(every, about["data"]), interactions(plan, every, cells, crossed)
    made = [tables.markdown(part, ["row", "over"]) for part in (_scores(table), _costs(table)) if len(part)]
    made += [tables.markdown(_crossed(two), ["interaction"])] if len(two) else []
    heading = f"{one_line(plan['label'])}: beside what was published"
    told = tables.comma_separated(pd.concat([table, two]).drop(columns=["value", "marks"]))
    return tables.document(heading, made, notes(plan, every, table, two, about, same)), told


def beside(plan: Plan, every: pd.DataFrame, cells: pd.DataFrame, reached: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row a published number: it and ours, both gains, and `apart`, our gain less theirs, with its test.

    `apart` has an interval, and p after Holm over the table, where both gains have an error: theirs is of two means
    that are told with s.d. and n, and ours is paired by seed. nan where there is no such run, or no such number.
    """
    place = {one_line(rung["name"]): i for i, rung in reversed(list(enumerate(plan["rungs"])))}
    table, at = frames.rungs(plan, every).set_index("place"), frames.by_seed(every)
    known = {(cell["rung"], cell["metric"]): cell for _, cell in cells.iterrows() if cell["rung"]}
    stands = [_stands(plan, place, cell) for _, cell in cells.iterrows()]
    pairs = dict.fromkeys((own, under) for own, under, _ in stands if under >= 0)
    judged = {m: published.gains(plan, every, m, pairs) for m in set(cells["metric"]) & set(published.SCORES)}
    spans = {} if reached is None else {row["place"]: row for _, row in reached.iterrows()}
    if reached is not None:
        judged |= {cost: target.saved(plan, reached, cost, pairs) for cost in SAVED}
    rows: list[Row] = []
    for (own, under, other), (_, cell) in zip(stands, cells.iterrows(), strict=True):
        metric, base = cell["metric"], known.get((cell["over"], cell["metric"]))
        row: Row = {name: cell[name] for name in ("row", "metric", "value", "paper", "paper_sd", "paper_n", "known")}
        row |= {"rung": cell["rung"], "over": "" if base is None else base["row"], "n": 0, "marks": ""}
        row |= dict.fromkeys(("ours", "sd", "paper_gain", "gain", "gain_low", "gain_high"), math.nan)
        row |= {"verdict": "", "agree": "", "apart": math.nan, "apart_low": math.nan, "apart_high": math.nan}
        row |= {"p": math.nan, "note": " ".join(filter(None, [cell["note"], other]))}
        if own in table.index:
            row |= _ours(table.loc[own], at[own], metric)
            row["marks"] = frames.marks(table.loc[own]) if metric in published.SCORES else ""
        if metric in SAVED and own in spans:
            reach = spans[own]
            row |= {"ours": reach[metric], "sd": reach[f"{metric}_sd"], "n": len(reach[f"{metric}_by_seed"])}
        if base is not None:
            ratio = metric in RATIOS
            row["paper_gain"] = cell["paper"] / base["paper"] if ratio else round(cell["paper"] - base["paper"], 6)
            if metric in SAVED or metric == "mce":
                row["paper_gain"] *= -1  # what is saved
            if ratio and own in table.index and under in table.index:
                row["gain"] = row["ours"] / _ours(table.loc[under], at[under], metric)["ours"]
            row |= judged.get(metric, {}).get((own, under), {})
            row["agree"] = "" if ratio else published.agrees(row["paper_gain"], row["gain"], row["verdict"])
            row |= _apart(at, (own, under), cell, base) if metric in published.SCORES else {}
        rows.append(row)
    made = pd.DataFrame(rows)
    made["p"] = stats.holm(made["p"])
    return made


def _stands(plan: Plan, place: Mapping[str, int], cell: Any) -> tuple[int, int, str]:
    """The places (above, below) of the gain that is ours, -1 for none; and what to know where it is over another rung.

    Where the rung that theirs is over is none here, ours is the gain that the plan has.
    """
    own, under = place.get(cell["rung"], -1), place.get(cell["over"], -1)
    planned = plan["rungs"][own]["gain"] if own >= 0 else None
    if own >= 0 and cell["over"] and under < 0 and planned and planned[0] == own:
        name = one_line(plan["rungs"][planned[1]]["title"])
        return own, planned[1], f"Here it stands on {name!r}, for want of what it stood on."
    return own, under, ""


def _ours(run: pd.Series, seeds: Mapping[int, Row], metric: str) -> Row:
    """The mean, s.d. and number of scores; or a cost in the source's units."""
    if metric == "gmacs":
        return {"ours": float(run["gmacs"]), "n": int(run["n"])}
    if metric == "images_per_second":
        return {"ours": next(iter(seeds.values()))["trained"] / float(run["seconds_per_epoch"]), "n": int(run["n"])}
    every = [row.get(metric) for row in seeds.values()] if metric in published.SCORES else []
    told = [float(value) for value in every if value is not None and not math.isnan(value)]
    mean, sd = stats.mean_sd(told) if told else (math.nan, math.nan)
    return {"ours": mean, "sd": sd, "n": len(told)}


def _apart(at: dict[int, dict[int, Row]], places: tuple[int, int], cell: Any, base: Any) -> Row:
    """Our gain less theirs, where both have an error."""
    metric = cell["metric"]
    both = [(above.get(metric), below.get(metric)) for _, above, below in frames.paired(at, places)]
    ours = [above - below for above, below in both if above is not None and below is not None]
    own, under = ((one["paper"], one["paper_sd"], one["paper_n"]) for one in (cell, base))
    if len(ours) < 2 or any(math.isnan(sd) or math.isnan(n) for _, sd, n in (own, under)):
        return {}
    gap, low, high, p = stats.gains_apart(ours, own, under)
    return {"apart": gap, "apart_low": low, "apart_high": high, "p": p}


def interactions(plan: Plan, every: pd.DataFrame, cells: pd.DataFrame, crossed: pd.DataFrame) -> pd.DataFrame:
    """One row a published interaction: what two tricks give together beyond what each gives alone, theirs and ours."""
    place = {one_line(rung["name"]): i for i, rung in reversed(list(enumerate(plan["rungs"])))}
    known = {(cell["rung"], cell["metric"]): cell["paper"] for _, cell in cells.iterrows() if cell["rung"]}
    at, tested = frames.by_seed(every), []
    rows: list[Row] = []
    for _, line in crossed.iterrows():
        metric, names = line["metric"], [line[name] for name in ("neither", "first", "second", "both")]
        theirs = np.array([known[name, metric] for name in names]) @ [1, -1, -1, 1]
        four = [at.get(place.get(name, -1), {}) for name in names]
        seeds = sorted(set.intersection(*(set(each) for each in four)))
        told = np.array([[each[seed].get(metric, math.nan) for each in four] for seed in seeds], float).reshape(-1, 4)
        tested.append(told @ [1, -1, -1, 1])
        rows.append({"row": line["title"], "metric": metric, "paper_gain": round(float(theirs), 6), "n": len(seeds)})
    for row, c in zip(rows, stats.compare(tested), strict=True):
        row |= {"gain": c.gain, "gain_low": c.low, "gain_high": c.high, "verdict": c.verdict}
        row["agree"] = published.agrees(row["paper_gain"], c.gain, c.verdict)
    return pd.DataFrame(rows)


def _same(every: pd.DataFrame, data: str) -> bool:
    counted = every[frames.counted(every)]
    return set(zip(*(counted[name] for name in ("classes", "trained", "tested")), strict=True)) == {SAME[data]}


# --- as text ---------------------------------------------------------------------------------------------------------


def notes(
    plan: Plan, every: pd.DataFrame, table: pd.DataFrame, two: pd.DataFrame, about: Mapping[str, str], same: bool
) -> list[str]:
    """What to know of such a comparison, most general first."""
    again = shlex.join([*published.ABLATE, *plan["command"]])
    lines = [f"Published: {about['title']}; {about['source']}.", about["note"]]
    if not len(every):
        lines.append(f"No run is here yet: {again}.")
    elif not same:
        lines.append("Other data, networks or lengths than those published: only signs and order are a repetition.")
    if table["agree"].any():
        how = "not tested, for seeds were added by looks at others" if plan["decide"] else "as in the study's report"
        lines.append(f"Our gains are paired by seed, with 95 % intervals; verdicts are {how}.")
    if (n := int(table["apart"].notna().sum())) > 0:
        sure = int((table["p"] < 0.05).sum())
        lines.append(
            f"Ours less theirs: Welch's t-test of our paired gain against the difference of their two means, whose "
            f"s.d. and n they tell; after Holm {sure} of {n} differ at .05."
        )
    elif table["paper_gain"].notna().any():
        kinds = together(dict.fromkeys("n not said" if k == "not said" else k for k in table["known"] if k))
        lines.append(f"No test of whether gains differ: theirs come without a spread ({kinds}).")
    scores = [metric for metric in published.SCORES if metric not in SAVED]
    lines += [line for metric in scores for line in published.agreement(table, metric)]
    lines += [line for metric in SAVED for line in _agreement(table, metric)]
    if len(two):
        lines.append("An interaction is what both tricks give together beyond the sum of what each gives alone.")
    return [*filter(None, lines), *dict.fromkeys(f"{row['row']}: {row['note']}" for _, row in _noted(table))]


def _noted(table: pd.DataFrame) -> Any:
    return table[table["note"] != ""].iterrows()


def _agreement(table: pd.DataFrame, metric: str) -> list[str]:
    """As `published.agreement` has it, of what is saved."""
    own = table[table["metric"] == metric].assign(metric="top1")
    words = {"Top-1": TITLES[metric].capitalize() if metric == "epochs" else "Seconds", "the paper's": "the published"}
    lines = published.agreement(own, "top1")
    for word, other in words.items():
        lines = [line.replace(word, other) for line in lines]
    return lines


def _scores(table: pd.DataFrame) -> pd.DataFrame:
    """One row a score, or a cost to a target, as text."""
    own = table[table["metric"].isin([*published.SCORES, *SAVED, "mce"])]
    if not len(own):
        return own
    text = own[["row"]].assign(metric=[TITLES.get(m) or METRICS[m] for m in own["metric"]])
    text["theirs"] = [_theirs(row) for _, row in own.iterrows()]
    text["ours"] = [_told(row) for _, row in own.iterrows()]
    text["over"] = own["over"].replace("", "–")
    text["their gain"] = [tables.gain(gain, math.nan, math.nan) for gain in own["paper_gain"]]
    text["our gain"] = list(map(tables.gain, own["gain"], own["gain_low"], own["gain_high"]))
    text["verdict"], text["agree"] = own["verdict"].replace("", "–"), own["agree"].replace("", "–")
    if own["apart"].notna().any():
        text["ours less theirs"] = list(map(tables.gain, own["apart"], own["apart_low"], own["apart_high"]))
        text["p"] = ["–" if math.isnan(p) else f"{p:.2g}" for p in own["p"]]
    return text


def _theirs(row: pd.Series) -> str:
    spread = "" if math.isnan(row["paper_sd"]) else f" ± {row['paper_sd']:g}"
    known = "" if row["known"] in ("", "not said") else f" ({row['known']})"
    return f"{row['value']}{spread}{known}"


def _told(row: pd.Series) -> str:
    if not row["rung"]:
        return "no rung here"
    if not row["n"] or math.isnan(row["ours"]):
        return "not measured here" if row["metric"] == "mce" else "no run"
    spread = "" if math.isnan(row["sd"]) else f" ± {row['sd']:.2f}"
    return f"{row['ours']:.2f}{spread} (n = {row['n']}) {row['marks']}".strip()


def _costs(table: pd.DataFrame) -> pd.DataFrame:
    """One row a cost as text."""
    own = table[table["metric"].isin(RATIOS)]
    text = own[["row"]].assign(metric=own["metric"].map(TITLES), theirs=own["value"])
    text["ours"] = [f"{row['ours']:.3g}" if row["n"] else _told(row) for _, row in own.iterrows()]
    text["over"] = own["over"].replace("", "–")
    for heading, name in (("their ratio", "paper_gain"), ("our ratio", "gain")):
        text[heading] = ["–" if math.isnan(ratio) else f"× {ratio:.2f}" for ratio in own[name]]
    return text


def _crossed(two: pd.DataFrame) -> pd.DataFrame:
    text = pd.DataFrame({"interaction": two["row"], "theirs": [f"{gain:+.2f}" for gain in two["paper_gain"]]})
    text["ours"] = list(map(tables.gain, two["gain"], two["gain_low"], two["gain_high"]))
    text["n"], text["agree"] = two["n"].astype(str), two["agree"].replace("", "–")
    return text
