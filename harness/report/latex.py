"""A table in LaTeX (booktabs): few columns, a label, a caption of two lines."""

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from harness import Problem, one_line
from harness.report.frames import MARKS, measure
from harness.report.words import count, opening

Columns = Mapping[str, tuple[str, Sequence[str]]]  # as tables.columns has them
DEFAULT = ("rung", "trick", "score", "n", "gain", "value", "verdict")  # those of them that a table has

LETTERS = {
    "ρ̂": r"$\hat\rho$",
    "γ": r"$\gamma$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
}
LETTERS |= {"†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}", "¤": r"\textcurrency{}"}
NAME = re.compile(r"[^A-Za-z0-9@-]+")  # what has no place in a label


def choice(columns: Columns, chosen: Sequence[str] = ()) -> Columns:
    """The columns of those short names, in that order; of none, a few. Raises Problem where the table has not one."""
    for key in chosen:
        if key not in columns:
            raise Problem(f"--columns {one_line(key)}: no such column in this table; there are: {', '.join(columns)}")
    return {key: columns[key] for key in chosen or [key for key in DEFAULT if key in columns]}


def caption(study: str, design: str, rungs: pd.DataFrame, effects: pd.DataFrame | None = None) -> tuple[str, str]:
    """What the numbers are, and how verdicts were made: a line each."""
    by = measure(rungs)
    sizes = sorted(set(rungs["n"]))
    n = count(sizes[-1], "seed") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} seeds"
    if effects is not None:
        what = "Shapley values" if design == "shapley" else "Effects of a two-level factorial design"
        tests = "t-tests at .05 after Holm"
        return f"{study}: {what} in {by.of}.", f"95 % t-intervals over {n}; verdicts: {tests}."
    unit = " in percent of the test set" if by.unit == "%" else f" in {by.unit}" if by.unit else ""
    kind = "moderated " if (rungs["test"] == "moderated").any() else ""
    tests = f"{kind}paired t-tests"
    tests = f"{tests} at .05 after Holm" if rungs["adjusted"].notna().any() else f"group-sequential {tests}"
    second = f"Gains are paired by seed, with 95 % intervals; verdicts: {tests}."
    return (
        f"{study}: {opening(by.title)}{unit}, mean ± s.d. over {n}.",
        second if rungs["gain"].notna().any() else "",
    )


def table(columns: Columns, study: str, caption: tuple[str, str], notes: Sequence[str]) -> str:
    r"""A booktabs table; every cell, heading and note escaped.

    `notes` that explain a mark stand below it, the others in comments above. Its label is `tab:` and the study's name.
    """
    texts = pd.DataFrame(dict(columns.values()))
    styled = texts.style.hide(axis="index").format(typeset, escape="latex")
    styled = styled.format_index(typeset, escape="latex", axis=1)
    body: str = styled.to_latex(hrules=True, column_format="l" + "r" * (texts.shape[1] - 1))
    seen = "".join(map(str, texts.iloc[:, 0]))
    below = [note for note in notes if note[:1] in {mark for mark, _ in MARKS.values()} & set(seen)]
    lines = ["% needs booktabs", *(f"% {line}" for line in escaped(note for note in notes if note not in below))]
    lines += [r"\begin{table}", r"\centering", rf"\caption{{{' '.join(filter(None, escaped(caption)))}}}"]
    lines += [rf"\label{{tab:{NAME.sub('-', study)}}}", body.strip()]
    lines += [rf"\par\footnotesize {line}" for line in escaped(below)]
    return "\n".join([*lines, r"\end{table}", ""])


def escaped(lines: Iterable[str]) -> list[str]:
    """Each line with whatever is special to LaTeX escaped, by pandas."""
    frame = pd.DataFrame([one_line(line, 2000) for line in lines])
    if frame.empty:
        return []
    made: str = frame.style.hide(axis="index").hide(axis="columns").format(typeset, escape="latex").to_string()
    return made.splitlines()


def typeset(escaped: str) -> str:
    """The last step after pandas' escaping: letters that are commands, and no [ or * that the row above would take."""
    for letter, command in LETTERS.items():
        escaped = escaped.replace(letter, command)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped
