"""Frames: one row a run, a rung, an effect, a check.

A rung is known by its `place` in the plan, not by its name: two names may be the same, or be cut to the same.
"""

import gc
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from harness import Problem, one_line, sources, stats
from harness.spec import UNPROVEN
from harness.store import Store, care

Plan = dict[str, Any]
Row = dict[str, Any]
Pair = tuple[int, Row, Row]  # seed, above, below
APART = ("device", "threads", "python", "system", "pandas", "mlflow", "scikit-learn")  # what changes no number of a run

EMPTY = ["place", "rung", "seed", "status", "classes", "trained", "tested"]  # what a frame of no runs has


def runs(plan: Plan, store: Store) -> pd.DataFrame:
    """One row for each (rung, seed) that the store has, in the order of the plan.

    A damaged run is none: `attrs["damaged"]` has (place, seed, what is wrong) of each.
    """
    rows: list[Row] = []
    wrong = care.damaged(store, dict.fromkeys((rung["id"], seed) for rung in plan["rungs"] for seed in rung["seeds"]))
    for place, seed, record in _records(plan, store, wrong):
        if rows and record.get("rates") == rows[-1]["rates"]:  # mostly, and they are half of a record
            record["rates"] = rows[-1]["rates"]
        rows.append({"place": place, "rung": one_line(plan["rungs"][place]["name"]), "seed": seed} | _flat(record))
    made = pd.DataFrame(rows, columns=None if rows else EMPTY)
    made.attrs["damaged"] = [
        (place, seed, wrong[rung["id"], seed])
        for place, rung in enumerate(plan["rungs"])
        for seed in rung["seeds"]
        if (rung["id"], seed) in wrong
    ]
    return made


@contextmanager
def _uncollected() -> Iterator[None]:
    """Records are many small values that stay: the collector would look through all of them, again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _records(plan: Plan, store: Store, wrong: dict[care.Key, str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(place, seed, record) of the runs that are finished, diverged or refused, and not `wrong`, which more may be."""
    with _uncollected():
        for place, rung in enumerate(plan["rungs"]):
            for key in ((rung["id"], seed) for seed in rung["seeds"]):
                if key in wrong:
                    continue
                try:
                    record = store.read(*key) if key in store else store.refused(*key)
                except Problem as problem:
                    wrong[key] = str(problem)
                    continue
                if record:
                    yield place, key[1], record


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    rates = record.get("rates")
    return {
        "status": record["status"],
        **record["metrics"],
        "params": record["params"],
        "gmacs": record["macs"] / 1e9,
        "seconds": record["seconds"],
        "seconds_per_epoch": record["seconds_per_epoch"],
        "emulated": record["precision"]["emulated"],
        "device": one_line(record["environment"]["device_name"]),
        "environment": record["environment"],
        "epochs": record["epochs"],
        "rates": rates,
        "steps_per_epoch": (rates[-1][0] + 1) / len(record["epochs"]) if rates else math.nan,
        "correct": record["correct"],
        "tested": record["images"]["test"],
        "trained": record["images"]["train"],
        "classes": record.get("classes"),
        "evidence": record["evidence"],
        "seen": record.get("seen"),
        "network": record.get("network", ""),
        "unproven": ", ".join(sorted(kind for kind, how in record.get("opinions", {}).items() if how == UNPROVEN)),
        "sources": record.get("sources", {}),
        "stale": ", ".join(sources.changed(record)),
    }


def counted(every: pd.DataFrame) -> pd.Series:
    """The runs that enter a table: finished and diverged ones, not the refused."""
    return every["status"].isin(["finished", "diverged"])


def apart(every: pd.DataFrame) -> dict[str, list[tuple[int, int]]]:
    """(place, seed) of the runs that are not as the others, by what they are: diverged, refused or damaged."""
    made = {what: every[every["status"] == what] for what in ("diverged", "refused")}
    told = {what: list(zip(own["place"], own["seed"], strict=True)) for what, own in made.items()}
    return told | {"damaged": [(place, seed) for place, seed, _ in every.attrs.get("damaged", ())]}


def by_seed(every: pd.DataFrame) -> dict[int, dict[int, Row]]:
    """The runs that enter a table, by place and seed: of many, a hundred times faster to ask than a frame."""
    good, found = every[counted(every)], dict[int, dict[int, Row]]()
    columns = {str(name): values.tolist() for name, values in good.items()}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        found.setdefault(row["place"], {})[row["seed"]] = row
    return found


