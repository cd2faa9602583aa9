"""`python -m harness.gallery STUDY`: pictures of a study's data, and of what a run of it answers.

Of images of one class each: how many there are, how large the files are, what augmentation makes of some; and of one
run, where it is finished, its curves, test images with its answers, the confusion matrix, and its accuracy on all test
images, on 200 of them, and on those that training has no other copy of. Of a detector: photos with the boxes of the
truth and those found, precision and recall of each class. Of a segmenter: photos with both masks, the confusion of
pixels. The answers are computed anew, by the weights in the store and the loop's own evaluation, and must be those of
the record.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from harness import Problem, one_line, planned
from harness.cli import add_name, answer, main
from harness.paths import expanded

if TYPE_CHECKING:
    import pandas as pd

    from harness.study import Plan, Rung

SCORES = "Scores"  # heads the tables of a page


def index(study: str, made: Sequence[str], said: Sequence[str | pd.DataFrame], note: str) -> str:
    """The pictures by name with their captions, and paragraphs and tables above them, as Markdown."""
    from harness.report import pictures, predicted
    from harness.report.tables import literal, markdown

    captions = pictures.CAPTIONS | predicted.CAPTIONS
    above = [told if isinstance(told, str) else markdown(told, told.columns[:1], right=True) for told in said]
    lines = [f"# {literal(one_line(study))}: gallery", literal(one_line(note, 400)), *above]
    for name in made:
        title, caption = captions[name]
        lines += [f"## {title}", f"![{title}]({name}.png)", caption]
    return "\n\n".join(lines) + "\n"


def page(study: str, pictured: Mapping[str, str], said: Sequence[str | pd.DataFrame], note: str) -> str:
    """The same as one page of HTML; `pictured` has the SVG of each picture by its name."""
    from harness.report import pictures, predicted
    from harness.report.page import document, drawing, paragraph, table

    captions, title = pictures.CAPTIONS | predicted.CAPTIONS, f"{one_line(study)}: gallery"
    words = [note, *(told for told in said if isinstance(told, str))]
    sections = [(SCORES, table(told, SCORES)) for told in said if not isinstance(told, str)]
    sections += [(captions[name][0], drawing(name, svg, title, *captions[name])) for name, svg in pictured.items()]
    return document(title, sections, "".join(paragraph("", told) for told in words))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.gallery", description="Draw a study's data, and what one of its runs answers."
    )
    p.add_argument("study", nargs="?", default="digits", help=f"{planned.STUDY} (default: %(default)s)")
    p.add_argument("--rung", metavar="NAME", help="default: the first")
    p.add_argument("--seed", type=int, metavar="N", help="default: the study's first")
    p.add_argument("--set", action="append", default=[], metavar="SLOT.FIELD=VALUE", help="as harness.ablate was told")
    add_name(p)
    p.add_argument("--to", type=expanded, metavar="DIR", help="default: runs/reports/, the study's name, gallery/")
    return p


def run(options: argparse.Namespace) -> None:
    from harness import study
    from harness.gallery import classified, scenes
    from harness.paths import write_atomic
    from harness.report import figures, folder_of, recall, render
    from harness.report import index as overview
    from harness.store import Store

    store = Store()
    plan = study.plan(study.load(options.study), [*map(study.setting, options.set)])
    plan = replace(plan, name=options.name or "")
    rung = _rung(plan, options.rung)
    spec, seed, label = rung.spec, plan.seeds[0] if options.seed is None else options.seed, plan.label
    if seed not in plan.seeds:
        own = ", ".join(map(str, plan.seeds))
        raise Problem(f"--seed {seed}: no such run of {rung.name}; the study's seeds: {own}")
    folder, of = options.to or folder_of({"label": label}) / "gallery", f"{rung.title}, seed {seed}"
    room = classified if spec.data.truth == "class" else scenes
    drawn, said, stands = room.gallery(label, of, spec, seed, store)
    pictured = {name: figures.save(folder, name, figure) for name, figure in drawn.items()}
    note = f"{of}: {stands}"
    write_atomic(folder / "gallery.md", index(label, list(drawn), said, note).encode())
    answer({"folder": folder, "pictures": list(drawn), "run": note})
    write_atomic(folder / "index.html", page(label, pictured, said, note).encode())
    print(f"{note}\n{len(drawn)} pictures, gallery.md and index.html are in {folder}/")
    if not options.to and (folder.parent / "index.html").exists():
        with suppress(Problem):  # of a report by hand, or whose runs are gone
            render(recall(label), store)  # which has a link to it now
            overview.write()


def _rung(plan: Plan, name: str | None) -> Rung:
    found = [rung for rung in plan.rungs if name in (None, rung.name)]
    if not found:
        known = ", ".join(rung.name for rung in plan.rungs)
        raise Problem(f"--rung {name}: no such rung in {plan.study}; there are: {known}")
    return found[0]


if __name__ == "__main__":
    main(parser(), run)
