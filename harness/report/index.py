"""One page over all reports that were made here: which study, by which design and settings, when, and what it found."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness import Problem
from harness.paths import runs, write_atomic
from harness.report import folder_of, known, recall, searched
from harness.report.page import document, text
from harness.report.title import in_words
from harness.report.words import count, together

DESIGNS = {
    "ladder": "each trick on those before it",
    "leave-one-out": "each trick on all others",
    "add-one": "each trick alone",
    "shapley": "Shapley values",
    "factorial": "a two-level factorial",
}
STYLE = """
.report { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .9rem; margin: .7rem 0; max-width: 60rem; }
.report h3 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
.report p { margin: .3rem 0 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.report .soft { font-size: .9rem; }
.report span { white-space: nowrap; }
@media print { .report { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Made:
    """A report in runs/reports/."""

    label: str
    study: str
    when: float  # seconds since 1970
    how: str  # its design and settings, in words
    runs: str = ""
    about: str = ""  # the study's first line
    verdicts: Mapping[str, list[str]] = field(default_factory=dict)  # helps, hurts, other -> tricks with their gains
    gallery: bool = False


def write() -> Path:
    """Make runs/reports/index.html anew."""
    path = runs() / "reports" / "index.html"
    write_atomic(path, page(list(made())).encode())
    return path


def made() -> Iterator[Made]:
    """The reports there are, a study's newest first; of a plan that cannot be read none."""
    found: list[Made] = []
    for label in known():
        with suppress(Problem, OSError, ValueError):
            plan = recall(label)
            folder = folder_of(plan)
            when = (folder / "index.html").stat().st_mtime
            about = plan["about"].strip().partition("\n")[0]
            gallery = (folder / "gallery" / "index.html").is_file()
            of = {"how": _how(plan), "runs": _runs(plan, folder), "about": about, "gallery": gallery}
            found.append(Made(label, plan["study"], when, verdicts=_verdicts(plan, folder), **of))
    for label in searched():
        with suppress(Problem, OSError):
            when = (folder_of({"label": label}) / "index.html").stat().st_mtime
            study, _, kind = label.partition("@")
            found.append(Made(label, study, when, f"a search of values for {kind.removeprefix('search-')}"))
    newest = {one.study: max(each.when for each in found if each.study == one.study) for one in found}
    yield from sorted(found, key=lambda one: (-newest[one.study], one.study, -one.when))


def _how(plan: Mapping[str, Any]) -> str:
    tuned = plan.get("tuned")
    said = [each for each in plan["settings"] if not re.fullmatch(r"\d+ seeds", each)]  # which `_runs` tells
    said += [f"tuned by {tuned['trials']} trials a rung"] if tuned else []
    return ", ".join([DESIGNS[plan["design"]], *map(in_words, said)])


def _runs(plan: Mapping[str, Any], folder: Path) -> str:
    """What was asked for, and how much of it the report has where that is not all."""
    seeds = sorted({len(rung["seeds"]) for rung in plan["rungs"]})
    told = count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    asked = sum(len(rung["seeds"]) for rung in plan["rungs"])
    with suppress(FileNotFoundError), (folder / "runs.csv").open(newline="", encoding="utf-8") as file:
        there = sum(row["status"] in ("finished", "diverged") for row in csv.DictReader(file))
        told += f", {there} of {count(asked, 'run')}" if there < asked else ""
    return f"{count(len(plan['rungs']), 'rung')}, {told}"


def _verdicts(plan: Mapping[str, Any], folder: Path) -> dict[str, list[str]]:
    """The tricks of the report's table by what it says of them, each with its gain."""
    titles = {each["name"]: each["title"] for each in (*plan["rungs"], *plan["tricks"])}
    found: dict[str, list[str]] = {}
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            verdict, name = row.get("verdict") or "", row.get("rung") or row.get("name") or ""
            if verdict:
                kind = next((word for word in ("helps", "hurts") if verdict.startswith(word)), "other")
                gain = float(row.get("gain") or row.get("value") or "nan")
                found.setdefault(kind, []).append(f"{_bare(titles.get(name, name))} {gain:+.2f}")
    return found


def _bare(title: str) -> str:
    """A rung's title as its trick's."""
    return title.removeprefix("+ ").removeprefix("− ")


def page(reports: list[Made]) -> str:
    by: dict[str, list[Made]] = {}
    for one in reports:
        by.setdefault(one.study, []).append(one)
    sections = [(study, _of(own)) for study, own in by.items()] or [("Reports", "<p>None was made here yet.</p>")]
    total = f"{count(len(reports), 'report')} of {count(len(by), 'study').replace('studys', 'studies')}"
    top = f'<style>{STYLE}</style><p class="soft">{total}. Gains are in points of the study\'s score.</p>'
    return document("Reports", sections, top)


def _of(reports: list[Made]) -> str:
    about = next((one.about for one in reports if one.about), "")
    return f'<p class="soft">{text(about)}</p>{"".join(map(_card, reports))}'


def _card(one: Made) -> str:
    folder, when = quote(one.label), time.strftime("%Y-%m-%d %H:%M", time.localtime(one.when))
    own_name = one.label.partition("@")[2]
    head = f'<a href="{folder}/index.html">{text(one.how[:1].upper() + one.how[1:])}</a>'
    lines = [f"<h3>{head}</h3>"]
    for kind, word in (("helps", "helps"), ("hurts", "hurts"), ("other", "not resolved")):
        if own := one.verdicts.get(kind):
            told = together(f"<span>{text(each)}</span>" for each in own)
            lines.append(f'<p><b class="{kind if kind != "other" else "soft"}">{word}</b> {told}</p>')
    shown = [
        one.runs,
        when,
        text(own_name),
        f'<a href="{folder}/gallery/index.html">gallery</a>' if one.gallery else "",
    ]
    return f'<article class="report">{"".join(lines)}<p class="soft">{" · ".join(filter(None, shown))}</p></article>'
