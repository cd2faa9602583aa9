"""Tables: frames as text, and that as Markdown, CSV and LaTeX (booktabs)."""

import math
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from harness import one_line
from harness.paths import write_atomic
from harness.report.frames import headline, marks, pairs_apart
from harness.report.words import METRICS, SECOND


def gain(mean: float, low: float, high: float) -> str:
    if math.isnan(mean):
        return "–"
    told = [f"{round(value, 2) + 0.0:+.2f}" for value in (mean, low, high)]  # + 0.0: no -0.00
    return told[0] if math.isnan(low) else f"{told[0]} [{told[1]}, {told[2]}]"


def spread(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.2f}" if math.isnan(sd) else f"{mean:.2f} ± {sd:.2f}"


GAIN = {
    "ladder": "gain over the rung below",
    "leave-one-out": "gain of the trick, on all others",
    "add-one": "gain of the trick, alone",
}


def shown(table: pd.DataFrame, design: str = "ladder") -> pd.DataFrame:
    """One row a rung as text, a column a heading."""
    text = pd.DataFrame({"rung": [f"{row['title']} {marks(row)}".strip() for _, row in table.iterrows()]})
    score = headline(table)
    second = SECOND[score]
    text[METRICS[score]] = list(map(spread, table[f"{score}_mean"], table[f"{score}_sd"]))
    text["n"] = table["n"].astype(str)
    if design in GAIN:
        text[GAIN[design]] = list(map(gain, table["gain"], table["gain_low"], table["gain_high"]))
        if pairs_apart(table):
            text["pairs"] = table["gain_pairs"].astype(str).where(table["gain"].notna(), "–")
        text["verdict"] = table["verdict"].replace("", "–")
        text["ρ̂"] = ["–" if math.isnan(rho) else f"{rho:.2f}" for rho in table["rho"]]
    if design == "ladder":
        text["gain over the baseline"] = list(map(gain, table["total"], table["total_low"], table["total_high"]))
    if f"{second}_mean" in table:
        text[METRICS[second]] = list(map(spread, table[f"{second}_mean"], table[f"{second}_sd"]))
    text["params"] = [f"{n / 1e6:.2f} M" if n >= 1e5 else f"{n:,}" for n in table["params"]]
    text["GFLOPs"] = [f"{g:.3g}" for g in table["gmacs"]]
    text["s/epoch"] = [f"{s:.3g}" for s in table["seconds_per_epoch"]]
    return text


TOGETHER = {"helps": "more together", "hurts": "less together"}  # what an interaction says


def shown_effects(effects: pd.DataFrame, design: str) -> pd.DataFrame:
    """One row an effect as text."""
    what = "Shapley value" if design == "shapley" else "effect"
    text = pd.DataFrame({"trick": effects["name"]})
    text[f"{what}, 95 % t-interval"] = list(map(gain, effects["value"], effects["low"], effects["high"]))
    if effects["order_se"].notna().any():
        text["s.e. of the orders"] = [f"{se:.2f}" for se in effects["order_se"]]
    text["n"] = effects["n"].astype(str)
    said = effects["verdict"].where(effects["main"].astype(bool), effects["verdict"].replace(TOGETHER))
    text["verdict"] = said.replace("", "–")
    if effects["aliases"].any():
        text["aliased with"] = effects["aliases"].replace("", "–")
    return text


SEEN = (  # how far the evidence goes, below its table
    "Seen at every step: rates, labels, passes. Seen at the audited steps alone, which are drawn at random: images, "
    "targets, loss, gradients, steps, running statistics. Seen in the first steps alone: initial weights, how weights' "
    "gradients are rounded, what a line says of step 1 or of the first batches. Of photos 32 test images are decoded "
    "again; all must be the same at each evaluation. Not seen: what deviates at fewer steps than their line says.",
)


BY_CLASS = {  # by a class's score: what its table is called, what is counted of it, what to know
    "AP": ("AP by class", "boxes", "Average precision at an IoU of .5, by eleven points as in VOC 2007"),
    "IoU": ("IoU by class", "pixels", "Intersection over union in pixels of the whole set"),
}


def shown_classes(found: pd.DataFrame) -> pd.DataFrame:
    """One row a class as text, a column a rung, of `frames.classes`."""
    first = found[found["place"] == found["place"].iloc[0]]
    text = pd.DataFrame({"class": first["class"], BY_CLASS[first["score"].iloc[0]][1]: [f"{n:,}" for n in first["n"]]})
    text = text.reset_index(drop=True)
    for _, own in found.groupby("place"):
        spreads = list(map(spread, own["mean"], own["sd"]))
        text.insert(len(text.columns), own["title"].iloc[0], spreads, allow_duplicates=True)
    return text


def write_classes(folder: Path, study: str, found: pd.DataFrame) -> None:
    """Write classes.{md,csv}."""
    heading, _, about = BY_CLASS[found["score"].iloc[0]]
    table = shown_classes(found)
    note = f"{about}: mean ± s.d. over the seeds of each rung, in percent."
    table = table.map(literal).set_axis(map(literal, table.columns), axis=1)  # a rung's title is text from users too
    text = document(f"{one_line(study)}: {heading}", [markdown(table, [])], [note])
    write_atomic(folder / "classes.md", text.encode())
    write_atomic(folder / "classes.csv", comma_separated(found.drop(columns=["place", "title"])).encode())


