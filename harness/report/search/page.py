"""The page of a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure

from harness import Problem, one_line
from harness.paths import write_atomic
from harness.report import Report, figures, page, tables
from harness.report.search.figures import ACROSS, PANELS, best_of_n, front, history, importance, parallel, pool, slices
from harness.report.search.matters import POOL, Importance, importances
from harness.report.search.read import BEST, TOLD, Trial, complete, ranked, read, scored
from harness.report.search.scales import Scale, scales
from harness.report.search.tables import markdown, space_table, trial_csv, trial_table
from harness.report.search.words import (
    again,
    best_said,
    chosen_said,
    how_said,
    matters_said,
    more_said,
    test_said,
)
from harness.report.words import opening, together

if TYPE_CHECKING:
    import optuna


def render(search: Mapping[str, Any], study: optuna.Study, folder: Path) -> Report:
    """Write trials.{md,csv}, the figures and the page index.html of a described search and its study to `folder`.

    Raises Problem where the study has no trial.
    """
    label = one_line(str(search.get("label") or study.study_name))
    trials = read(study)
    if not trials:
        raise Problem(f"{label}: the search has no trial to report")
    cost = [*(search.get("objectives") or ["top1"]), ""][1] if len(study.directions) > 1 else ""
    metric = scored(search)
    space, worths, found = scales(trials), pool(trials), importances(trials)
    if not isinstance(found, str):
        order = {row.path: i for i, row in enumerate(found)}
        space = sorted(space, key=lambda own: order.get(own.path, len(order)))
    numbers = {trial.number for trial in study.best_trials} if cost else set()
    along = sorted((t for t in complete(trials) if t.number in numbers), key=lambda trial: trial.cost)
    said = [best_said(trials, metric), more_said(worths), matters_said(found)]

    best = trial_table(ranked(trials)[:BEST], space, cost, metric)
    joined = trial_table(along, space, cost, metric)
    headed = f"{label}: hyper-parameter search"
    notes = [*said, test_said(search)]
    shown_tables = [markdown(best), *([f"## Pareto front\n\n{markdown(joined)}"] if along else [])]
    write_atomic(folder / "trials.md", tables.document(headed, shown_tables, notes).encode())
    write_atomic(folder / "trials.csv", trial_csv(trials, space).encode())

    sections = [
        ("What was found", "".join(page.paragraph(about, told) for about, told in _found(search, said))),
        ("Best trials", _numbered(best, "Best trials")),
        ("What was searched", page.table(space_table(space), "What was searched")),
        ("How", "".join(page.paragraph(about, told) for about, told in how_said(search, trials))),
    ]
    for name, heading, figure, caption in draw(label, search, trials, space, found, along, cost):
        body = page.paragraph("", caption)
        if figure:
            body = page.drawing(name, figures.save(folder, name, figure), label, heading, caption)
        if name == "front":
            body += _numbered(joined, "Pareto front")
        sections.append((heading, body))
    sections.append(("To make it again", f"<pre><code>{page.lines(again(search))}</code></pre>"))
    write_atomic(folder / "index.html", page.document(headed, sections).encode())
    return Report(folder, tables.document(headed, [markdown(best[:TOLD])], notes))


def _numbered(table: pd.DataFrame, heading: str) -> str:
    return f'<div class="numbered">{page.table(table, heading)}</div>'


def _found(search: Mapping[str, Any], said: Sequence[str]) -> list[tuple[str, str]]:
    title = one_line(str(search.get("title") or search.get("rung") or ""))
    about = [("Rung", title)] if title else []
    chosen = chosen_said(search)
    headed = zip(("Best", "More trials", "Importance"), said, strict=True)
    return [*about, *headed, *([("Chosen", chosen)] if chosen else [])]


def draw(
    label: str,
    search: Mapping[str, Any],
    trials: Sequence[Trial],
    space: Sequence[Scale],
    found: Sequence[Importance] | str,
    along: Sequence[Trial],
    cost: str,
) -> Iterator[tuple[str, str, Figure | None, str]]:
    """(name, heading, figure, caption) of each; without a figure the caption says why."""
    metric = scored(search)
    retried = [f"trial {t.number} takes up {t.retries}" for t in trials if t.retries is not None]
    retried_said = f" After a worker was lost, {together(retried[:10])}." if retried else ""
    drawn = history(label, trials, metric)
    if drawn:
        caption = (
            "Dots: scores, small dashes: seeds where there are several. The line is the best so far of complete "
            "trials. Hollow: pruned, at the last score it reported; ×: failed; an arrow: beyond the frame."
            f"{retried_said}"
        )
        yield "history", "Trials", drawn, caption
    if along:
        more, what = ("more accurate", "Accuracy") if metric == "top-1" else (f"of a higher {metric}", opening(metric))
        caption = (
            f"The line is the Pareto front: no trial is as cheap and {more}. Its trials are blue, and in the "
            "table below; grey ones are dominated."
        )
        yield "front", f"{what} against cost", front(label, trials, along, cost, metric), caption
    many = "" if len(space) <= ACROSS else f" The first {ACROSS} of {len(space)} parameters."
    drawn = parallel(label, trials, space[:ACROSS], metric)
    if drawn:
        caption = (
            "A line a complete trial, through its values to its score: the darker the better, the best thick. Axes are "
            "as searched, logarithmic where the search was; lines through one choice are spread a little, and a score "
            f"beyond its axis is at the end.{many}"
        )
        yield "parallel", "Parallel coordinates", drawn, caption
    if isinstance(found, str):
        yield "importances", "Importances", None, found
    else:
        n = len(complete(trials))
        top = max(5, math.ceil(n / 10))
        caption = (
            f"PED-ANOVA of {n} complete trials: how far a parameter's values among the best {top} are from those among "
            "all, as a share of the sum over parameters. Hollow: shuffled scores give as much in "
            "more than 5 % of cases, each parameter taken alone. An adaptive sampler narrows all parameters together "
            "while scores rise, so that an idle one may seem to matter; one that hardly varied near the best may seem "
            "not to. Pruned trials are left out."
        )
        yield "importances", "Importances", importance(label, found), caption
    drawn = slices(label, trials, space[:PANELS], metric)
    if drawn:
        many = "" if len(space) <= PANELS else f" The first {PANELS} of {len(space)} parameters."
        caption = (
            "Each trial's score against one value, all others varying too. Axes are as searched; choices are spread a "
            f"little.{many}"
        )
        yield "slices", "Slices", drawn, caption
    drawn = best_of_n(label, pool(trials), metric)
    if drawn:
        caption = (
            "The mean best of n trials drawn from those seen, over all such draws (Dodge et al. 2019; Tang et al. "
            "2020). Dashed, and the band: the median best of n new trials and its 95 % interval, which fades where so "
            f"few trials give it no upper end. Pruned trials count by what they last reported. {POOL}"
        )
        yield "best_of_n", "Expected best of n trials", drawn, caption