def pairs(plan: Plan, at: dict[int, dict[int, Row]], place: int) -> list[Pair]:
    """The runs of the two rungs whose difference is the gain of the rung at `place`, by seed where both have one."""
    return paired(at, plan["rungs"][place]["gain"])


def paired(at: dict[int, dict[int, Row]], places: Sequence[int] | None) -> list[Pair]:
    """The runs of two rungs, by seed where both have one; none of None."""
    above, below = (at.get(i, {}) for i in places or (-1, -1))
    return [(seed, above[seed], below[seed]) for seed in sorted(above.keys() & below.keys())]


def held_to(plan: Plan, place: int) -> Sequence[int] | None:
    """The two places that a rung's changes are between: those of its gain, or its own and the first."""
    between: Sequence[int] | None = plan["rungs"][place]["gain"] or ((place, 0) if place else None)
    return between


def barred(plan: Plan, at: dict[int, dict[int, Row]]) -> dict[int, str]:
    """By place, why nothing is told of a rung's gain: a verdict that begins with a word of `BARRED`.

    Runs of two rungs showed what differs, though nothing that the rungs differ in explains it; they are held side by
    side where device, libraries and commit are the same, since else bits differ anyway, or what is looked at does, and
    such comparisons are marked. Or every run is bit for bit that of the other rung, so that nothing was changed. Or a
    part of one of the two says in no way that it did what it says.
    """
    found: dict[int, str] = {}
    for place, rung in enumerate(plan["rungs"]):
        both = paired(at, held_to(plan, place))
        odd = next((odd for _, above, below in both if (odd := astray(rung, above, below))), None)
        unproven = {one[2]["unproven"] for one in both} | {row["unproven"] for row in at.get(place, {}).values()}
        if odd:
            found[place] = f"not comparable: differs in {', '.join(odd)}"
        elif both and all(same_run(above, below) for _, above, below in both):
            other = next(i for i in held_to(plan, place) or () if i != place)
            found[place] = f"refused: bit for bit the runs of {one_line(plan['rungs'][other]['name'])}"
        elif unproven - {""}:
            found[place] = f"unproven: {', '.join(sorted(unproven - {''}))}"
    return found


def same_run(above: Any, below: Any) -> bool:
    """Whether two runs are bit for bit one: networks, and all that was told on the way, rates with it."""
    if not above["network"] or above["network"] != below["network"]:
        return False
    losses = [[epoch.get("loss") for epoch in row["epochs"]] for row in (above, below)]
    return losses[0] == losses[1] and above["seen"] == below["seen"]


BARRED = ("not comparable", "refused", "unproven")  # verdicts that begin so are of no gain


def astray(rung: dict[str, Any], above: Any, below: Any) -> list[str]:
    """What two records show that differs, and is not among what the `rung` that compares them may move."""
    if not above.get("seen") or not below.get("seen") or around(above) != around(below):
        return []
    apart = [what for what in above["seen"] if above["seen"][what] != below["seen"].get(what)]
    short = ("steps", "rates") if len(above["epochs"]) != len(below["epochs"]) else ()  # diverged, or stopped early
    return [what for what in apart if what not in (*rung["may"], *short)]


def around(record: Any) -> dict[str, Any]:
    """What must be alike in two runs, else their comparison is marked: hardware, commit, all that touches a number.

    An older record does not tell of every library; what one tells and the other does not is not known to be alike.
    """
    return {name: value for name, value in record["environment"].items() if name not in APART}


def elsewhere(above: Any, below: Any) -> bool:
    """Whether two runs were made by other hardware, commits, libraries, or another source of a part that both have."""
    ours, theirs = above["sources"], below["sources"]
    return around(above) != around(below) or any(ours[kind] != theirs[kind] for kind in ours.keys() & theirs.keys())


