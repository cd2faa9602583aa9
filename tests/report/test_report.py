"""Reports of records made by hand, whose numbers can be done by hand."""

import csv
import math

import pytest

from harness import Problem, report
from harness.report import frames, tables
from harness.store import Store
from tests.tiny import finish

NAMES = ["baseline", "one", "two"]
EPOCHS = [2, 2, 3]


def record(top1, *, status="finished", epochs=2, emulated=False, macs=1_500_000, top5=None, device="a", commit="c"):
    return {
        "status": status,
        "metrics": {"test_loss": 1.0, "top1": top1, **({"top5": top5} if top5 else {})},
        "epochs": [{}] * epochs,
        "params": 1000,
        "macs": macs,
        "seconds_per_epoch": 0.5,
        "precision": {"name": "FP32", "emulated": emulated},
        "environment": {"device_name": device, "commit": commit},
        "evidence": [],
    }


def plan(titles=("baseline", "+ one", "+ two"), seeds=(0, 1, 2), upstream=()):
    rungs = [
        {"name": n, "title": t, "id": n, "epochs": e, "seeds": list(seeds)}
        for n, t, e in zip(NAMES, titles, EPOCHS, strict=True)
    ]
    return {"study": "s", "label": "s", "settings": [], "rungs": rungs, "upstream": [{"of": of} for of in upstream]}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")

    def add(rung, seed, *args, **kwargs):
        finish(store, rung, seed, record(*args, **kwargs))

    store.add = add
    return store


@pytest.fixture
def full(store):
    for seed, (a, b, c) in enumerate([(90.0, 92.0, 91.0), (91.0, 92.0, 93.0), (92.0, 95.0, 92.5)]):
        store.add("baseline", seed, a)
        store.add("one", seed, b)
        store.add("two", seed, c, epochs=3, emulated=True)
    return store


def rows(store, p):
    return frames.ladder(p, frames.runs(p, store)).set_index("rung")


def test_means_deviations_and_paired_gains_by_hand(full):
    table = rows(full, plan())
    assert table.loc["baseline", "top1_mean"] == pytest.approx(91)
    assert table.loc["baseline", "top1_sd"] == pytest.approx(1)
    # gains of `one`: 2, 1, 3: mean 2, s.d. 1, half = 4.302653 / sqrt(3)
    half = 4.302653 / math.sqrt(3)
    seen = table.loc["one", ["gain", "gain_low", "gain_high"]]
    assert list(seen) == pytest.approx([2, 2 - half, 2 + half], abs=1e-5)
    assert table.loc["two", "gain"] == pytest.approx((-1 + 1 - 2.5) / 3)
    assert table.loc["two", "total"] == pytest.approx((1 + 2 + 0.5) / 3)
    assert table.loc["two", "verdict"] == "not resolved"
    assert math.isnan(table.loc["baseline", "gain"])


def test_marks_say_what_changed_beside_the_trick(full):
    table = rows(full, plan(upstream=["two"]))
    assert frames.marks(table.loc["one"]) == ""
    assert frames.marks(table.loc["two"]) == "†§‡"
    notes = " ".join(frames.footnotes(plan(upstream=["two"]), frames.runs(plan(), full), table))
    assert "number of epochs" in notes
    assert "emulated" in notes


def test_a_diverged_run_is_counted_and_a_refused_one_is_not_and_both_are_named(full):
    full.add("one", 0, 10.0, status="diverged")
    (full.folder("two", 1) / "result.json").unlink()
    full.add("two", 1, 99.0, status="refused")
    every = frames.runs(plan(), full)
    table = frames.ladder(plan(), every).set_index("rung")
    assert table.loc["one", "n"] == 3
    assert table.loc["one", "top1_mean"] == pytest.approx((10 + 92 + 95) / 3)
    assert table.loc["two", "n"] == 2
    assert table.loc["two", "top1_mean"] == pytest.approx((91 + 92.5) / 2)
    notes = " ".join(frames.footnotes(plan(), every, table))
    assert "1 run diverged, and counted in n: one seed 0." in notes
    assert "1 run refused by its evidence, left out: two seed 1." in notes


def test_one_seed_gives_a_gain_without_an_interval_and_no_verdict(store):
    store.add("baseline", 0, 90.0)
    store.add("one", 0, 92.0)
    p = plan(seeds=(0,))
    shown = tables.shown(rows(store, p).reset_index())
    assert list(shown["gain over the rung below"]) == ["–", "+2.00"]
    assert list(shown["top-1"]) == ["90.00", "92.00"]
    assert list(shown["verdict"]) == ["–", "–"]


