"""One page that needs nothing else: tables, figures, evidence and commands in a single file.

All text is escaped, its control characters and bidirectional overrides taken out. The same content is the same bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from xml.etree import ElementTree

import pandas as pd

from harness import one_line
from harness.report.figures import CAPTIONS
from harness.report.findings import Section
from harness.report.looks import POLICY, SCRIPT, STYLE
from harness.report.tables import how_far, shown_runs
from harness.report.words import count

NUMBER = re.compile(r"[+-]?[0-9]")
LONGEST = 300  # letters of a cell
FIRST, MORE = 5, ' class="more"'  # columns of a table that are shown at once; the others
RUNS = 200  # of a rung that a page shows: 10,000 would be 10 MB of it
LEAST = 0.7  # of its own size: a figure scrolls rather than shrink below, where its 9 point letters are 8 px high


@dataclass(frozen=True)
class Behind:
    """The runs that the numbers of a table are made from: its heading, and for each of its rows those of `data.behind`.

    A page shows the first `RUNS` of a row.
    """

    heading: str
    rows: Mapping[tuple[int, str], pd.DataFrame]  # by a rung's place and title

    def links(self, heading: str) -> list[str]:
        return [f"#runs-{place}" for place, _ in self.rows] if heading == self.heading else []

    def section(self) -> str:
        made = "<p>Beside this page, unrounded: <code>runs.csv</code> and <code>runs.parquet</code>.</p>"
        for (place, title), own in self.rows.items():
            more = f"<p>The first {RUNS} of {len(own):,}; runs.csv has all.</p>" if len(own) > RUNS else ""
            body = f'<div id="runs-{place}">{more}{table(shown_runs(own[:RUNS]), f"{title}: runs")}</div>'
            made += f"<details><summary>{text(title)}: {count(len(own), 'run')}</summary>{body}</details>"
        return made


def page(
    title: str,
    about: str,
    tables: Mapping[str, pd.DataFrame],
    notes: Sequence[str],
    drawings: Mapping[str, str],
    evidence: pd.DataFrame,
    commands: Sequence[str],
    found: Sequence[Section] = (),
    captions: Mapping[str, tuple[str, str]] = CAPTIONS,
    label: str = "",
    behind: Behind | None = None,
    gallery: bool = False,
) -> str:
    """The document. `tables`: heading -> text, a row a rung or effect; `notes` stand below the first.

    `drawings`: a name in figures.CAPTIONS -> its SVG, in the order of the page; `evidence` as frames.evidence has it;
    `about`: the study's own words; `commands` that make it again, one a line; `found`: sections as findings has them;
    `captions`: those of the study's headline metric; `label`: what commands call the report; `behind`: the runs that
    numbers link to; `gallery`: whether there is one beside the page.
    """
    title = one_line(title)
    links = {heading: behind.links(heading) if behind else () for heading in tables}
    sections: list[tuple[str, str]] = [(name, table(frame, name, links[name])) for name, frame in tables.items()]
    told = "".join(f"<li>{text(note, 2000)}</li>" for note in notes)
    sections[0] = (sections[0][0], f'{sections[0][1]}<ul class="notes">{told}</ul>')
    if found:
        sections.insert(1, ("What was found", "".join(map(section, found))))
    sections += [(captions[name][0], drawing(name, svg, title, *captions[name])) for name, svg in drawings.items()]
    sections.append(("Evidence", proof(evidence)))
    sections += [("Runs", behind.section())] if behind else []
    sections.append(("To make it again", f"<pre><code>{lines(commands)}</code></pre>"))
    sections.append(("The study", f'<pre class="about">{lines(about.strip().splitlines())}</pre>'))
    told = f'<p class="label">{text(label)}</p>' if label and label != title else ""
    link = '<p><a href="gallery/index.html">Pictures of the data and of the answers</a></p>' if gallery else ""
    return document(title, sections, told + alarm(evidence) + link)


def document(title: str, sections: Sequence[tuple[str, str]], top: str = "") -> str:
    """(heading, HTML) of each section, as a whole page; `top` is the HTML below its title."""
    title = one_line(title)
    links = "".join(f'<li><a href="#part-{i}">{text(name)}</a></li>' for i, (name, _) in enumerate(sections))
    parts = "".join(
        f'<section aria-labelledby="part-{i}"><h2 id="part-{i}">{text(name)}</h2>{body}</section>\n'
        for i, (name, body) in enumerate(sections)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head>\n<body><header><h1>{text(title)}</h1>{top}</header>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n<main>{parts}</main>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def section(own: Section) -> str:
    """A heading, bullets, and a table where there is one."""
    head = f"<h3>{text(own.about)}</h3>" if own.about else ""
    items = "".join(f"<li>{text(line, 20_000)}</li>" for line in own.lines)
    made = table(own.table, own.about) if own.table is not None else ""
    return f"{head}{made}" + (f"<ul>{items}</ul>" if items else "")


def paragraph(about: str, said: str) -> str:
    return f"<p>{f'<strong>{text(about)}.</strong> ' if about else ''}{text(said, 20_000)}</p>"


def text(told: object, longest: int = LONGEST) -> str:
    return escape(one_line(str(told), longest))


def lines(told: Iterable[str]) -> str:
    """Lines as they stand, their spaces too."""
    return escape("\n".join("".join(letter for letter in line if letter.isprintable()) for line in told))


def wide(body: str, label: str) -> str:
    """What may be wider than the screen, in a box that scrolls, by keys too."""
    box = f'<div class="wide" tabindex="0" role="region" aria-label="{text(label)}">{body}</div>'
    return f'{box}<p class="hint" aria-hidden="true">scroll sideways →</p>'


def table(frame: pd.DataFrame, heading: str, links: Sequence[str] = ()) -> str:
    """The first columns, and the others where the reader asks for them; on a phone a card a row, on paper all.

    `links`: where the numbers of each row lead.
    """
    head = "".join(
        f'<th scope="col"{MORE if i >= FIRST else ""}>{text(name)}</th>' for i, name in enumerate(frame.columns)
    )
    linked = zip_longest(frame.itertuples(index=False, name=None), links, fillvalue="")
    rows = "".join(f"<tr>{cells(frame.columns, row, link=link)}</tr>" for row, link in linked)
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    n = len(frame.columns)
    every = f'<label class="all"><input type="checkbox">all {n} columns</label>' if n > FIRST else ""
    return f'<div class="results">{every}{wide(body, f"Table: {heading}")}</div>'


def cells(columns: Iterable[str], row: Sequence[object], first: int = FIRST, link: str = "") -> str:
    """The first heads its row; a verdict that is one is coloured; those from `first` on are shown on demand.

    Numbers lead to `link`.
    """
    made = [f'<th scope="row">{text(row[0])}</th>']
    for i, (name, cell) in enumerate(zip(columns, row, strict=True)):
        if not i:
            continue
        said = [word for word in ("helps", "hurts") if name.startswith("verdict") and str(cell).startswith(word)]
        said += ["more"] if i >= first else []
        kind = f' class="{" ".join(said)}"' if said else ""
        label = f' data-label="{text(name)}"' if name else ""
        shown = f'<a href="{link}">{text(cell)}</a>' if link and NUMBER.match(str(cell)) else text(cell)
        made.append(f"<td{kind}{label}>{shown}</td>")
    return "".join(made)


def drawing(name: str, svg: str, title: str, heading: str, caption: str) -> str:
    body = wide(inline(svg, name, f"{heading}: {title}"), heading)
    return f"<figure>{body}<figcaption>{text(caption, 1000)}</figcaption></figure>"


def inline(svg: str, name: str, label: str) -> str:
    """A figure of matplotlib's as part of a page: no prologue, comment or namespace, and each id with `name` before it.

    Every figure calls its parts the same, and a page has each id once.
    """
    root = ElementTree.fromstring(svg)
    for element in list(root.iter()):
        for child in list(element):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):  # its one rule is in STYLE
                element.remove(child)
        element.tag = element.tag.rpartition("}")[2]
        own = {key.rpartition("}")[2]: value.replace("url(#", f"url(#{name}.") for key, value in element.items()}
        if "id" in own:
            own["id"] = f"{name}.{own['id']}"
        if "href" in own:
            own["href"] = own["href"].replace("#", f"#{name}.", 1)
        element.attrib = own
    width = float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3  # points to px
    del root.attrib["height"]
    root.attrib |= {"role": "img", "aria-label": label}
    root.attrib["style"] = f"min-width: {LEAST * width:.0f}px; max-width: {width:.0f}px"
    return ElementTree.tostring(root, encoding="unicode")


def failed(evidence: pd.DataFrame) -> pd.DataFrame:
    return evidence[evidence["ok"] < evidence["n"]]


def alarm(evidence: pd.DataFrame) -> str:
    """What did not hold, above all else; nothing where all did."""
    bad = failed(evidence)
    if bad.empty:
        return ""
    items = "".join(
        f"<li>{text(row.title)}: {text(row.what)}: expected {text(row.expected)}, seen {text(row.seen)} "
        f"(held in {row.ok} of {count(row.n, 'run')})</li>"
        for row in bad.itertuples()
    )
    told = f"{count(len(bad), 'check')} failed"
    return (
        f'<div class="failed"><p><strong>{told}. Runs that fail one enter no table.</strong></p><ul>{items}</ul></div>'
    )


def proof(evidence: pd.DataFrame) -> str:
    """The checks of each rung behind a line that says how many held; open where one did not."""
    if evidence.empty:
        return "<p>No run here has kept its evidence.</p>"
    about = (
        "<p>What each run measured of itself while it trained, held against its specification. In bold, first: what "
        "the rung has to show and what it is compared with has not. Seen: by the first run that failed, else by the "
        "first.</p>"
    )
    far = "".join(f"<li>{text(note, 1000)}</li>" for note in how_far(evidence))
    about += f"<ul>{far}</ul>" if far else ""
    return about + "".join(checks(own) for _, own in evidence.groupby("place", sort=True))


def checks(own: pd.DataFrame) -> str:
    bad = failed(own)
    held, n = len(own) - len(bad), int(own["n"].max())
    line = f"{own['title'].iloc[0]}: {held} of {len(own)} checks held in {n} of {count(n, 'run')}"
    rows = []
    for row in own.sort_values("own", ascending=False, kind="stable").itertuples():
        kind = "bad" if row.ok < row.n else "own" if row.own else ""
        told = (row.what, row.part, row.expected, row.seen, f"{row.ok} of {row.n}")
        rows.append(f'<tr class="{kind}">{cells(("",) * len(told), told, len(told))}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("measured", "part", "expected", "seen", "held in"))
    body = f'<table class="checks"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    state = ' class="failing" open' if len(bad) else ""
    return f"<details{state}><summary>{text(line, LONGEST)}</summary>{wide(body, line)}</details>"
