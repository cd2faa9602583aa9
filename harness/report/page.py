"""One page that needs nothing else: tables, figures, evidence and commands in a single file, without a script.

All text is escaped, its control characters and bidirectional overrides taken out. The same content is the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import starmap
from xml.etree import ElementTree

import pandas as pd

from harness import one_line
from harness.report.figures import CAPTIONS
from harness.report.tables import how_far

LONGEST = 300  # letters of a cell
LEAST = 0.7  # of its own size: a figure scrolls rather than shrink below, where its 9 point letters are 8 px high
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root { --ink: #222; --soft: #565656; --line: #d4d4d4; --page: #fff; --shade: #f5f6f7; --link: #0b5ea8;
  --bad: #b3261e; --bad-page: #fdecea; --helps: #0067a3; --hurts: #b34a00; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --soft: #a9a9a9; --line: #444;
  --page: #17191c; --shade: #22252a; --link: #79b8f3; --bad: #ff8a80; --bad-page: #3b1a18; --helps: #6fbdf0;
  --hurts: #f2a365; } }
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); overflow-wrap: break-word;
  max-width: 96rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { font-size: 1.7rem; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: .5rem 0; list-style: none; }
p, figcaption, .notes { max-width: 60rem; }
.notes, figcaption { color: var(--soft); }
.notes { padding-left: 1.2rem; }
figure { margin: 0; }
figcaption { margin-top: .5rem; }
svg { display: block; width: 100%; height: auto; background: #fff; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.wide { overflow-x: auto; width: fit-content; max-width: 100%; border: 1px solid var(--line); border-radius: 4px;
  background: linear-gradient(to left, var(--page) 50%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--line), transparent) right / .8rem 100% no-repeat scroll; }
figure .wide { width: auto; max-width: 68rem; background: #fff; }
.wide:focus-visible { outline: 2px solid var(--link); }
.hint { display: none; color: var(--soft); font-size: .85rem; margin: .3rem 0 0; max-width: none; text-align: right; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--shade); vertical-align: bottom; white-space: normal; }
tbody th { background: var(--page); font-weight: inherit; }
tbody th, thead th:first-child { position: sticky; left: 0; text-align: left; white-space: normal; min-width: 11rem;
  max-width: 22rem; overflow-wrap: anywhere; border-right: 1px solid var(--line); }
.numbered { margin-top: .75rem; }
.numbered tbody th, .numbered thead th:first-child { min-width: 3.5rem; }
.helps, .hurts { font-weight: 600; }
.helps { color: var(--helps); }
.hurts { color: var(--hurts); }
.checks th, .checks td { text-align: left; white-space: normal; min-width: 6rem; overflow-wrap: anywhere; }
.checks td:nth-child(2) { white-space: nowrap; }
.own > * { font-weight: 600; }
.bad > * { color: var(--bad); background: var(--bad-page); font-weight: 600; }
.failed { border: 2px solid var(--bad); border-radius: 4px; padding: .2rem 1rem; margin: 1rem 0;
  background: var(--bad-page); }
.failed strong, .failing > summary { color: var(--bad); font-weight: 700; }
details { margin: .3rem 0; }
summary { cursor: pointer; padding: .2rem 0; }
pre { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem; overflow-x: auto;
  background: var(--shade); font-size: .85rem; }
.about { white-space: pre-wrap; }
@media screen and (max-width: 48rem) { .hint { display: block; } }
@media screen and (max-width: 90rem) { .results .hint { display: block; } }
@supports (timeline-scope: --wide) {  /* elsewhere the widths above are a guess: what fits has no timeline */
  .results, figure, details { timeline-scope: --wide; }
  .wide { scroll-timeline: --wide inline; }
  @media screen { .results .hint, .hint { display: block; max-height: 0; margin: 0; overflow: hidden;
    animation: overflows linear both; animation-timeline: --wide; } }
}
@keyframes overflows { from, to { max-height: 2em; margin: .3rem 0 0; } }
@media screen and (max-width: 30rem) {
  body { padding: .6rem .6rem 3rem; }
  th, td { padding: .3rem .45rem; }
  tbody th, thead th:first-child { min-width: 6.5rem; max-width: 7.5rem; }
  .checks th, .checks td { min-width: 7rem; }
}
@page { size: A4; margin: 14mm; }
@media print {
  body { font-size: 9pt; padding: 0; max-width: none; }
  nav { display: none; }
  h2 { margin-top: 1.2rem; }
  h2, summary { break-after: avoid; }
  figure, tr, pre, .failed { break-inside: avoid; }
  .wide { overflow: visible; border: 0; background: none; }
  table { font-size: 6.5pt; }
  thead { display: table-header-group; }
  th, td { white-space: normal; padding: .15rem .25rem; min-width: 0 !important; }
  tbody th, thead th:first-child { position: static; }
  svg { min-width: 0 !important; max-height: 235mm; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  details::details-content { content-visibility: visible; display: block; }
}
"""


