"""The paper's tables (He et al. 2019) beside the runs of a study. Its numbers are in reports/published/, as printed.

`table1.csv` to `table9.csv` have a line for each cell: the paper's words for its row and column; the metric; the value,
empty where the paper prints a dash; the `rung` that makes it here, and the rung that its gain is `over`, empty where
there is none; and a note where the paper is at odds with itself. Params are in M, multiply-adds in G, times in min.
"""

import itertools
import math
import shlex
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike

import harness.report.frames as frames
import harness.report.tables as tables
from harness import Problem, one_line, stats
from harness.paths import shipped
from harness.report.figures import resolved
from harness.report.frames import Plan, Row
from harness.report.words import METRICS, SECOND, opening, spoken

FOLDER = shipped() / "reports" / "published"
SAME = {  # classes, train and test images
    "imagenet": (1000, 1_281_167, 50_000),
    "places365": (365, 1_803_460, 36_500),
    "voc": (20, 16_551, 4_952),
    "ade20k": (150, 20_210, 2_000),
}
SCORES = METRICS
COSTS = {"gmacs": "G", "params": "M", "minutes_per_epoch": "min"}
BEGINNING = {"detection": "voc", "segmentation": "ade20k"}  # of a study, by its ending; else "imagenet"
OTHER = "Other data than the paper's: of accuracy only signs and order of gains are compared."
ABLATE = ("python", "-m", "harness.ablate")
ALL_ORDERS = 9  # gains: 9! = 362,880 orders are all counted, of more some are drawn
DRAWN = 99_999

Pairs = dict[tuple[int, int], Row]  # (above, below): the gain between two places, with interval and verdict


