"""Tables: one frame as Markdown, CSV, LaTeX (booktabs) and HTML."""

import html
import math
import re
from pathlib import Path

import pandas as pd

from harness import one_line
from harness.paths import write_atomic
from harness.report.frames import marks


def shown(ladder: pd.DataFrame) -> pd.DataFrame:
    """The ladder as text, a column a heading."""

    def spread(mean: float, sd: float) -> str:
        return f"{mean:.2f}" if math.isnan(sd) else f"{mean:.2f} ± {sd:.2f}"

    def gain(mean: float, low: float, high: float) -> str:
        if math.isnan(mean):
            return "–"
        return f"{mean:+.2f}" if math.isnan(low) else f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"

    table = pd.DataFrame({"rung": [f"{row['title']} {marks(row)}".strip() for _, row in ladder.iterrows()]})
    table["top-1"] = list(map(spread, ladder["top1_mean"], ladder["top1_sd"]))
    table["n"] = ladder["n"].astype(str)
    table["gain over the rung below"] = list(map(gain, ladder["gain"], ladder["gain_low"], ladder["gain_high"]))
    table["verdict"] = ladder["verdict"].replace("", "–")
    table["gain over the baseline"] = list(map(gain, ladder["total"], ladder["total_low"], ladder["total_high"]))
    if "top5_mean" in ladder:
        table["top-5"] = list(map(spread, ladder["top5_mean"], ladder["top5_sd"]))
    table["params"] = [f"{n / 1e6:.2f} M" if n >= 1e5 else f"{n:,}" for n in ladder["params"]]
    table["GFLOPs"] = [f"{g:.3g}" for g in ladder["gmacs"]]
    table["s/epoch"] = [f"{s:.3g}" for s in ladder["seconds_per_epoch"]]
    return table


def write(folder: Path, study: str, ladder: pd.DataFrame, notes: list[str]) -> str:
    """Write table.{md,csv,tex,html} into `folder`; returns the Markdown."""
    study, table = one_line(study), shown(ladder)
    text = markdown(table, study, notes)
    write_atomic(folder / "table.md", text.encode())
    write_atomic(folder / "table.csv", comma_separated(ladder).encode())
    write_atomic(folder / "table.tex", latex(table, study, notes).encode())
    write_atomic(folder / "table.html", page(table, study, notes).encode())
    return text


SPECIAL = re.compile(r"[\\`*\[\]<>|&~$#]|(?<![^\W_])_|_(?![^\W_])")  # no_bias_decay needs no escape, _this_ does


def markdown(table: pd.DataFrame, study: str, notes: list[str]) -> str:
    """A heading, the table and its notes; whatever is special to Markdown in a name escaped."""

    def literal(text: str) -> str:
        return SPECIAL.sub(r"\\\g<0>", text)

    body = table.assign(rung=table["rung"].map(literal)).to_markdown(index=False, disable_numparse=True)
    items = "\n".join(f"- {literal(note)}" for note in notes)
    return f"# {literal(study)}\n\n{body}\n\n{items}\n"


def comma_separated(ladder: pd.DataFrame) -> str:
    """The frame, unrounded. Text that a spreadsheet would run as a formula has an apostrophe before it."""

    def inert(cell: str) -> str:
        return f"'{cell}" if cell.startswith(tuple("=+-@＝＋－＠")) else cell

    named = ladder.drop(columns=["place", "title"])
    text: str = named.assign(rung=named["rung"].map(inert)).to_csv(index=False)
    return text


LATEX = {"γ": r"$\gamma$", "±": r"$\pm$", "–": "--", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "…": r"\dots{}"}


def typeset(escaped: str) -> str:
    """The last step after pandas' escaping: letters that are commands, and no [ or * that the row above would take."""
    for letter, command in LATEX.items():
        escaped = escaped.replace(letter, command)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def latex(table: pd.DataFrame, study: str, notes: list[str]) -> str:
    """A booktabs table; every cell, heading and note escaped."""
    escaped = table.style.hide(axis="index").format(typeset, escape="latex").format_index(escape="latex", axis=1)
    lines = pd.DataFrame([f"{study}.", *notes]).style.hide(axis="index").hide(axis="columns")
    caption = " ".join(lines.format(typeset, escape="latex").to_string().splitlines())
    text: str = escaped.to_latex(hrules=True, column_format="l" + "r" * (table.shape[1] - 1), caption=caption)
    return "% needs booktabs\n" + text


STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; color: #222; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; white-space: nowrap; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; } th:first-child, td:first-child { text-align: left; }
thead { border-top: 2px solid; border-bottom: 1px solid; } tbody { border-bottom: 2px solid; }
li { color: #555; max-width: 60rem; } img { max-width: 100%; }
"""


def page(table: pd.DataFrame, study: str, notes: list[str]) -> str:
    """A page with the table, escaped, and the figure beside it."""
    styler = table.style.set_uuid("ladder").hide(axis="index")  # a random one would make each page new
    body = styler.format(escape="html").format_index(escape="html", axis=1).to_html()
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    name = html.escape(study)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f'<h1>{name}</h1><div class="wide">{body}</div><ul>{items}</ul><img src="ladder.svg" alt="the ladder"></html>'
    )
