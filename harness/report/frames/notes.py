"""What a reader of a table should know: its marks and footnotes, and the checks of every rung."""

import inspect
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from harness import metrics, one_line, stats
from harness.report.frames.judged import planned
from harness.report.frames.measured import metric_of
from harness.report.frames.pairs import apart, pairs_apart
from harness.report.frames.read import Plan, headline, measure
from harness.report.title import in_words
from harness.report.words import METRICS, SECOND, Measure, count, opening, spoken

COMMON = ("loop", "audit", "split", "test")  # what is checked of every run, whatever its parts


def evidence(plan: Plan, every: pd.DataFrame) -> pd.DataFrame:
    """One row a check of a rung: of its `n` runs `ok` passed; `seen` by the first that failed, else by the first.

    `own` says that a rung which it is set above had no such check: a trick between the two is what was measured.
    """
    found: dict[tuple[int, str, str], dict[str, Any]] = {}
    for place, checks in zip(every["place"], every.get("evidence", ()), strict=True):
        for check in checks:
            key = (place, check["part"], check["what"])
            row = found.get(key)
            if row is None:
                row = found[key] = {"expected": check["expected"], "seen": check["seen"], "ok": 0, "n": 0}
            if not check["ok"] and row["ok"] == row["n"]:
                row |= {"expected": check["expected"], "seen": check["seen"]}
            row["ok"] += bool(check["ok"])
            row["n"] += 1
    rows = []
    under: dict[int, list[int]] = {}  # the rungs that each is set above
    for rung in plan["rungs"]:
        if rung["gain"]:
            under.setdefault(rung["gain"][0], []).append(rung["gain"][1])
    for (place, part, what), row in found.items():
        rung = plan["rungs"][place]
        others = [found.get((other, part, what)) for other in under.get(place, ())]
        new = any(other is None or other["expected"] != row["expected"] for other in others)
        own = part not in COMMON and new
        named = {"place": place, "rung": one_line(rung["name"]), "title": one_line(rung["title"])}
        told = {name: one_line(row[name], 200) for name in ("expected", "seen")}
        rows.append(named | {"part": one_line(part), "what": one_line(what, 200)} | row | told | {"own": own})
    columns = ["place", "rung", "title", "part", "what", "expected", "seen", "ok", "n", "own"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("place", kind="stable").reset_index(drop=True)


MARKS = {
    "budget_changed": ("†", "trains for another number of epochs than it is compared with: length may be in the gain"),
    "upstream": ("§", "needs another network trained first; its seconds per epoch leave that out"),
    "emulated": ("‡", "precision emulated: accuracy is that of the precision, speed is not"),
    "also": ("¤", "differs in more than its trick from what it is compared with"),
    "elsewhere": ("¶", "compares runs of different hardware, commits, library versions or source of your own parts"),
}


def marks(row: pd.Series) -> str:
    return "".join(mark for name, (mark, _) in MARKS.items() if row[name])


GAINS = {
    "ladder": "over the rung that it is built on",
    "leave-one-out": "of all tricks over all but this one: what the trick gives on top of the others",
    "add-one": "over the baseline: what the trick gives alone",
    "against": "of each rung, with all tricks that it has, over the one that all are held against",
}


ABOUT = {  # of a metric that is not an image's: how it is made
    "mAP": (
        "mAP: the mean over classes of average precision at an IoU of .5, by eleven points as in VOC 2007; the area "
        "below the whole curve, as from VOC 2010 on, stands beside it.",
    ),
    "mIoU": (
        "mIoU: the mean over classes of intersection over union, in pixels of the whole set; pixel accuracy: the share "
        "of labelled pixels that is right.",
    ),
}


LOOSE = {  # on CUDA
    "mAP": "On CUDA the gradients of RoIAlign are summed in no fixed order: trained again, a run may differ.",
    "mIoU": "On CUDA the gradients of resized answers are summed in no fixed order: trained again, a run may differ.",
}


def glances(every: pd.DataFrame) -> list[str]:
    """Of how many of the test images curves are, in a line; none where of all."""
    fewer = sorted({int(n) for n in every["curve_images"].dropna()})
    runs = f"{every['curve_images'].notna().sum()} of {len(every)} runs"
    images = " or ".join(f"{n:,}" for n in fewer)
    told = f"Curves of {runs} are of {images} of the test images, but for the last point: --curve-images."
    return [told] if fewer else []


def footnotes(plan: Plan, every: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know: how numbers were made, marks, and runs that are not as the others."""
    kept = "with the weights kept" if any(rung.get("stops") for rung in plan["rungs"]) else "after the last epoch"
    score, by = headline(every), measure(every)
    beside = [METRICS[name] for name in (SECOND.get(score, ""),) if name in every and every[name].notna().any()]
    both = opening(" and ".join([METRICS[score], *beside]))
    unit = "percent of the test set" if by.unit == "%" else f"{by.unit or 'no unit'},"
    notes = [f"{both}: mean ± s.d. over n seeds, {unit} {kept}.", *ABOUT.get(score, ()), *_about_metric(plan)]
    if score != "balanced_accuracy" and "balanced_accuracy" in every:
        notes.append(f"The test set is uneven. {described(metrics.balanced_accuracy)}")
    if table["gain_pairs"].any():
        notes += _about_gains(plan, table, by)
    if plan["design"] in EFFECTS:
        notes += _about_effects(plan, score)
    notes.append(
        "GFLOPs are multiply-adds of one image's forward pass. Seconds per epoch: median, training alone, on "
        + ", ".join(sorted(set(every["device"])))
        + "."
    )
    if plan["settings"]:
        notes.insert(0, f"With {', '.join(one_line(in_words(said), 300) for said in plan['settings'])}.")
    for name, (mark, text) in MARKS.items():
        if table[name].any():
            which = [f"{one_line(r['title'])}: {', '.join(r['also'])}" for r in plan["rungs"] if r["also"]]
            told = f" ({'; '.join(which)})" if name == "also" else ""
            notes.append(f"{mark} {spoken(text, score)}{told}.")
    ended = []
    for place, rung in enumerate(plan["rungs"]):
        own = every["epochs"][(every["place"] == place) & (every["status"] == "finished")] if rung.get("stops") else ()
        lengths = sorted({len(epochs) for epochs in own})
        if lengths and lengths[0] < rung["epochs"]:
            told = " to ".join(map(str, sorted({lengths[0], lengths[-1]})))
            ended.append(f"{one_line(rung['title'])} after {told} of {rung['epochs']} epochs")
    if ended:
        notes.append(f"Stopped early, and length may be in the gain: {'; '.join(ended)}.")
    seen = [
        (sum(row.keys() & {score, f"val_{score}"} != set() for row in epochs), len(epochs))
        for score, epochs in every[["recorded", "epochs"]].itertuples(index=False)
    ]
    if few := sorted({points for points, epochs in seen if 0 < points < epochs}):
        many = count(few[0], "point") if len(few) == 1 else f"{few[0]} to {few[-1]} points"
        runs = f"{sum(0 < points < epochs for points, epochs in seen)} of {len(seen)} runs"
        between = ", and go straight in between" if few[-1] > 1 else ""
        notes.append(f"Curves of {runs} have {many}{between}: --curve-every.")
    notes += glances(every)
    small = {rung["title"]: rung["microbatch"] for rung in plan["rungs"] if rung.get("microbatch")}
    if small:
        which = [f"{title} ({images} images)" for title, images in small.items()]
        told = ", ".join(which)
        notes.append(f"In passes whose gradients add up to the batch's; batch norm saw a pass, not the batch: {told}.")
    named = apart(every)
    for what, text in (
        ("diverged", "diverged, and counted in n"),
        ("refused", "refused by its evidence, left out"),
        ("damaged", "damaged, left out; harness.store verify says more"),
    ):
        which = [f"{one_line(plan['rungs'][place]['name'])} seed {seed}" for place, seed in named[what]]
        if which:
            notes.append(f"{len(which)} run{'s' * (len(which) > 1)} {text}: {', '.join(which)}.")
    have = Counter([*every["place"], *(place for place, _ in named["damaged"])])
    lacking = [
        f"{one_line(rung['name'])} ({len(rung['seeds']) - have[place]} of {len(rung['seeds'])})"
        for place, rung in enumerate(plan["rungs"])
        if have[place] < len(rung["seeds"])
    ]
    if lacking:
        notes.append(f"Runs still missing: {', '.join(lacking)}.")
    for kinds, own in every[every["stale"] != ""].groupby("stale"):
        text = f"run{'s' * (len(own) > 1)} made before the source of {one_line(str(kinds), 300)} changed"
        notes.append(f"{len(own)} {text}: {', '.join(f'{r.rung} seed {r.seed}' for r in own.itertuples())}.")
    if score in LOOSE and any(own.get("device") == "cuda" for own in every["environment"]):
        notes.append(LOOSE[score])
    for name, text in (("device_name", "hardware"), ("commit", "commits of the harness")):
        if len({own.get(name) for own in every["environment"]}) > 1:
            notes.append(f"Runs come from different {text}.")
    return notes


EFFECTS = {
    "shapley": "Shapley value: what a trick gives, in points of top-1, averaged over every order in which the tricks "
    "can be added; the values sum to what all tricks give together.",
    "factorial": "Effect: mean top-1 of the rungs that have the trick less that of those that have not; × is an "
    "interaction, half of how much one trick's effect grows by the other.",
}


def _about_effects(plan: Plan, score: str) -> list[str]:
    """How a Shapley value or an effect was made, and what is not in it."""
    notes = [
        f"{spoken(EFFECTS[plan['design']], score)} Over the seeds that every rung has; 95 % t-intervals, each for its "
        "own row; verdicts: t-tests at .05 after Holm over the tricks, interactions apart."
    ]
    k = len(plan["tricks"])
    if plan["orders"]:
        notes.append(
            f"Of the {math.factorial(k):,} orders {len(plan['orders']) // 2} were sampled, and their reverses; the "
            "interval has what that adds, the s.e. of the orders, in it."
        )
    longer = [one_line(trick["title"]) for trick in plan["tricks"] if len(trick["moves"]) > 1]
    if longer:
        slots = sorted({slot for trick in plan["tricks"] if len(trick["moves"]) > 1 for slot in trick["moves"]})
        notes.append(f"What {', '.join(longer)} gives has all that it changes in it: {', '.join(slots)}.")
    if any("teacher" in trick["moves"] for trick in plan["tricks"]):
        notes.append("A teacher is trained with the tricks that its student has, so what they give has that in it too.")
    if plan["generators"]:
        resolution = stats.resolution(k, plan["generators"])
        notes.append(
            f"1/{2 ** len(plan['generators'])} of all 2^{k} sets, of resolution {resolution}: effects with the same "
            "aliases cannot be told apart, and those of three tricks and more are taken to be nothing."
        )
    return notes


def _tests(tested: pd.DataFrame) -> str:
    return "moderated paired t-tests" if (tested["test"] == "moderated").any() else "paired t-tests"


def _about_test(tested: pd.DataFrame) -> list[str]:
    """Whether variances lean on each other, by how much, or why not; nothing where nobody asked for it."""
    row = tested.iloc[0]
    at = f"at {row['share']:g} of the level, which pays for the choice between this and the"
    bound = f"d₀ is at least {row['d0']:.2g}" if math.isfinite(row["d0"]) else "no difference between s.d. is seen"
    if row["test"] == "moderated":
        return [
            f"Moderated: each gain is tested with a variance that leans on those of all gains, as if {row['d0']:.2g} "
            f"more seeds had shown their mean ({bound}: a lower bound), {at} plain test. The column beside the verdict "
            "has what the plain paired t-test of each gain alone says; `--test t` makes the table by it."
        ]
    if not row["why"] or row["share"] == 1:
        return []
    return [
        f"Plain paired t-tests, though moderated ones were asked for, since {row['why']}"
        f"{f' ({bound}, and {stats.FLOOR:g} is needed)' if row['d0'] == row['d0'] else ''}: {at} moderated test."
    ]


def described(function: Callable[..., object]) -> str:
    """A metric's docstring up to its first empty line, in one line."""
    return one_line((inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " "), 500)


def _about_metric(plan: Plan) -> list[str]:
    """What a metric is that is not the records' own, and which way is better."""
    metric = metric_of(plan)
    if metric is None:
        return []
    about = described(metric.of) if isinstance(metric, metrics.Metric) else ""
    way = f"{METRICS[plan['metric']]}: {metric.better} is better"
    told = f"{opening(way)}, and a gain that helps is {'below' if metric.better == 'lower' else 'above'} 0."
    return [*([about] if about else []), told]


def _about_gains(plan: Plan, table: pd.DataFrame, by: Measure) -> list[str]:
    tested = table[table["p"].notna()]
    notes = [
        f"Gains: {by.of} {GAINS[plan['design']]}, paired by seed. ρ̂ is the correlation of the two "
        "rungs over seeds: the higher it is, the more pairing narrows the interval."
    ]
    if pairs_apart(table):
        told = ", those of the look at which it stands" if plan["decide"] else ""
        notes.append(
            f"Pairs: what a gain, its interval, verdict and ρ̂ are of{told}. Means, and gains over the baseline, are of "
            "all seeds that there are."
        )
    if plan["decide"]:
        points, looks = plan["decide"]["points"], plan["decide"]["looks"]
        when, error = planned(plan["decide"])
        notes.append(
            f"Seeds were added, at looks {when} ({', '.join(map(str, looks))} seeds), for gains that were "
            f"neither resolved nor known to ± {points:g}. Verdicts: group-sequential {_tests(tested)}, the "
            f"error of all rows and looks together {error}. Intervals: repeated, 95 % at all looks together; of a "
            "gain that precision decided the 95 % t-interval."
        )
        if (tested["test"] == "moderated").any():
            notes.append(
                "Moderated: at each look each gain is tested with a variance that leans on those of all (d₀, a "
                "lower bound, and the degrees of freedom are in table.csv). The column beside the verdict has what "
                "plain paired t-tests say at the same looks, as far as there are seeds. `--test t` plans by these."
            )
    elif len(tested):
        least = min(stats.attainable_p(int(n)) for n in tested["gain_pairs"])
        notes.append(
            f"Intervals: 95 % t-intervals, each for its own row. Verdicts: two-sided {_tests(tested)} at .05 after "
            f"Holm over {count(len(tested), 'gain')}. MDE, the minimum detectable effect: what the row would resolve "
            f"with probability .8, given its spread. An exact sign-flip test could give no p below {least:.2g} here."
        )
        notes += _about_test(tested)
    wider = ((table["new_high"] - table["new_low"]) / (table["gain_high"] - table["gain_low"])).dropna()
    wider = wider[np.isfinite(wider)]
    if len(wider) and not plan["decide"]:
        notes.append(
            "Intervals and verdicts are for this test set. For new data of the same kind intervals are wider, by a "
            f"factor of {wider.median():.2f} at the median and {wider.max():.2f} at most."
        )
    elif len(tested):
        notes.append("Intervals and verdicts are for this test set, not for new data.")
    return notes