def rungs(plan: Plan, every: pd.DataFrame) -> pd.DataFrame:
    """One row a rung of `plan` that has runs; accuracies and gains in points of percent, unrounded.

    `gain` is the mean of differences paired by seed of the two rungs that the plan names, with its 95 % t-interval;
    the verdict is of paired t-tests after Holm over the rows, or of bounds for planned looks where the plan decides by
    them. All of a gain, ρ̂ and `new_low` and `new_high`, the bounds for new test data, too, is of its `gain_pairs`:
    those of its look, where there are looks. `total`, over the baseline, is of all seeds that both have, and the means
    are of all `n` runs. nan where there are no runs, or too few.
    """
    good = every[counted(every)]
    at = by_seed(every)
    odd = barred(plan, at)
    paired, decided = looked_at(plan, {place: [] if place in odd else pairs(plan, at, place) for place in sorted(at)})
    judged = judge(paired, decided)
    upstream = {inner["of"] for inner in plan["upstream"]}
    rows = []
    for place in paired:
        rung, own, ours = plan["rungs"][place], good[good["place"] == place], paired[place]
        mean, sd = stats.mean_sd(own["top1"])
        row: dict[str, Any] = {"place": place, "rung": one_line(rung["name"]), "title": one_line(rung["title"])}
        row |= {"n": len(own), "top1_mean": mean, "top1_sd": sd} | judged[place]
        row["gain_pairs"] = len(ours)
        row["new_low"], row["new_high"] = new_data(ours)
        if place in odd:
            row["verdict"] = odd[place]
        base = at.get(0, {}) if plan["design"] == "ladder" and place else {}
        total = [row["top1"] - base[seed]["top1"] for seed, row in at[place].items() if seed in base]
        row["total"], row["total_low"], row["total_high"], _ = stats.paired_t(total, step=100 / own["tested"].max())
        if "top5" in own and own["top5"].notna().all():
            row["top5_mean"], row["top5_sd"] = stats.mean_sd(own["top5"])
        other = next((i for i in rung["gain"] or () if i != place), None)
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
    seeds = {place: plan["rungs"][place]["seeds"][: told.n] for place, told in decided.items()}
    used = {
        place: [pair for pair in ours if place not in seeds or pair[0] in seeds[place]]
        for place, ours in paired.items()
    }
    return used, decided


def pairs_apart(table: pd.DataFrame) -> bool:
    """Whether a gain is of another number of pairs than its rung has runs."""
    return bool((table["gain_pairs"] != table["n"])[table["gain"].notna()].any())


def one_image(paired: dict[int, list[Pair]]) -> float | None:
    """What one test image is of top-1, in points: gains are multiples of it; None of tests of several sizes."""
    sizes = {row["tested"] for ours in paired.values() for _, above, below in ours for row in (above, below)}
    return 100 / sizes.pop() if len(sizes) == 1 else None


def judge(paired: dict[int, list[Pair]], decided: dict[int, stats.Decision]) -> dict[int, dict[str, Any]]:
    """Gain, interval, p and verdict by place, of pairs and decisions as `looked_at` has them."""
    rows = {place: [[a["top1"] for _, a, _ in ours], [b["top1"] for _, _, b in ours]] for place, ours in paired.items()}
    judged = {
        place: {"gain": c.gain, "gain_low": c.low, "gain_high": c.high, "p": c.p, "adjusted": c.adjusted}
        | {"rho": c.rho, "mde": c.mde, "verdict": c.verdict}
        for place, c in zip(rows, stats.compare(rows.values(), step=one_image(paired)), strict=True)
    }
    for place, d in decided.items():
        if place not in judged:
            continue
        judged[place] |= {"gain": d.gain, "gain_low": d.low, "gain_high": d.high, "p": d.p, "adjusted": math.nan}
        judged[place] |= {"mde": math.nan, "verdict": d.verdict}
    return judged


def decisions(plan: Plan, paired: dict[int, list[Pair]]) -> dict[int, stats.Decision]:
    """What the planned looks said of each gain, by place; nothing where the number of seeds is fixed."""
    rows = {}
    for place, rung in enumerate(plan["rungs"]):
        ours = paired.get(place, [])  # a rung without a run is a row all the same
        if plan["decide"] and rung["gain"]:
            gains = {seed: a["top1"] - b["top1"] for seed, a, b in ours}
            rows[place] = [gains.get(seed, math.nan) for seed in rung["seeds"]]
    if not rows:
        return {}
    told = plan["decide"]
    decided = stats.decide(rows.values(), told["points"], told["looks"], step=one_image(paired))
    return dict(zip(rows, decided, strict=True))


BEFOREHAND = "planned beforehand", "at most .05"