def read(number: int) -> tuple[dict[str, str], pd.DataFrame]:
    """What tables.csv says of the paper's Table `number`, and its cells: text, and `paper`, the value as a number.

    Raises Problem where the files are not there.
    """
    try:
        every = pd.read_csv(FOLDER / "tables.csv", dtype=str, keep_default_na=False).set_index("table")
        cells = pd.read_csv(FOLDER / f"table{number}.csv", dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        text = f"{error.filename} is missing: the paper's numbers come with the repository, run the command from there"
        raise Problem(text) from None
    cells["paper"] = [float(value.split()[0]) if value else math.nan for value in cells["value"]]
    about: dict[str, str] = every.loc[str(number)].to_dict()
    return about, cells


def check(plan: Plan, number: int, ending: str) -> None:
    """Raise Problem where no run of this study is in the paper's Table `number`."""
    if plan["study"] != ending and not plan["study"].endswith(f"_{ending}"):
        like = ending if ending in SAME else f"{BEGINNING.get(ending, 'imagenet')}_{ending}"
        text = f"Table {number} is made by studies ending in {ending!r}, e.g. python -m harness.ablate {like}"
        raise Problem(f"{one_line(plan['study'])}: {text}")
    if plan["design"] != "ladder":
        text = f"a rung of --design {plan['design']} stands on other tricks than the paper's row of its name"
        raise Problem(f"{one_line(plan['label'])}: {text}; take {one_line(plan['study'])} without it")


def same_data(every: pd.DataFrame, data: str) -> bool:
    """Whether all runs were trained and tested on what the paper used, by what the records count."""
    counted = every[frames.counted(every)]
    return set(zip(*(counted[name] for name in ("classes", "trained", "tested")), strict=True)) == {SAME[data]}


def compare(plan: Plan, every: pd.DataFrame, number: int) -> tuple[str, str]:
    """The paper's Table `number` beside the runs `every` of a study, as (Markdown, CSV).

    Raises Problem where the table is not of this study.
    """
    about, cells = read(number)
    check(plan, number, about["study"])
    same, table = same_data(every, about["data"]), beside(plan, every, cells)
    letters, score = dict[str, str](), frames.headline(every)
    again = shlex.join([*ABLATE, *plan["command"]])
    other = spoken(OTHER, score) if len(every) else f"No run is here yet: {again}."
    for note in filter(None, table["note"]):
        letters.setdefault(note, f"({len(letters) + 1})")
    notes = [
        f"{about['title']} (He et al. 2019, Table {number}). The paper has one run a cell and tells no spread.",
        *([] if same else [other]),
        *_about_verdicts(plan, table, score),
        *(["Top-1 is that of the backbones by themselves."] if score != "top1" and _ran(table, "top1") else []),
        *(
            f"{mark} {spoken(text, score)}."
            for mark, text in frames.MARKS.values()
            if table["marks"].str.contains(mark).any()
        ),
        *_about_costs(table, same),
        *(line for metric in SCORES for line in agreement(table, metric)),
        *(f"{letter} {note}" for note, letter in letters.items()),
    ]
    told = table.assign(value=[f"{v or '–'} {letters.get(n, '')}".strip() for v, n in table[["value", "note"]].values])
    shown = [shown_scores(told, same), shown_costs(told, same)]
    made = [tables.markdown(part, part.columns.intersection(["row", "column", "over"])) for part in shown if len(part)]
    heading = f"{one_line(plan['label'])}: Table {number} of the paper"
    if not same:
        table = table.drop(columns="difference")
    return tables.document(heading, made, notes), tables.comma_separated(table.drop(columns=["value", "marks"]))


def beside(plan: Plan, every: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """One row a cell of the paper: its value and ours, and the gains of both over the cell that the paper's is over.

    Column by column, so that a gain stands below what it is over. Of costs `paper_gain` and `gain` are ratios. nan
    where there is no such run, or no such cell.
    """
    table = frames.rungs(plan, every).set_index("place")
    place = {one_line(rung["name"]): i for i, rung in reversed(list(enumerate(plan["rungs"])))}
    at, rows = frames.by_seed(every), []
    known = {(cell["rung"], cell["metric"]): cell for _, cell in cells.iterrows() if cell["rung"]}
    wanted = {(place.get(cell["rung"], -1), place.get(cell["over"], -1)): None for _, cell in cells.iterrows()}
    judged = {metric: gains(plan, every, metric, wanted) for metric in SCORES}
    for _, cell in cells.iterrows():
        metric, own, under = cell["metric"], place.get(cell["rung"], -1), place.get(cell["over"], -1)
        base = known.get((cell["over"], metric))
        row: Row = {name: cell[name] for name in ("row", "column", "metric", "value", "paper", "rung")}
        row["over"] = "" if base is None else base["column"] if base["row"] == cell["row"] else base["row"]
        row |= {"n": 0, "ours": math.nan, "sd": math.nan, "marks": "", "note": cell["note"], "paper_gain": math.nan}
        row |= {"gain": math.nan, "gain_low": math.nan, "gain_high": math.nan, "verdict": "", "agree": ""}
        if own in at:
            run = table.loc[own]
            row |= _ours(run, [one.get(metric) for one in at[own].values()], metric)
            row["marks"] = _marks(plan, at, run, (own, under))
        if base is not None and metric in COSTS:
            row["paper_gain"] = cell["paper"] / base["paper"]
            if own in at and under in at:
                row["gain"] = row["ours"] / _ours(table.loc[under], [], metric)["ours"]
        elif base is not None:
            row["paper_gain"] = round(cell["paper"] - base["paper"], 6)  # both have two decimals: no 0.4000000001
            row |= judged[metric].get((own, under), {})
            row["agree"] = agrees(row["paper_gain"], row["gain"], row["verdict"])
        row["difference"] = row["ours"] / row["paper"] - 1 if metric in COSTS else row["ours"] - row["paper"]
        if metric == "minutes_per_epoch":
            row["difference"] = math.nan  # other hardware than the paper's 8 V100
        rows.append(row)
    columns = list(cells["column"].unique())
    return pd.DataFrame(sorted(rows, key=lambda row: columns.index(row["column"])))


def _marks(plan: Plan, at: dict[int, dict[int, Row]], run: pd.Series, shown: tuple[int, int]) -> str:
    """A rung's marks, for the gain between the two places `shown`, where that is not the one that the plan has."""
    own, under = shown
    if under >= 0 and plan["rungs"][own]["gain"] != [own, under]:
        other = any(frames.around(a) != frames.around(b) for _, a, b in frames.paired(at, shown))
        longer = plan["rungs"][own]["epochs"] != plan["rungs"][under]["epochs"]
        run = pd.Series({**run, "budget_changed": longer, "elsewhere": other, "also": False})
    return frames.marks(run)


def _ours(run: pd.Series, values: list[Any], metric: str) -> Row:
    """The mean, s.d. and number of scores; or a cost in the paper's units."""
    if metric in COSTS:
        cost = {"gmacs": run["gmacs"], "params": run["params"] / 1e6}
        return {"ours": float(cost.get(metric, run["seconds_per_epoch"] / 60)), "n": int(run["n"])}
    told = [value for value in values if value is not None and not math.isnan(value)]
    mean, sd = stats.mean_sd(told) if told else (math.nan, math.nan)
    return {"ours": mean, "sd": sd, "n": len(told)}


def gains(plan: Plan, every: pd.DataFrame, metric: str, wanted: Iterable[tuple[int, int]]) -> Pairs:
    """Gains in points, paired by seed, of the `wanted` pairs of places that have runs, each with its verdict.

    A gain in the headline metric that the plan has is as the study's report has it. The others are tested as those
    are, after Holm over themselves and the plan's; not at all where seeds were added by looks at the plan's.
    """
    at, table = frames.by_seed(every), frames.rungs(plan, every).set_index("place")
    planned = {tuple(rung["gain"]): i for i, rung in enumerate(plan["rungs"]) if rung["gain"] and i in table.index}
    odd = frames.barred(plan, at)
    arms, shared = {}, {}
    for above, below in dict.fromkeys((*(planned if metric == frames.headline(every) else ()), *wanted)):
        seeds = sorted(at.get(above, {}).keys() & at.get(below, {}).keys())
        both = np.array([[at[place][seed].get(metric, math.nan) for seed in seeds] for place in (above, below)], float)
        told = ~np.isnan(both).any(axis=0)
        if told.any():
            arms[above, below] = both[:, told]
            shared[above, below] = [seed for seed, has in zip(seeds, told, strict=True) if has]
    found: Pairs = {}
    tested = every["tested"].unique()
    images = len(tested) == 1 and frames.headline(every) == "top1"
    step = 100 / float(tested[0]) if images else None  # one test image
    test = frames.test_of(plan)
    for pair, c in zip(arms, stats.compare(arms.values(), test, step=step, seeds=list(shared.values())), strict=True):
        verdict = "" if plan["decide"] else c.verdict
        found[pair] = {"gain": c.gain, "gain_low": c.low, "gain_high": c.high, "verdict": verdict}
    for pair, i in planned.items():
        if i in odd:
            found[pair] = {"verdict": table.loc[i, "verdict"]}
        elif metric == frames.headline(every):
            found[pair] = table.loc[i, ["gain", "gain_low", "gain_high", "verdict"]].to_dict()
    return found


def agrees(paper: float, ours: float, verdict: str) -> str:
    """Of two gains: "same sign", "opposite", or "not resolved" where ours is not; "" where there are not two."""
    if math.isnan(paper) or math.isnan(ours):
        return ""
    if not resolved(verdict):
        return "not resolved"
    return "same sign" if paper * ours > 0 else "opposite"


# --- how far the two agree -------------------------------------------------------------------------------------------


def order_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of Spearman's ρ: the share of orders of `b` whose |ρ| is as great; ties keep their mean rank.

    Of more than `ALL_ORDERS` values it is of `DRAWN` orders, themselves counted among them.
    """
    x, y = (ranks - ranks.mean() for ranks in map(scipy.stats.rankdata, (a, b)))
    n = len(x)
    if n <= ALL_ORDERS:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        drawn = np.tile(np.arange(n), (DRAWN, 1))
        orders = np.vstack([np.arange(n), np.random.default_rng(0).permuted(drawn, axis=1)])
    return float((np.abs(y[orders] @ x) >= abs(x @ y) - 1e-9).mean())


def agreement(table: pd.DataFrame, metric: str) -> list[str]:
    """How many gains of `metric` have the paper's sign, whether their order is the paper's, and how little it says."""
    both = table[(table["metric"] == metric) & table["paper_gain"].notna() & table["gain"].notna()]
    m, name = len(both), opening(SCORES[metric])
    if not m:
        return []
    agree = np.sign(both["paper_gain"]) == np.sign(both["gain"].round(9))  # 1e-14 is 0
    known = both["verdict"].map(resolved)
    up = int((both["paper_gain"] > 0).sum())
    sure = f"and {agree[known].sum()} of the {known.sum()} that are resolved here" if known.any() else "none resolved"
    lines = [
        f"{name}: {agree.sum()} of {m} gains have the paper's sign, {sure}. {up} of the paper's {m} are above 0, so a "
        f"table of gains alone would agree on {up}."
    ]
    paper, ours = both["paper_gain"], both["gain"]
    if m < 3 or paper.nunique() == 1 or ours.nunique() == 1:
        return [f"{lines[0]} They have no order to compare."]
    rho, tau, p = scipy.stats.spearmanr(paper, ours)[0], scipy.stats.kendalltau(paper, ours)[0], order_p(paper, ours)
    least = 2 / math.factorial(m)
    how = "exact" if m <= ALL_ORDERS else f"of {DRAWN:,} orders drawn"
    lines.append(
        f"{name}, order of the {m} gains: Spearman's ρ = {rho:.2f}, Kendall's τ = {tau:.2f}. A random order has a |ρ| "
        f"at least this large with p = {p:.2g} ({how}; with {m} gains p is at least {least:.1g}). Gains that share a "
        "rung share its noise, so they say less than as many independent ones."
    )
    return lines


# --- as text ---------------------------------------------------------------------------------------------------------


def shown_scores(table: pd.DataFrame, same: bool) -> pd.DataFrame:
    """One row a cell of accuracy as text."""
    own = table[table["metric"].isin(SCORES)]
    text = own[["row", "column"]].assign(paper=own["value"])
    text["ours"] = [_mean(cell) for _, cell in own.iterrows()]
    if same:
        text["difference"] = [tables.gain(points, math.nan, math.nan) for points in own["difference"]]
    if not own["over"].any():
        return text
    text["over"] = own["over"].replace("", "–")
    text["paper's gain"] = [tables.gain(points, math.nan, math.nan) for points in own["paper_gain"]]
    text["our gain"] = list(map(tables.gain, own["gain"], own["gain_low"], own["gain_high"]))
    return text.assign(verdict=own["verdict"].replace("", "–"), agree=own["agree"].replace("", "–"))


def _mean(cell: pd.Series) -> str:
    if not cell["n"]:
        return "no run"
    spread = "" if math.isnan(cell["sd"]) else f" ± {cell['sd']:.2f}"
    return f"{cell['ours']:.2f}{spread} (n = {cell['n']}) {cell['marks']}".strip()


def shown_costs(table: pd.DataFrame, same: bool) -> pd.DataFrame:
    """One row a cell of cost as text."""
    own = table[table["metric"].isin(COSTS)]
    text = own[["row", "column"]].assign(paper=own["value"])
    units = own["metric"].map(COSTS)
    text["ours"] = [
        f"{cell['ours']:.3g} {unit} {cell['marks'] if unit == 'min' else ''}".strip() if cell["n"] else "no run"
        for (_, cell), unit in zip(own.iterrows(), units, strict=True)
    ]
    if same and own["difference"].notna().any():
        text["difference"] = ["–" if math.isnan(share) else f"{100 * share:+.1f} %" for share in own["difference"]]
    text["over"] = own["over"].replace("", "–")
    for heading, name in (("paper's ratio", "paper_gain"), ("our ratio", "gain")):
        text[heading] = ["–" if math.isnan(ratio) else f"× {ratio:.2f}" for ratio in own[name]]
    return text


def _ran(table: pd.DataFrame, metric: str) -> bool:
    return bool((table["n"][table["metric"] == metric] > 0).any())


def _about_verdicts(plan: Plan, table: pd.DataFrame, score: str) -> list[str]:
    if not table["agree"].any():
        return []
    how = (
        "not tested, for seeds were added by looks at the others"
        if plan["decide"]
        else "tested the same way, after Holm over all gains in that metric"
    )
    return [
        f"Gains: points, paired by seed, with 95 % intervals. Verdicts on {METRICS[score]} are those of the study's "
        f"own report where it plans that gain; other gains, and {METRICS[SECOND[score]]}, are {how}. What is not "
        "resolved here confirms nothing."
    ]


def _about_costs(table: pd.DataFrame, same: bool) -> list[str]:
    told = set(table["metric"])
    lines = ["GFLOPs are multiply-adds, the paper's too."] * ("gmacs" in told)
    if "minutes_per_epoch" in told:
        lines.append("Other hardware than the paper's 8 V100: of minutes an epoch only ratios are compared.")
    return lines