def shown_evidence(evidence: pd.DataFrame) -> pd.DataFrame:
    """One row a check as text: what a rung's own trick had to prove, and whatever failed."""
    telling = evidence[evidence["own"].astype(bool) | (evidence["ok"] < evidence["n"])]
    text = telling[["title", "what", "expected", "seen"]].rename(columns={"title": "rung", "what": "measured"})
    text["held in"] = [f"{row.ok} of {row.n}" for row in telling.itertuples()]
    return text


def how_far(evidence: pd.DataFrame) -> list[str]:
    """Notes: of which rungs how many steps were audited, and how their parts are known; what is seen when."""
    every, notes = evidence["title"].nunique(), []
    for start in ("steps audited", "parts known"):
        rows = evidence[evidence["what"].str.startswith(start)]
        for (what, seen), own in rows.groupby(["what", "seen"], sort=False):
            titles = own["title"].unique()
            which = "every rung" if len(titles) == every else ", ".join(titles)
            notes.append(f"{which}: {seen} {what}." if start == "steps audited" else f"{which}: {what}: {seen}.")
    return [*notes, *SEEN] if notes else []


def write(
    folder: Path,
    study: str,
    design: str,
    rungs: pd.DataFrame,
    effects: pd.DataFrame | None,
    evidence: pd.DataFrame,
    notes: list[str],
) -> str:
    """Write table.{md,csv,tex} and evidence.{md,csv}; returns the first, which a design of effects has of effects.

    Such a design's rungs are in rungs.csv then.
    """
    study = one_line(study)
    unrounded = rungs.drop(columns=["place", "title", "score"])
    table, names = shown(rungs, design), ["rung"]
    if effects is not None:
        write_atomic(folder / "rungs.csv", comma_separated(unrounded).encode())
        table, names, unrounded = (
            shown_effects(effects, design),
            ["trick", *(["aliased with"] if effects["aliases"].any() else [])],
            effects,
        )
    text = document(study, [markdown(table, names)], notes)
    proof = shown_evidence(evidence)
    write_atomic(folder / "table.md", text.encode())
    write_atomic(folder / "table.csv", comma_separated(unrounded).encode())
    write_atomic(folder / "table.tex", latex(table, study, notes).encode())
    write_atomic(
        folder / "evidence.md",
        document(f"{study}: evidence", [markdown(proof, proof.columns)], [*how_far(evidence)]).encode(),
    )
    write_atomic(folder / "evidence.csv", comma_separated(evidence.drop(columns=["place", "title"])).encode())
    return text


SPECIAL = re.compile(r"[\\`*\[\]<>|&~$#]|(?<![^\W_])_|_(?![^\W_])")  # no_bias_decay needs no escape, _this_ does


def literal(text: str) -> str:
    """Whatever is special to Markdown escaped."""
    return SPECIAL.sub(r"\\\g<0>", text)


def markdown(table: pd.DataFrame, names: Iterable[str]) -> str:
    """A table; its columns `names` hold text from users."""
    made: str = table.assign(**{name: table[name].map(literal) for name in names}).to_markdown(
        index=False, disable_numparse=True
    )
    return made


def document(study: str, tables: Iterable[str], notes: Iterable[str]) -> str:
    """A heading, Markdown tables and notes."""
    items = "\n".join(f"- {literal(note)}" for note in notes)
    return "\n\n".join(filter(None, [f"# {literal(study)}", *tables, items])) + "\n"


def comma_separated(table: pd.DataFrame) -> str:
    """The frame, unrounded. Text that a spreadsheet would run as a formula has an apostrophe before it."""

    def inert(cell: object) -> object:
        return f"'{cell}" if isinstance(cell, str) and cell.startswith(tuple("=+-@＝＋－＠")) else cell

    text: str = table.map(inert).to_csv(index=False)
    return text


LATEX = {"ρ̂": r"$\hat\rho$", "γ": r"$\gamma$", "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "–": "--", "…": r"\dots{}"}
LATEX |= {"†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}", "¤": r"\textcurrency{}"}


def typeset(escaped: str) -> str:
    """The last step after pandas' escaping: letters that are commands, and no [ or * that the row above would take."""
    for letter, command in LATEX.items():
        escaped = escaped.replace(letter, command)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def latex(table: pd.DataFrame, study: str, notes: list[str]) -> str:
    """A booktabs table; every cell, heading and note escaped."""
    escaped = table.style.hide(axis="index").format(typeset, escape="latex")
    escaped = escaped.format_index(typeset, escape="latex", axis=1)
    lines = pd.DataFrame([f"{study}.", *notes]).style.hide(axis="index").hide(axis="columns")
    caption = " ".join(lines.format(typeset, escape="latex").to_string().splitlines())
    text: str = escaped.to_latex(hrules=True, column_format="l" + "r" * (table.shape[1] - 1), caption=caption)
    return "% needs booktabs\n" + text