def page(
    title: str,
    about: str,
    tables: Mapping[str, pd.DataFrame],
    notes: Sequence[str],
    drawings: Mapping[str, str],
    evidence: pd.DataFrame,
    commands: Sequence[str],
    found: Sequence[tuple[str, str]] = (),
    captions: Mapping[str, tuple[str, str]] = CAPTIONS,
    gallery: bool = False,
) -> str:
    """The document. `tables`: heading -> text, a row a rung or effect; `notes` stand below the first.

    `drawings`: a name in figures.CAPTIONS -> its SVG, in the order of the page; `evidence` as frames.evidence has it;
    `about`: the study's own words; `commands` that make it again, one a line; `found`: paragraphs as findings has them;
    `captions`: those of the study's headline metric; `gallery`: whether there is one beside the page.
    """
    title = one_line(title)
    sections: list[tuple[str, str]] = [(heading, table(frame, heading)) for heading, frame in tables.items()]
    told = "".join(f"<li>{text(note, 2000)}</li>" for note in notes)
    sections[0] = (sections[0][0], f'{sections[0][1]}<ul class="notes">{told}</ul>')
    if found:
        sections.insert(1, ("What was found", "".join(starmap(paragraph, found))))
    sections += [(captions[name][0], drawing(name, svg, title, *captions[name])) for name, svg in drawings.items()]
    sections.append(("Evidence", proof(evidence)))
    sections.append(("To make it again", f"<pre><code>{lines(commands)}</code></pre>"))
    sections.append(("The study", f'<pre class="about">{lines(about.strip().splitlines())}</pre>'))
    link = '<p><a href="gallery/index.html">Pictures of the data and of the answers</a></p>' if gallery else ""
    return document(title, sections, alarm(evidence) + link)


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
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n<main>{parts}</main></body></html>\n'
    )


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


def table(frame: pd.DataFrame, heading: str) -> str:
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in frame.columns)
    rows = "".join(f"<tr>{cells(frame.columns, row)}</tr>" for row in frame.itertuples(index=False, name=None))
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="results">{wide(body, f"Table: {heading}")}</div>'


def cells(columns: Iterable[str], row: Sequence[object]) -> str:
    """The first heads its row; a verdict that is one is coloured."""
    made = [f'<th scope="row">{text(row[0])}</th>']
    for name, cell in list(zip(columns, row, strict=True))[1:]:
        said = next(
            (word for word in ("helps", "hurts") if name.startswith("verdict") and str(cell).startswith(word)), ""
        )
        made.append(f'<td class="{said}">{text(cell)}</td>' if said else f"<td>{text(cell)}</td>")
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
        f"(held in {row.ok} of {row.n} runs)</li>"
        for row in bad.itertuples()
    )
    count = f"{len(bad)} check{'s' * (len(bad) > 1)} failed"
    return (
        f'<div class="failed"><p><strong>{count}. Runs that fail one enter no table.</strong></p><ul>{items}</ul></div>'
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
    held, n = len(own) - len(bad), own["n"].max()
    line = f"{own['title'].iloc[0]}: {held} of {len(own)} checks held in {n} of {n} runs"
    rows = []
    for row in own.sort_values("own", ascending=False, kind="stable").itertuples():
        kind = "bad" if row.ok < row.n else "own" if row.own else ""
        told = (row.what, row.part, row.expected, row.seen, f"{row.ok} of {row.n}")
        rows.append(f'<tr class="{kind}">{cells(("",) * len(told), told)}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("measured", "part", "expected", "seen", "held in"))
    body = f'<table class="checks"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    state = ' class="failing" open' if len(bad) else ""
    return f"<details{state}><summary>{text(line, LONGEST)}</summary>{wide(body, line)}</details>"