def test_a_rung_without_runs_breaks_the_gain_above_it_and_is_named(store):
    for seed in range(3):
        store.add("baseline", seed, 90.0 + seed)
        store.add("two", seed, 91.0 + 2 * seed)
    every = frames.runs(plan(), store)
    table = frames.ladder(plan(), every).set_index("rung")
    assert list(table.index) == ["baseline", "two"]
    assert math.isnan(table.loc["two", "gain"])
    assert table.loc["two", "total"] == pytest.approx(2)
    assert "one (3 of 3)" in " ".join(frames.footnotes(plan(), every, table))


def test_hardware_and_commits_that_differ_are_said(full):
    full.add("one", 0, 92.0, device="b", commit="d")
    every = frames.runs(plan(), full)
    notes = " ".join(frames.footnotes(plan(), every, frames.ladder(plan(), every)))
    assert "different hardware" in notes
    assert "different commits" in notes


NASTY = ["<script>alert(1)</script>", r"\input{/etc/passwd}", "a | b & 50 % $x$ _y_ #1"]


def test_names_cannot_leave_their_cell(full, tmp_path):
    p = plan(titles=NASTY)
    every = frames.runs(p, full)
    tables.write(tmp_path, "<b>s</b>", frames.ladder(p, every), frames.footnotes(p, every, frames.ladder(p, every)))
    page = (tmp_path / "table.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>s" not in page
    tex = (tmp_path / "table.tex").read_text()
    assert r"\input" not in tex
    assert r"50 \% \$x\$ \_y\_ \#1" in tex
    body = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert {len(line.replace("\\|", "").split("|")) for line in body} == {11}


def test_markdown_keeps_signs_and_trailing_zeros(full, tmp_path):
    p = plan()
    every = frames.runs(p, full)
    text = tables.write(tmp_path, "s", frames.ladder(p, every), [])
    assert "+2.00 [" in text
    assert "91.00 ± 1.00" in text


def test_the_csv_is_unrounded_and_has_the_promised_columns(full, tmp_path):
    for seed in range(3):
        full.add("baseline", seed, 100 * (1 + seed) / 7, top5=99.0)
    p = plan()
    every = frames.runs(p, full)
    tables.write(tmp_path, "s", frames.ladder(p, every), [])
    with (tmp_path / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    promised = [
        "rung",
        "n",
        "top1_mean",
        "top1_sd",
        "gain",
        "gain_low",
        "gain_high",
        "params",
        "gmacs",
        "seconds_per_epoch",
    ]
    assert set(promised) <= set(table[0])
    assert float(table[0]["top1_mean"]) == pytest.approx(100 * 2 / 7, abs=1e-12)
    assert float(table[0]["gmacs"]) == 0.0015


def test_latex_is_booktabs_and_compiles_in_its_letters(full, tmp_path):
    p = plan(titles=("baseline", "+ zero γ", "+ two"))
    every = frames.runs(p, full)
    tables.write(tmp_path, "s", frames.ladder(p, every), frames.footnotes(p, every, frames.ladder(p, every)))
    tex = (tmp_path / "table.tex").read_text()
    assert all(rule in tex for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"$\gamma$", r"$\pm$"))
    assert tex.isascii()


@pytest.fixture
def rendered(full, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    report.remember(plan())
    return report.render(plan(), full)


def test_render_writes_every_file_and_the_figure_shows_every_seed(rendered, full):
    names = {f"table.{k}" for k in ("md", "csv", "tex", "html")} | {"ladder.png", "ladder.svg"}
    assert {path.name for path in rendered.folder.iterdir()} == names
    assert (rendered.folder / "ladder.png").read_bytes().startswith(b"\x89PNG")
    svg = (rendered.folder / "ladder.svg").read_text()
    seeds = svg.split('id="PathCollection_')[1:]
    assert sum(part.split("</g>\n   </g>")[0].count("<use ") for part in seeds) == 9


def test_the_same_records_give_the_same_bytes(rendered, full):
    first = {path.name: path.read_bytes() for path in rendered.folder.iterdir()}
    again = report.render(plan(), full)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == first


def test_a_study_that_was_never_run_is_a_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    with pytest.raises(Problem, match="no study 'x' was run here.*python -m harness.ablate x"):
        report.recall("x")
    report.remember(plan())
    with pytest.raises(Problem, match="no finished run"):
        report.render(report.recall("s"), Store(tmp_path / "none"))
