import base64
import hashlib
import re

import pandas as pd
import pytest

from harness import one_line
from harness.report import figures
from harness.report.findings import Section
from harness.report.looks import DIGEST, POLICY, SCRIPT
from harness.report.page import FIRST, LEAST, page
from tests.kit.figures import DRAW, runs_of
from tests.kit.hostile import NAMES
from tests.kit.html import Tree


def evidence_of(title="+ mixup", failed=()):
    rows = [
        {"place": place, "rung": "r", "title": title if place else "baseline", "part": "loop", "what": f"check {i}"}
        | {"expected": "1", "seen": "2" if (place, i) in failed else "1", "ok": 3 if (place, i) in failed else 5}
        | {"n": 5, "own": place == 1 and i == 1}
        for place in range(2)
        for i in range(3)
    ]
    return pd.DataFrame(rows)


def drawings(folder):
    data = runs_of(3, 2, ["baseline", "+ mixup", "+ cosine"])
    return {key: figures.save(folder, key, draw("s", *data)) for key, draw in DRAW.items()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return drawings(tmp_path_factory.mktemp("page"))


def page_of(drawn, name="+ mixup", about="About.\n\n    python -m x\n", failed=(), study="s"):
    table = pd.DataFrame({"rung": ["baseline", name], "top-1": ["90.00", "91.00"], "verdict": ["–", "helps"]})
    evidence = evidence_of(name, failed)
    return page(study, about, {"Rungs": table}, ["A note.", name], drawn, evidence, ["python -m a", f"b {name}"])


@pytest.fixture(scope="module")
def made(drawn):
    return page_of(drawn)


@pytest.fixture(scope="module")
def tree(made):
    return Tree(made)


def test_an_id_is_there_once_and_every_reference_leads_to_one(tree):
    ids = [own["id"] for _, own, _, _ in tree.elements if "id" in own]
    assert len(ids) == len(set(ids))
    assert len(ids) > 100
    inner = {e[1]["href"][1:] for e in tree.elements if e[1].get("href", "").startswith("#")}
    clips = set(re.findall(r"url\(#([^)]*)\)", " ".join(str(value) for e in tree.elements for value in e[1].values())))
    labels = {own["aria-labelledby"] for _, own, _, _ in tree.elements if "aria-labelledby" in own}
    assert len(inner) > 50
    assert len(clips) >= 5
    assert inner | clips | labels <= set(ids)
    for _, own, _, outer in tree.elements:  # a figure must not show the letters or take the frame of another
        if "svg" in outer and "id" in own:
            assert own["id"].split(".")[0] in DRAW


def test_nothing_is_loaded_and_only_the_pages_own_script_runs(made, tree):
    assert not {e[0] for e in tree.elements} & {
        "iframe",
        "object",
        "embed",
        "img",
        "base",
        "form",
        "foreignobject",
    }
    places = [
        v for _, own, _, _ in tree.elements for k, v in own.items() if k in ("src", "href", "action", "data", "srcset")
    ]
    assert {place[:1] for place in places if place != "data:,"} == {"#"}
    assert not [k for _, own, _, _ in tree.elements for k in own if k.startswith("on")]
    assert not re.search(
        r"https?:|//|@import|url\((?!#)", made.replace("<!doctype", "").replace(f"'sha256-{DIGEST}'", "")
    )
    assert [own["content"] for _, own in tree.of("meta", **{"http-equiv": "Content-Security-Policy"})] == [POLICY]
    assert POLICY.startswith("default-src 'none'")
    digest = base64.b64encode(hashlib.sha256(tree.texts("script")[0].encode()).digest()).decode()
    assert tree.texts("script") == [SCRIPT]
    assert re.findall(r"script-src ([^;]*)", POLICY) == [f"'sha256-{digest}'"], "no other script, and no attribute"
    assert not re.search("innerHTML|outerHTML|insertAdjacent|eval|Function|document.write|fetch", SCRIPT)
    assert tree.comments == 0


def test_headings_are_in_order_and_the_contents_lead_to_each(tree):
    levels = [e[0] for e in tree.elements if re.fullmatch("h[1-6]", e[0])]
    assert levels == ["h1"] + ["h2"] * (len(levels) - 1)
    there = {own["id"]: text for text, own in tree.of("h2")}
    assert {own["href"][1:]: text for text, own in tree.of("a")} == there
    drawn = [figures.CAPTIONS[name][0] for name in DRAW]
    assert list(there.values()) == ["Rungs", *drawn, "Evidence", "To make it again", "The study"]


def test_figures_are_named_and_scroll_rather_than_shrink(tree):
    drawn = tree.of("svg")
    assert [own["role"] for _, own in drawn] == ["img"] * len(DRAW)
    assert [own["aria-label"] for _, own in drawn] == [f"{figures.CAPTIONS[name][0]}: s" for name in DRAW]
    for _, own in drawn:
        least, most = map(int, re.findall(r"(\d+)px", own["style"]))
        assert most == round(float(own["viewbox"].split()[2]) * 96 / 72) == 1056
        assert least == round(LEAST * most)
        assert "width" not in own
    captions = tree.texts("figcaption")
    assert captions == [figures.CAPTIONS[name][1] for name in DRAW]
    assert all("wide" in own["class"] for _, own in tree.of("div", tabindex="0"))
    assert len(tree.of("div", tabindex="0")) == len(DRAW) + 1 + 2


def test_tables_have_heads_for_rows_and_columns(tree):
    assert tree.texts("th", scope="col")[:3] == ["rung", "top-1", "verdict"]
    assert tree.texts("th", scope="row")[:2] == ["baseline", "+ mixup"]
    assert tree.texts("td")[:4] == ["90.00", "–", "91.00", "helps"]
    assert tree.texts("td", **{"class": "helps"}) == ["helps"]


def test_five_columns_stand_first_and_each_cell_of_a_card_has_its_heading():
    table = pd.DataFrame([["a", *"123456"]], columns=["rung", *"bcdef", "verdict"])
    tree = Tree(page("s", "", {"Rungs": table}, [], {}, evidence_of(), []))
    assert tree.texts("label", **{"class": "all"}) == ["all 7 columns"]
    assert [own.get("class") for _, own in tree.of("th", scope="col")[:7]] == [None] * FIRST + ["more"] * 2
    cells = tree.of("td")[:6]
    assert [own["data-label"] for _, own in cells] == [*"bcdef", "verdict"]
    assert [own.get("class") for _, own in cells] == [None] * (FIRST - 1) + ["more"] * 2
    few = Tree(page("s", "", {"Rungs": table[["rung", "b"]]}, [], {}, evidence_of(), []))
    assert not few.of("input")


def test_findings_are_bullets_and_tables():
    found = [Section("", ("One.", "<b>Two.</b>")), Section("Beside", ("Three.",), pd.DataFrame({"trick": ["a|b"]}))]
    tree = Tree(page("s", "", {"Rungs": pd.DataFrame({"rung": ["a"]})}, [], {}, evidence_of(), [], found))
    assert {"One.", "<b>Two.</b>", "Three."} <= set(tree.texts("li"))
    assert tree.texts("h3") == ["Beside"]
    assert "a|b" in tree.texts("th", scope="row")


def test_points_of_figures_say_what_they_are(tree):
    said = [text for text, own in tree.of("title") if text.startswith("+ mixup, seed ")]
    assert len(said) == 2 + 2, "two runs, two pairs"


def test_what_commands_call_it_stands_below_the_title():
    frames = {"Rungs": pd.DataFrame({"rung": ["a"]})}
    named = page("CIFAR-10", "", frames, [], {}, evidence_of(), [], label="cifar10@6ce62a")
    assert Tree(named).texts("p", **{"class": "label"}) == ["cifar10@6ce62a"]


def test_checks_that_held_are_behind_a_line_that_counts_them(tree):
    told = ["baseline: 3 of 3 checks held in 5 of 5 runs", "+ mixup: 3 of 3 checks held in 5 of 5 runs"]
    assert tree.texts("summary") == told
    assert [own for _, own in tree.of("details")] == [{}, {}]
    assert not tree.of("div", **{"class": "failed"})
    assert len(tree.of("tr", **{"class": "own"})) == 1
    measured = tree.texts("th", scope="row")[2:]
    assert measured == ["check 0", "check 1", "check 2", "check 1", "check 0", "check 2"]


def test_a_failed_check_is_loud(drawn):
    tree = Tree(page_of(drawn, failed={(1, 2)}))
    assert [own for _, own in tree.of("details")] == [{}, {"class": "failing", "open": None}]
    assert tree.texts("summary")[1] == "+ mixup: 2 of 3 checks held in 5 of 5 runs"
    (alarm,) = tree.texts("div", **{"class": "failed"})
    assert alarm.startswith("1 check failed.")
    assert "+ mixup: check 2: expected 1, seen 2 (held in 3 of 5 runs)" in alarm
    assert len(tree.of("tr", **{"class": "bad"})) == 1
    tags = [e[0] for e in tree.elements]
    assert [e[1].get("class") for e in tree.elements].index("failed") < tags.index("nav") < tags.index("table")


def test_the_words_of_the_study_and_its_commands_stand_as_written(tree):
    commands, about = tree.texts("pre")
    assert commands == "python -m a\nb + mixup"
    assert about == "About.\n\n    python -m x"


def test_a_study_without_evidence_says_so(tmp_path):
    none = pd.DataFrame(columns=list(evidence_of().columns))
    tree = Tree(page("s", "", {"Rungs": pd.DataFrame({"rung": ["a"]})}, [], {}, none, []))
    assert "No run here has kept its evidence." in tree.texts("p")


def test_the_same_content_is_the_same_bytes(made, tmp_path):
    assert page_of(drawings(tmp_path)) == made


@pytest.fixture(scope="module")
def plain(tree):
    return [(tag, sorted(own), outer) for tag, own, _, outer in tree.elements if "svg" not in outer]


@pytest.mark.parametrize("key", NAMES)
def test_a_name_is_text_wherever_it_stands(key, plain, drawn):
    """Names within figures are tested with these."""
    given, shown = NAMES[key]
    text = page_of(drawn, one_line(given), given, study=given)
    tree = Tree(text)
    assert [(tag, sorted(own), outer) for tag, own, _, outer in tree.elements if "svg" not in outer] == plain
    assert {e[0] for e in tree.elements if "svg" in e[3]} <= {"g", "defs", "path", "use", "clippath", "rect", "title"}
    assert tree.comments == 0
    assert tree.texts("h1") == tree.texts("title")[:1] == [shown]
    assert tree.texts("th", scope="row")[1] == shown
    assert tree.texts("li")[-1] == shown
    assert tree.texts("summary")[1] == f"{shown}: 3 of 3 checks held in 5 of 5 runs"
    assert tree.texts("pre")[0] == f"python -m a\nb {shown}"
    assert all(letter.isprintable() for letter in tree.texts("pre")[1].replace("\n", ""))
    assert text.encode().decode() == text
