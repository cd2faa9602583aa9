"""The headline metric of a study's rungs after chosen epochs, beside what was published for them.

`reports/published/<study>.csv`, where there is one, has a line for each published cell: the source's words for its row
and column; the metric, such as `top1`, in percent, or `accuracy` as a fraction; the value as printed; the epoch; the
`rung` that makes it here; and a note.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

import harness.report.frames as frames
import harness.report.tables as tables
from harness import Problem, one_line, stats
from harness.report.figures import by_epoch, told_as
from harness.report.frames import Plan
from harness.report.published import FOLDER
from harness.report.title import in_words
from harness.report.words import METRICS, opening

PERCENT = {**dict.fromkeys(METRICS, 1), "accuracy": 100}
COLUMNS = ["row", "column", "metric", "value", "epoch", "rung", "note"]


def read(study: str) -> pd.DataFrame:
    """The published cells of a study, `percent` among them; none where no file tells any."""
    path = FOLDER / f"{study}.csv"
    cells = pd.read_csv(path, dtype=str, keep_default_na=False) if path.is_file() else pd.DataFrame(columns=COLUMNS)
    if "epoch" not in cells:  # a ladder, whose numbers are those of the end
        cells = pd.DataFrame(columns=COLUMNS)
    cells["percent"] = [round(PERCENT[metric] * float(value), 6) for metric, value in cells[["metric", "value"]].values]
    cells["epoch"] = cells["epoch"].astype(int)
    return cells


def at(plan: Plan, every: pd.DataFrame, epochs: Sequence[int], cells: pd.DataFrame) -> pd.DataFrame:
    """One row a rung and epoch: `mean` of the score with its 95 % t-interval over `n` seeds, and what was `published`.

    Of held-out images where a run was measured by these. nan where no run has the epoch; a run that diverged keeps its
    last accuracy.
    """
    good, rows = every[frames.counted(every)], []
    known = {(cell["rung"], cell["epoch"]): cell["percent"] for _, cell in cells.iterrows()}
    for place, rung in enumerate(plan["rungs"]):
        own = good[good["place"] == place]
        score = by_epoch(own, *told_as(frames.headline(every)))
        score = score.reindex(range(1, max([*epochs, *map(len, own["epochs"])]) + 1))
        diverged = own.index[own["status"] == "diverged"]
        score[diverged] = score[diverged].ffill()
        for epoch in epochs:
            told = score.loc[epoch].dropna().to_numpy() if epoch > 0 else np.array([])
            low, high = stats.t_interval(told) if len(told) else (math.nan, math.nan)
            row = {"rung": one_line(rung["name"]), "title": one_line(rung["title"]), "epoch": epoch, "n": len(told)}
            row |= {"mean": float(told.mean()) if len(told) else math.nan, "low": low, "high": high}
            rows.append(row | {"published": known.get((rung["name"], epoch), math.nan)})
    return pd.DataFrame(rows)


def compare(plan: Plan, every: pd.DataFrame, epochs: Sequence[int]) -> tuple[str, str]:
    """The score of each rung after each of `epochs`, with what was published of it below, as (Markdown, CSV).

    Raises Problem where no run has any of these epochs.
    """
    epochs, cells = list(dict.fromkeys(epochs)), read(plan["study"])
    table = at(plan, every, epochs, cells)
    had = [epoch for epoch in epochs if table.loc[table["epoch"] == epoch, "n"].any()]
    lacking, longest = [str(epoch) for epoch in epochs if epoch not in had], max(map(len, every["epochs"]))
    missing = f"No run has epoch {', '.join(lacking)}: the longest has {longest}."
    if not had:
        raise Problem(f"{plan['label']}: {missing[0].lower()}{missing[1:-1]}; give --at epochs from 1 to {longest}")
    ran = table.groupby("rung")["n"].transform("max") > 0
    table = table[table["epoch"].isin(had) & ran]
    most = int(table["n"].max())
    metric = METRICS[frames.headline(every)]
    held = any(told_as(frames.headline(every))[1] in epoch for run in every["epochs"] for epoch in run)
    of = "the test images, or those held out of training where a run was measured by these" if held else "the test set"
    settings = ", ".join(one_line(in_words(said), 300) for said in plan["settings"])
    notes = [f"With {settings}."] if settings else []
    notes.append(
        f"{opening(metric)} after so many epochs, percent of {of}: mean and 95 % t-interval over n = {most} "
        f"seeds; where n is another, it is told{', and the others had stopped or are missing' if held else ''}."
    )
    notes += frames.glances(every)
    if table["published"].notna().any():
        notes.append("Published: one run a cell, no spread told.")
        notes += [f"Published: {note}" for note in dict.fromkeys(cells["note"]) if note]
    if lacking:
        notes.append(missing)
    made = tables.markdown(shown(table, most), ["rung"])
    title = f"{one_line(plan['label'])}: {metric} by epoch"
    return tables.document(title, [made], notes), tables.comma_separated(table)


def shown(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """A row a rung, and one of what was published below it; a column an epoch."""

    def cell(row: pd.Series) -> str:
        spread = "" if math.isnan(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
        seeds = "" if row["n"] == most else f" (n = {row['n']})"
        return f"{row['mean']:.2f}{spread}{seeds}" if row["n"] else "–"

    rows = []
    for _, own in table.groupby("rung", sort=False):
        epochs = own["epoch"].astype(str)
        rows.append({"rung": own["title"].iloc[0], **dict(zip(epochs, map(cell, own.iloc), strict=True))})
        if own["published"].notna().any():
            told = ["–" if math.isnan(value) else f"{value:.4g}" for value in own["published"]]
            rows.append({"rung": f"{own['title'].iloc[0]}, published", **dict(zip(epochs, told, strict=True))})
    return pd.DataFrame(rows)
