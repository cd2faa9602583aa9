"""Two rungs held beside each other, seed by seed, and whether they may be."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness import one_line
from harness.report.frames.read import Pair, Plan, Row, counted

APART = (  # what changes no number of a run
    *("device", "threads", "python", "system", "pandas", "mlflow", "scikit-learn"),
    *("sharing", "mps"),
)


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
    """Whether two runs are bit for bit one: networks, all that was told on the way, rates with it, and every score.

    One network that is tested in another way, by other views or at another size, is another run.
    """
    if not above["network"] or above["network"] != below["network"]:
        return False
    losses = [[epoch.get("loss") for epoch in row["epochs"]] for row in (above, below)]
    scores = [[row.get(name) for name in row["metrics"]] for row in (above, below)]
    return losses[0] == losses[1] and scores[0] == scores[1] and above["seen"] == below["seen"]


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


def pairs_apart(table: pd.DataFrame) -> bool:
    """Whether a gain is of another number of pairs than its rung has runs."""
    return bool((table["gain_pairs"] != table["n"])[table["gain"].notna()].any())


def one_image(paired: dict[int, list[Pair]]) -> float | None:
    """What one test image is of top-1, in points: gains are multiples of it; None of tests of several sizes.

    None of other metrics too, which are no counts of images.
    """
    rows = [row for ours in paired.values() for _, above, below in ours for row in (above, below)]
    sizes: set[int] = {row["tested"] for row in rows}
    if any(row.get("score", "top1") != "top1" for row in rows):
        return None
    return 100 / sizes.pop() if len(sizes) == 1 else None


def right_bits(rows: Sequence[Row]) -> np.ndarray:
    """Which test images each run had right, rows x images."""
    packed = np.frombuffer(bytes.fromhex("".join(row["correct"] for row in rows)), np.uint8).reshape(len(rows), -1)
    return np.unpackbits(packed, axis=1, count=rows[0]["tested"]).astype(bool)
