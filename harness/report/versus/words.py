"""A comparison for a reader, and for a program."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import harness.report.figures as figures
import harness.report.frames as frames
import harness.report.tables as tables
from harness import one_line
from harness.cli import jsonable
from harness.paths import runs, write_atomic
from harness.report.versus.compared import Compared
from harness.report.versus.differ import environments
from harness.report.words import METRICS, count, opening, spoken, together

FORMAT = 1  # of compared.json
SHOWN = 12  # lines of a list; JSON has all
TESTS = {"welch": "Welch's t-test", "t": "paired t-test", "moderated": "moderated paired t-test"}
ASPECTS = {  # of what a run shows: as a reader is told
    "weights": "initial weights",
    "order": "order of images",
    "images": "images as augmented",
    "targets": "targets",
    "mixing": "images and targets as mixed",
    "rates": "learning rates",
    "steps": "steps",
    "structure": "network",
    "decay": "weight decay",
    "optimizer": "optimizer",
    "precision": "precision",
    "teacher": "teacher",
}


def told(found: Compared) -> dict[str, Any]:
    """What `compared.json` holds; numbers unrounded, null where a number is none.

    `a` and `b`: the addresses; `score`; `paired`; `rows`, one a pair: `a` and `b` (`name`, `id`, `n`, `seeds`,
    `score`), `gain` of B over A with its interval and test, `verdict`, `marks`; `specification`, by path what A and B
    have; `showed`, what runs of the same seeds showed that `differs`, what of it is `unexplained`, and the `same`;
    `checks` of which they expect something else. `environment`: what differs in where runs were made. `only_a`,
    `only_b`: rungs without another. `notes`.
    """
    made = {"format": FORMAT, "a": found.a.address, "b": found.b.address, "score": frames.headline(found.every)}
    made |= {"paired": found.paired, "rows": found.rows, "environment": environments(found.every)}
    made |= {"only_a": found.only[0], "only_b": found.only[1], "notes": notes(found)}
    whole: dict[str, Any] = jsonable(made)
    return whole


def notes(found: Compared) -> list[str]:
    """How the numbers were made, and what to doubt."""
    table, score = found.table, frames.headline(found.every)
    n = int(table["p"].notna().sum())
    lines = [f"{opening(METRICS[score])}: mean ± s.d. over n seeds, in percent of the test set."]
    if n:
        kind = "moderated" if (table["test"] == "moderated").any() else table["test"].iloc[0]
        after = f", after Holm over {count(n, 'difference')}" if n > 1 else ""
        lines.append(
            f"B over A: points of {METRICS[score]}, with 95 % intervals. Verdicts: {TESTS[kind]}s at .05, two-sided"
            f"{after}. MDE: the least that would be resolved with power .8."
        )
    if len(found.rows) > 1 and any(row["specification"] for row in found.rows):
        lines.append(
            "Rungs are matched by their names. B over A is of all that their specifications differ in, see the table, "
            "and not of the trick that a rung is named after."
        )
    if n == 1:
        lines.append("One comparison: its p knows nothing of others that you looked at.")
    if not found.paired:
        lines.append("Unpaired: the sides share no two seeds, so means are compared.")
    elif any(row["a"]["n"] != row["gain"]["pairs"] or row["b"]["n"] != row["gain"]["pairs"] for row in _known(found)):
        lines.append("Differences are of the seeds that both sides have; means are of all.")
    for side in (found.a, found.b):
        if side.looked:
            lines.append(f"{side.address}: seeds were added by looks at its gains, of which this test knows nothing.")
    lines += [f"{mark} {spoken(text, score)}." for name, (mark, text) in frames.MARKS.items() if table[name].any()]
    for what, own in frames.apart(found.every).items():
        which = [f"{found.plan['rungs'][place]['name']} seed {seed}" for place, seed in own]
        counted = ", and counted in n" if what == "diverged" else ", left out"
        lines += [f"{count(len(own), 'run')} {what}{counted}: {', '.join(which)}."] if own else []
    for kinds, stale in found.every[found.every["stale"] != ""].groupby("stale"):
        text = f"made before the source of {one_line(str(kinds), 300)} changed"
        lines.append(f"{count(len(stale), 'run')} {text}.")
    return lines


def _known(found: Compared) -> list[dict[str, Any]]:
    return [row for row in found.rows if row["gain"]]


def text(found: Compared) -> str:
    """For a reader, as Markdown."""
    parts = _of_one(found, found.rows[0]) if len(found.rows) == 1 else _of_many(found)
    lines = [f"{name}: {together(a)} → {together(b)}" for name, (a, b) in environments(found.every).items()]
    parts += _listed("Where runs were made", lines)
    for side, names in zip((found.a, found.b), found.only, strict=True):
        parts += _listed(f"Rungs of {side.address} alone", names)
    items = "\n".join(f"- {tables.literal(line)}" for line in notes(found))
    head = f"# {tables.literal(f'{found.b.address} over {found.a.address}')}"
    return "\n\n".join([head, *parts, items]) + "\n"


def _of_one(found: Compared, row: Mapping[str, Any]) -> list[str]:
    score, both = METRICS[frames.headline(found.every)], (row["a"], row["b"])
    made = {"": ["A", "B"], "rung": [side["name"] for side in both]}
    made[score] = [tables.spread(side["score"]["mean"], side["score"]["sd"]) for side in both]
    made["n"] = [str(side["n"]) for side in both]
    made["params"] = [f"{side['params']:,}" if side["params"] else "–" for side in both]
    made["s/epoch"] = [f"{side['seconds_per_epoch']:.3g}" for side in both]
    made["specification"] = [side["id"] for side in both]
    parts = [_said(row, score), tables.markdown(pd.DataFrame(made), ["rung"])]
    if row["specification"]:
        changed = [(path, _value(old), _value(new)) for path, (old, new) in row["specification"].items()]
        parts.append(_table("What differs in the specification", pd.DataFrame(changed, columns=["path", "A", "B"])))
    else:
        parts.append("Their specification is the same.")
    showed = row["showed"]
    why = "" if showed["unexplained"] else ", as the specification says"
    lines = [
        f"Runs of one seed differ in {_aspects(showed['differs'])}{why}." if showed["differs"] else "",
        f"Nothing in the specification explains {_aspects(showed['unexplained'])}." if showed["unexplained"] else "",
        f"Runs of one seed have the same {_aspects(showed['same'])}." if showed["same"] else "",
    ]
    parts += _listed("What the runs showed", filter(None, lines))
    checks = [(f"{check['part']}: {check['what']}", _check(check["a"]), _check(check["b"])) for check in row["checks"]]
    if checks:
        shown = pd.DataFrame(checks[:SHOWN], columns=["measured", "A", "B"])
        more = f"\n\nAnd {len(checks) - SHOWN} more, in compared.json." if len(checks) > SHOWN else ""
        parts.append(_table("What the evidence expects of one and not of the other", shown) + more)
    return parts


def _said(row: Mapping[str, Any], score: str) -> str:
    gain, verdict = row["gain"], row["verdict"]
    if not gain:
        return f"**{tables.literal(verdict or 'No seed has both runs.')}**"
    size = tables.gain(gain["value"], gain["low"], gain["high"])
    by = [f"{TESTS[gain['test']]}, p = {gain['p']:.2g}"] if verdict and not math.isnan(gain["p"]) else []
    by += [f"{count(gain['pairs'], 'pair')} of runs"] if gain["pairs"] else []
    by += [] if math.isnan(gain["rho"]) else [f"ρ̂ = {gain['rho']:.2f}"]
    why = "too few runs" if min(row["a"]["n"], row["b"]["n"]) < 2 or gain["pairs"] == 1 else "seeds vary too little"
    said = tables.literal(verdict or f"{why} for a verdict")
    return f"**B over A: {size} points of {score}: {said}**" + (f" ({'; '.join(by)})" if by else "")


def _of_many(found: Compared) -> list[str]:
    score = METRICS[frames.headline(found.every)]
    changed = [[(p, _value(a), _value(b)) for p, (a, b) in row["specification"].items()] for row in found.rows]
    common = [each for each in changed[0] if all(each in own for own in changed)]
    made = []
    for row, own in zip(found.rows, changed, strict=True):
        a, b, gain = row["a"], row["b"], row["gain"]
        sizes = list(dict.fromkeys((a["n"], b["n"])))
        line = {"rung": b["name"] if a["name"] == b["name"] else f"{a['name']} → {b['name']}"}
        line |= {
            f"{name}: {score}": tables.spread(s["score"]["mean"], s["score"]["sd"]) for name, s in (("A", a), ("B", b))
        }
        line |= {"n": ", ".join(map(str, sizes))}
        line |= {"B over A": tables.gain(gain["value"], gain["low"], gain["high"]) if gain else "–"}
        line |= {"verdict": row["verdict"] or "–"}
        line |= {"differs in": ", ".join(each[0] for each in own if each not in common) or "–"}
        made.append(line)
    table = pd.DataFrame(made)
    if (table["differs in"] == "–").all():
        table = table.drop(columns="differs in")
    parts = [tables.markdown(table, ["rung", "verdict"])]
    parts += _listed("What every B differs from its A in", [f"{path}: {old} → {new}" for path, old, new in common])
    if not any(changed):
        parts.append("Specifications are the same.")
    odd = {name for row in found.rows for name in row["showed"]["unexplained"]}
    if odd:
        which = _aspects([name for name in ASPECTS if name in odd])
        parts.append(f"Runs of one seed differ in {which}, which the specifications do not explain.")
    return parts


def _aspects(names: Sequence[str]) -> str:
    return together(ASPECTS.get(name, name) for name in names)


def _value(value: Any) -> str:
    return "–" if value is None else one_line(json.dumps(value) if isinstance(value, list | bool) else str(value), 80)


def _check(check: Mapping[str, str] | None) -> str:
    if not check:
        return "–"
    same = check["expected"] == check["seen"]
    return one_line(check["seen"] if same else f"{check['seen']} (due: {check['expected']})", 60)


def _table(heading: str, table: pd.DataFrame) -> str:
    return f"## {heading}\n\n{tables.markdown(table, table.columns)}"


def _listed(heading: str, lines: Iterable[str]) -> list[str]:
    every = list(lines)
    more = [f"and {len(every) - SHOWN} more, in compared.json"] if len(every) > SHOWN else []
    items = "\n".join(f"- {tables.literal(line)}" for line in [*every[:SHOWN], *more])
    return [f"## {tables.literal(heading)}\n\n{items}"] if every else []


def write(found: Compared, folder: Path | None = None) -> tuple[Path, str, dict[str, Any]]:
    """Write compared.md, compared.json and the picture, compared.{png,svg,pdf}.

    The folder, the text, and what the JSON holds; the folder is `runs/compared/` and the names, where none is given.
    """
    folder = folder or runs() / "compared" / _name(found)
    made, whole = text(found), told(found)
    write_atomic(folder / "compared.md", made.encode())
    write_atomic(folder / "compared.json", (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())
    title = f"B, {found.b.address}, over A, {found.a.address}" if len(found.rows) > 1 else "B over A"
    figures.save(folder, "compared", figures.versus(title, found.every, found.table, found.rows, found.paired))
    return folder, made, whole


def _name(found: Compared) -> str:
    """A folder's name of two addresses."""
    b, a = (re.sub(r"[^\w@.+-]+", "-", side.address).strip("-.")[-80:] for side in (found.b, found.a))
    return f"{b}-over-{a}"
