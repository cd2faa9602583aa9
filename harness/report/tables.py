"""Tables: frames as text, and that as Markdown and CSV."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

import harness.report.latex as latex
from harness import one_line
from harness.paths import write_atomic
from harness.report.frames import headline, marks, measure, pairs_apart
from harness.report.words import METRICS, SECOND, TOP1, Measure


def gain(mean: float, low: float, high: float, decimals: int = 2) -> str:
    if math.isnan(mean):
        return "–"
    told = [f"{round(value, decimals) + 0.0:+.{decimals}f}" for value in (mean, low, high)]  # + 0.0: no -0.00
    return told[0] if math.isnan(low) else f"{told[0]} [{told[1]}, {told[2]}]"


def spread(mean: float, sd: float, decimals: int = 2) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.{decimals}f}" if math.isnan(sd) else f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


GAIN = {
    "ladder": "gain over the rung below",
    "leave-one-out": "gain of the trick, on all others",
    "add-one": "gain of the trick, alone",
    "against": "gain over",
}


Columns = dict[str, tuple[str, list[str]]]  # by a short name that stays: the heading, and a text a row


def columns(table: pd.DataFrame, design: str = "ladder") -> Columns:
    """A table of rungs as text."""
    score, by = headline(table), measure(table)
    second, many = SECOND.get(score, "top1"), [by.decimals] * len(table)
    shown_as = METRICS[score] if by.unit in ("%", METRICS[score]) else by.axis
    made: Columns = {
        "rung": ("rung", [f"{row['title']} {marks(row)}".strip() for _, row in table.iterrows()]),
        "score": (shown_as, list(map(spread, table[f"{score}_mean"], table[f"{score}_sd"], many))),
        "n": ("n", list(map(str, table["n"]))),
    }
    if design in GAIN:
        gains = list(map(gain, table["gain"], table["gain_low"], table["gain_high"], many))
        over = table["over"][table["over"] != ""].iloc[:1].tolist() if design == "against" else []
        made["gain"] = " ".join([GAIN[design], *over]), gains
        if pairs_apart(table):
            pairs = table["gain_pairs"].astype(str).where(table["gain"].notna(), "–")
            made["pairs"] = "pairs", list(pairs)
        made["verdict"] = "verdict", list(table["verdict"].replace("", "–"))
        if (table["test"] == "moderated").any():
            plain = [verdict.partition(" (")[0] for verdict in table["plain_verdict"]]
            made["plain"] = "by a plain t-test", [verdict or "–" for verdict in plain]
        made["rho"] = "ρ̂", ["–" if math.isnan(rho) else f"{rho:.2f}" for rho in table["rho"]]
    if design == "ladder":
        totals = list(map(gain, table["total"], table["total_low"], table["total_high"], many))
        made["total"] = "gain over the baseline", totals
    if f"{second}_mean" in table:
        made["second"] = METRICS[second], list(map(spread, table[f"{second}_mean"], table[f"{second}_sd"]))
    if "balanced_accuracy_mean" in table and score != "balanced_accuracy":
        spreads = list(map(spread, table["balanced_accuracy_mean"], table["balanced_accuracy_sd"]))
        made["balanced"] = METRICS["balanced_accuracy"], spreads
    made["params"] = "params", [f"{n / 1e6:.2f} M" if n >= 1e5 else f"{n:,}" for n in table["params"]]
    made["gflops"] = "GFLOPs", [f"{g:.3g}" for g in table["gmacs"]]
    made["seconds"] = "s/epoch", [f"{s:.3g}" for s in table["seconds_per_epoch"]]
    return made


def framed(made: Columns) -> pd.DataFrame:
    """A column a heading."""
    return pd.DataFrame(dict(made.values()))


def shown(table: pd.DataFrame, design: str = "ladder") -> pd.DataFrame:
    """One row a rung as text, a column a heading."""
    return framed(columns(table, design))


def shown_runs(own: pd.DataFrame) -> pd.DataFrame:
    """Runs, as `data.behind` has them, as text: metrics to four digits, the beginning of a commit."""
    text = own.drop(columns=["place", "rung"])
    for name in text.select_dtypes("float").columns:
        text[name] = [f"{value:.4g}" for value in text[name]]
    text["commit"] = text["commit"].str[:12]
    named = {"spec_id": "specification", "mlflow_run_id": "MLflow run"}
    return text.rename(columns=named | METRICS).astype(str).replace("", "–")


TOGETHER = {"helps": "more together", "hurts": "less together"}  # what an interaction says


def effect_columns(effects: pd.DataFrame, design: str, by: Measure = TOP1) -> Columns:
    """A table of effects as text."""
    what = "Shapley value" if design == "shapley" else "effect"
    values = list(map(gain, effects["value"], effects["low"], effects["high"], [by.decimals] * len(effects)))
    made: Columns = {
        "trick": ("trick", list(effects["name"])),
        "value": (f"{what}, 95 % t-interval", values),
    }
    if effects["order_se"].notna().any():
        made["order_se"] = "s.e. of the orders", [by.bare(se) for se in effects["order_se"]]
    made["n"] = "n", list(map(str, effects["n"]))
    said = effects["verdict"].where(effects["main"].astype(bool), effects["verdict"].replace(TOGETHER))
    made["verdict"] = "verdict", list(said.replace("", "–"))
    if effects["aliases"].any():
        made["aliases"] = "aliased with", list(effects["aliases"].replace("", "–"))
    return made


def shown_effects(effects: pd.DataFrame, design: str, by: Measure = TOP1) -> pd.DataFrame:
    """One row an effect as text."""
    return framed(effect_columns(effects, design, by))


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
    chosen: Sequence[str] = (),
) -> str:
    """Write table.{md,csv,tex} and evidence.{md,csv}; returns the first, which a design of effects has of effects.

    Such a design's rungs are in rungs.csv then. `chosen` are the columns of the LaTeX table, as `latex.choice` has
    them. Raises Problem, and writes nothing, where the table has no such column.
    """
    study = one_line(study)
    made = columns(rungs, design) if effects is None else effect_columns(effects, design, measure(rungs))
    unrounded = rungs.drop(columns=["place", "title", "score", "unit", "lower"], errors="ignore")
    typeset = latex.table(latex.choice(made, chosen), study, latex.caption(study, design, rungs, effects), notes)
    if effects is not None:
        write_atomic(folder / "rungs.csv", comma_separated(unrounded).encode())
        unrounded = effects
    names = [made[key][0] for key in ("rung", "trick", "aliases") if key in made]
    text = document(study, [markdown(framed(made), names)], notes)
    proof = shown_evidence(evidence)
    write_atomic(folder / "table.md", text.encode())
    write_atomic(folder / "table.csv", comma_separated(unrounded).encode())
    write_atomic(folder / "table.tex", typeset.encode())
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


def markdown(table: pd.DataFrame, names: Iterable[str], right: bool = False) -> str:
    """A table; its columns `names` hold text from users; `right` puts all but the first to the right."""
    sides = {"colalign": ("left", *["right"] * (table.shape[1] - 1))} if right else {}
    made: str = table.assign(**{name: table[name].map(literal) for name in names}).to_markdown(
        index=False, disable_numparse=True, **sides
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

    made = table.copy()
    texts = [name for name, kind in table.dtypes.items() if kind.kind not in "biuf"]  # of numbers none is a formula
    for name in texts:
        made[name] = table[name].astype(object).map(inert)
    text: str = made.to_csv(index=False)
    return text
