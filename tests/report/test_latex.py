"""LaTeX of a table: its columns, label, caption and marks."""

import re

import pytest

from harness import Problem
from harness.report import frames, tables
from tests.kit.records import plan


@pytest.fixture
def typeset(full, tmp_path):
    def make(*chosen, study="s@shapley-1", titles=("baseline", "+ one", "+ two")):
        p = plan(titles=titles)
        every = frames.runs(p, full)
        table = frames.rungs(p, every)
        notes = frames.footnotes(p, every, table)
        tables.write(tmp_path, study, "ladder", table, None, frames.evidence(p, every), notes, chosen)
        return (tmp_path / "table.tex").read_text()

    return make


def heads(tex):
    return [cell.strip(" \\\n") for cell in tex.split(r"\toprule")[1].split(r"\midrule")[0].split("&")]


def test_few_columns_unless_others_are_chosen(typeset):
    assert heads(typeset()) == ["rung", "top-1", "n", "gain over the rung below", "verdict"]
    tex = typeset("verdict", "rung", "rho")
    assert heads(tex) == ["verdict", "rung", r"$\hat\rho$"]
    assert r"\begin{tabular}{lrr}" in tex
    with pytest.raises(Problem, match="--columns top-1: no such column in this table; there are: rung, score, n, gain"):
        typeset("top-1")


def test_a_label_and_a_caption_of_two_sentences(typeset):
    tex = typeset()
    assert r"\label{tab:s@shapley-1}" in tex
    caption = re.search(r"\\caption\{(.*)\}", tex).group(1)
    assert caption == (
        r"s@shapley-1: Top-1 in percent of the test set, mean $\pm$ s.d. over 3 seeds. Gains are paired by seed, with "
        r"95 \% intervals; verdicts: paired t-tests at .05 after Holm."
    )
    assert tex.index(r"\caption") < tex.index(r"\label") < tex.index(r"\begin{tabular}")


def test_marks_are_told_below_and_other_notes_in_comments(typeset):
    tex = typeset()
    below = tex.split(r"\end{tabular}")[1]
    assert r"\ddag{} precision emulated" in below
    assert r"\dag{} trains for another number of epochs" in below
    assert "\n% GFLOPs are multiply-adds" in tex
    assert below.count("footnotesize") == 2


def test_names_stay_text(typeset):
    tex = typeset("rung", study=r"a}\input{/etc/passwd}", titles=("x & y", r"\end{table}", "$z$"))
    assert r"\input" not in tex
    assert tex.count(r"\end{table}") == 1
    assert r"x \& y" in tex
    assert r"\label{tab:a-input-etc-passwd-}" in tex