def planned(decide: dict[str, Any]) -> tuple[str, str]:
    """When the looks that a plan decides by were planned, and the error of all rows and looks together.

    Of plans with other looks each adds up to .05 (Bonferroni), and more where it was chosen by what was seen. Other
    points at the same looks add nothing: they only end rows before later looks, and a row may be found at any look. Nor
    can what was seen have chosen the program's own looks.
    """
    earlier, looks = decide.get("earlier", []), decide["looks"]
    told = "; ".join(f"± {each['points']:g} at {', '.join(map(str, each['looks']))} seeds" for each in earlier)
    before = f"{'the plan' if len(earlier) == 1 else 'plans'} before ({told})"
    plans = 1 + len({tuple(each["looks"]) for each in earlier} - {tuple(looks)})
    if plans > 1:
        most = f"{min(1, 0.05 * plans):.2f}".removeprefix("0")
        return (
            "of another plan than the first",
            f"at most {most} with {before}, and more where what was seen chose this",
        )
    if earlier:
        return BEFOREHAND[0], f"at most .05, with {before} too, for only the points are others"
    if decide.get("pairs") and tuple(looks) != stats.LOOKS:
        pairs = f"{decide['pairs']} pair{'s' * (decide['pairs'] > 1)} of runs"
        return f"planned when {pairs} were finished", "at most .05, and more where what those showed chose the looks"
    return BEFOREHAND


def due(plan: Plan, every: pd.DataFrame) -> list[int]:
    """How many seeds each rung should have by now, of a plan that decides by looks and lists all seeds there may be."""
    looks = plan["decide"]["looks"]
    gains = [place for place, rung in enumerate(plan["rungs"]) if rung["gain"]]
    at = by_seed(every)
    told = decisions(plan, {place: pairs(plan, at, place) for place in gains})
    between: list[tuple[int, int]] = [tuple(plan["rungs"][place]["gain"]) for place in told]
    asked = stats.seeds_asked(told.values(), between, looks)
    return [asked.get(place, looks[0]) for place in range(len(plan["rungs"]))]


def new_data(ours: list[Pair]) -> tuple[float, float]:
    """The 95 % interval of a gain, in points, on new test data of the same kind: seeds and examples both vary."""
    if len(ours) < 2 or len({row["tested"] for _, a, b in ours for row in (a, b)}) > 1:
        return math.nan, math.nan
    above, below = _bits([a for _, a, _ in ours]), _bits([b for _, _, b in ours])
    gain, _, seeds, se, df = stats.gain_errors(above, below)
    if math.isnan(se) or se == 0:
        return math.nan, math.nan
    df = df if math.isnan(seeds) else min(df, seeds)  # never narrower than for seeds alone
    low, high, _ = stats.t_test(gain, se, df)
    return 100 * low, 100 * high


def _bits(rows: Sequence[Row]) -> np.ndarray:
    """Which test images each run had right, rows x images."""
    packed = np.frombuffer(bytes.fromhex("".join(row["correct"] for row in rows)), np.uint8).reshape(len(rows), -1)
    return np.unpackbits(packed, axis=1, count=rows[0]["tested"]).astype(bool)


def seeds_as_dots(plan: Plan, every: pd.DataFrame) -> dict[int, list[tuple[int, float]]]:
    """By place: (seed, gain) of each pair that the gain is of."""
    at, odd = by_seed(every), barred(plan, by_seed(every))
    every_pair = {place: [] if place in odd else pairs(plan, at, place) for place in range(len(plan["rungs"]))}
    used, _ = looked_at(plan, every_pair)
    return {place: [(seed, a["top1"] - b["top1"]) for seed, a, b in ours] for place, ours in used.items()}


# --- effects: what a trick gives whatever the order ------------------------------------------------------------------


def effects(plan: Plan, every: pd.DataFrame) -> pd.DataFrame | None:
    """Shapley values, or factorial effects: one row each, in points of top-1; None under other designs.

    Over the seeds for which all rungs have runs: `value` is the mean, with its 95 % t-interval. `order_se` is what the
    sampling of orders adds, which is in the interval too. Verdicts after Holm: main effects, or values, are a family;
    interactions are another. Empty where no seed is complete.
    """
    if plan["design"] not in ("shapley", "factorial"):
        return None
    good = every[counted(every)]
    odd = "; ".join(dict.fromkeys(barred(plan, by_seed(every)).values()))
    table = good.pivot_table(index="seed", columns="place", values="top1")
    table = table.reindex(columns=range(len(plan["rungs"]))).dropna()
    made = _shapley(plan, table) if plan["design"] == "shapley" else _factorial(plan, table)
    rows = []
    for family in made["main"].unique() if len(made) else ():
        own = made[made["main"] == family]
        draws = len(plan["orders"]) // 2
        tests = [_interval(values, se, draws) for values, se in zip(own["values"], own["order_se"], strict=True)]
        adjusted = stats.holm([p for *_, p in tests])
        for (_, effect), (value, low, high, p), q in zip(own.iterrows(), tests, adjusted, strict=True):
            verdict = odd or stats.adjusted_verdict(value, q, math.nan)
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


# --- evidence --------------------------------------------------------------------------------------------------------


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


# --- what a reader must know -----------------------------------------------------------------------------------------

MARKS = {
    "budget_changed": ("†", "trains for another number of epochs than it is compared with: length may be in the gain"),
    "upstream": ("§", "needs another network trained first; its seconds an epoch leave that out"),
    "emulated": ("‡", "FP16 emulated: accuracy is that of half precision, speed is not"),
    "also": ("¤", "differs in more than its trick from what it is compared with"),
    "elsewhere": ("¶", "compares runs of different hardware, commits, library versions or source of your own parts"),
}


def marks(row: pd.Series) -> str:
    return "".join(mark for name, (mark, _) in MARKS.items() if row[name])


GAINS = {
    "ladder": "over the rung that it is built on",
    "leave-one-out": "of all tricks over all but this one: what the trick gives on top of the others",
    "add-one": "over the baseline: what the trick gives alone",
}


def footnotes(plan: Plan, every: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know: how numbers were made, marks, and runs that are not as the others."""
    kept = "with the weights kept" if any(rung.get("stops") for rung in plan["rungs"]) else "after the last epoch"
    notes = [f"Top-1 and top-5: mean ± s.d. over n seeds, percent of the test set {kept}."]
    if table["gain_pairs"].any():
        notes += _about_gains(plan, table)
    if plan["design"] in EFFECTS:
        notes += _about_effects(plan)
    notes.append(
        "GFLOPs are multiply-adds of one image's forward. Seconds an epoch: median, training alone, on "
        + ", ".join(sorted(set(every["device"])))
        + "."
    )
    if plan["settings"]:
        notes.insert(0, f"With {', '.join(one_line(said, 300) for said in plan['settings'])}.")
    for name, (mark, text) in MARKS.items():
        if table[name].any():
            which = [f"{one_line(r['title'])}: {', '.join(r['also'])}" for r in plan["rungs"] if r["also"]]
            told = f" ({'; '.join(which)})" if name == "also" else ""
            notes.append(f"{mark} {text}{told}.")
    ended = []
    for place, rung in enumerate(plan["rungs"]):
        own = every["epochs"][(every["place"] == place) & (every["status"] == "finished")] if rung.get("stops") else ()
        lengths = sorted({len(epochs) for epochs in own})
        if lengths and lengths[0] < rung["epochs"]:
            told = " to ".join(map(str, sorted({lengths[0], lengths[-1]})))
            ended.append(f"{one_line(rung['title'])} after {told} of {rung['epochs']} epochs")
    if ended:
        notes.append(f"Stopped early, and length may be in the gain: {'; '.join(ended)}.")
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


def _about_effects(plan: Plan) -> list[str]:
    """How a Shapley value or an effect was made, and what is not in it."""
    notes = [
        f"{EFFECTS[plan['design']]} Over the seeds that every rung has; 95 % t-intervals, each for itself; verdicts: "
        "t-tests at .05 after Holm over the tricks, interactions apart."
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


def _about_gains(plan: Plan, table: pd.DataFrame) -> list[str]:
    tested = table[table["p"].notna()]
    notes = [
        f"Gains: points of top-1 {GAINS[plan['design']]}, paired by seed. ρ̂: the correlation over seeds of the two "
        "rungs; pairing takes its share off the variance."
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
            f"neither resolved nor known to ± {points:g}. Verdicts: group-sequential paired t-tests, the "
            f"error of all rows and looks together {error}. Intervals: repeated, 95 % at all looks together; of a "
            "gain that precision decided the 95 % t-interval."
        )
    elif len(tested):
        least = min(stats.attainable_p(int(n)) for n in tested["gain_pairs"])
        notes.append(
            "Intervals: 95 % t, each for itself. Verdicts: two-sided paired t-tests at .05 after Holm over all "
            f"gains ({len(tested)}); MDE: the least that the row would resolve with chance .8, by its own s.d. An "
            f"exact sign-flip test could not give less than p = {least:.2g} here."
        )
    wider = ((table["new_high"] - table["new_low"]) / (table["gain_high"] - table["gain_low"])).dropna()
    wider = wider[np.isfinite(wider)]
    if len(wider) and not plan["decide"]:
        notes.append(
            "Intervals and verdicts speak of this test set. For new data of its kind intervals are wider, by the "
            f"factor {wider.median():.2f} at the median and {wider.max():.2f} at most."
        )
    elif len(tested):
        notes.append("Intervals and verdicts speak of this test set, not of new data.")
    return notes
