"""Reports of studies that are scored by other metrics than top-1."""

import re

import pytest

from harness import Problem, report
from harness.report import frames, tuned
from harness.report.frames import judged
from harness.store import Store, spec_hash
from tests.kit import transfers
from tests.kit.records import record


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """{headline metric: its plan, its store, and the folder of its report}."""
    found = {}
    for score, study in (("mAP", "voc_detection"), ("mIoU", "ade20k_segmentation")):
        root = tmp_path_factory.mktemp(score)
        store, p = Store(root / "store"), transfers.plan(study)
        transfers.fill(store, score=score)
        with pytest.MonkeyPatch.context() as patch:
            if score == "mIoU":
                patch.setattr(report, "draw", lambda *_: ())  # figures take seconds
            report.render(p, store, root / "report")
        found[score] = p, store, root / "report"
    return found


TITLES = {"mAP": ("mAP", "mAP (area)"), "mIoU": ("mIoU", "pixel accuracy")}


@pytest.mark.parametrize("score", TITLES)
def test_the_table_has_the_metric_and_what_stands_beside_it(made, score):
    table = (made[score][2] / "table.md").read_text()
    head = [cell.strip() for cell in table.splitlines()[2].split("|")]
    assert (head[2], head[8]) == TITLES[score]
    assert re.search(r"\| \+ efficient § +\| 52.00 ± 0.95 +\| 3 +\| \+1.00 \[\+0.75, \+1.25\] +\| helps +\|", table)
    assert re.search(r"\| \+1.00 \[\+0.75, \+1.25\] +\| 53.00 ± 0.95 +\|", table), "1 point above, as they were made"
    assert f"Gains: points of {score} over the rung" in table
    assert "Intervals and verdicts are for this test set, not for new data." in table
    columns = (made[score][2] / "table.csv").read_text().splitlines()[0].split(",")
    assert {f"{score}_mean", f"{score}_sd"} <= set(columns)
    assert not {"score", "top1_mean"} & set(columns)


@pytest.mark.parametrize("score", TITLES)
def test_nothing_speaks_of_top_1_but_where_backbones_are_meant(made, score):
    for path in made[score][2].glob("*"):
        if path.suffix in (".md", ".csv", ".tex", ".html"):
            text = re.sub(
                r"(?i)top-1 (of|is that of) the backbones?|<svg.*?</svg>|<style.*?</style>",
                "",
                path.read_text(),
                flags=re.S,
            )
            assert not re.findall(r"(?i).{30}top.?[15].{9}", text), path.name
            assert not re.findall(r"(?i).{20}(?<!pixel )accuracy", text), path.name


def test_no_interval_of_new_data_is_made_of_images_that_nobody_told(made, monkeypatch):
    """Bits of nothing are whatever lies in memory: they are not asked for."""
    monkeypatch.setattr(judged, "right_bits", lambda rows: pytest.fail("there are none"))
    p, store, _ = made["mAP"]
    table = frames.rungs(p, frames.runs(p, store))
    assert table["gain_low"].notna().any()
    assert table[["new_low", "new_high"]].isna().all(axis=None)
    assert frames.one_image({1: frames.pairs(p, frames.by_seed(frames.runs(p, store)), 1)}) is None


def test_the_figures_are_those_of_a_study_and_one_more(made):
    names = {path.stem for path in made["mAP"][2].glob("*.png")}
    assert names == {"waterfall", "ladder", "transfer", "curves", "cost"}
    assert ">Backbones<" in (made["mAP"][2] / "index.html").read_text()


def test_the_classes_stand_in_the_folder_and_on_the_page(tmp_path, monkeypatch):
    """Of a cat and a dog: mAP is the mean of 40 and 60, 41 and 63, …"""
    ladder = {name: transfers.LADDER[name] for name in ("baseline", "efficient")}
    monkeypatch.setattr(report, "draw", lambda *_: ())  # figures take seconds
    for folder, told in (("a", True), ("b", False)):
        store = Store(tmp_path / folder / "store")
        for name, (_, values) in ladder.items():
            for seed, value in enumerate(values):
                own = {"cat": value - 10, "dog": value + 10}
                by_class = {of: {"AP": v, "AP_area": v + 1, "n": 1200} for of, v in own.items()} if told else {}
                transfers.add(store, transfers.resolved(name), seed, transfers.result(value) | {"by_class": by_class})
        report.render(transfers.plan(ladder=ladder), store, tmp_path / folder)
    row = r"cat +\| 1,200 +\| 41.00 ± 1.00 +\| 42.00 ± 0.95"
    assert re.search(row, (tmp_path / "a" / "classes.md").read_text())
    assert (tmp_path / "a" / "classes.csv").read_text().count("\n") == 5
    page = (tmp_path / "a" / "index.html").read_text()
    told = {"boxes": "1,200", "baseline": "61.00 ± 1.00", "+ efficient": "62.00 ± 0.95"}
    cells = "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in told.items())
    assert f'<tr><th scope="row">dog</th>{cells}</tr>' in page
    assert ">AP by class</h2>" in page
    assert not list((tmp_path / "b").glob("classes*"))
    assert "by class" not in (tmp_path / "b" / "index.html").read_text()


def test_runs_of_two_metrics_are_no_comparison(store):
    p = transfers.plan()
    transfers.fill(store)
    store.set_aside(p["rungs"][1]["id"], 0)
    transfers.add(store, transfers.resolved("efficient"), 0, record(90.0, tested=10))
    with pytest.raises(Problem, match="voc_detection: .* by mAP and efficient by top-1: runs that are scored by"):
        frames.runs(p, store)


def test_a_tuned_ladder_of_another_metric_is_no_comparison(made):
    (p, store, _), (q, other, _) = made["mAP"], made["mIoU"]
    with pytest.raises(Problem, match="scored by mAP, and untuned by mIoU"):
        tuned.compare(p, frames.runs(p, store), q, frames.runs(q, other))


def test_a_tuned_ladder_names_its_metric(made):
    p, store, _ = made["mIoU"]
    every = frames.runs(p, store)
    own = {"values": {"optimizer.lr": 0.1}, "score": 44.0, "pool": [44.0]}
    table = tuned.compare(p | {"tuned": {"rungs": [own] * len(p["rungs"])}}, every, p, every)
    assert table.loc[1, ["untuned_mIoU_mean", "tuned_mIoU_mean", "gained"]].tolist() == [52.0, 52.0, 0.0]
    shown = tuned.shown(table)
    assert shown.loc[1, ["mIoU, untuned", "mIoU, tuned", "held-out mIoU"]].tolist() == ["52.00 ± 0.95"] * 2 + ["44.00"]
    assert "points of mIoU" in tuned.gains("s", table, "mIoU").axes[0].get_xlabel()
    assert "held-out mIoU (%)" in tuned.curves({"one": [44.0]}, "s", "mIoU").axes[0].get_ylabel()


def test_scores_after_epochs_and_figure_4(made, tmp_path):
    p, store, _ = made["mIoU"]
    text = report.after_epochs(p, store, [1], tmp_path).text
    assert text.startswith("# ade20k_segmentation: mIoU by epoch")
    assert "| + cosine             | 53.00 [" in text
    assert "mIoU after so many epochs" in text
    q = p | {"rungs": [{**rung, "changes": {"targets.Smooth.smoothing": [None, 0.1]}} for rung in p["rungs"]]}
    with pytest.raises(Problem, match="runs scored by mIoU have no logits of an image to draw"):
        report.paper_figure(q, store, 4, tmp_path)


# --- the paper's Tables 8 and 9 --------------------------------------------------------------------------------------


def rows(text):
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 8:
            found[cells[1], cells[2]] = cells[3:-1]
    return found


def test_table_8_by_hand(made, tmp_path):
    p, store, _ = made["mAP"]
    text = report.beside_paper(p, store, 8, tmp_path).text
    told = rows(text)
    assert told["+ cosine", "mAP"][:5] == ["79.23", "53.00 ± 0.95 (n = 3) §", "D-efficient", "+0.93", "+1.00"]
    assert told["D-efficient", "mAP"][4:] == ["+1.00 [+0.75, +1.25]", "helps", "same sign"]
    assert told["+ mixup w/o distill", "mAP"][2:4] == ["+ smooth", "+0.39"], "81.10 - 80.71"
    assert told["+ distill w/ mixup", "mAP"][2:5] == ["+ smooth", "+0.62", "+3.00"], "57 - 54, over smoothing too"
    assert told["D-efficient", "Top-1"][1:5] == ["72.17 ± 1.26 (n = 3) §", "B-standard", "+1.02", "+1.17"]
    assert "Top-1 is that of the backbones by themselves." in text
    assert "of mAP only signs and order of gains are compared" in text
    assert "Verdicts on mAP are those" in text


def test_table_9_by_hand(made, tmp_path):
    p, store, _ = made["mIoU"]
    told = rows(report.beside_paper(p, store, 9, tmp_path).text)
    assert told["+ smooth", "mIoU"][:5] == ["38.75", "54.00 ± 0.95 (n = 3) §", "+ cosine", "-0.58", "+1.00"]
    assert told["+ smooth", "PixAcc"][:5] == ["78.64", "55.00 ± 0.95 (n = 3) §", "+ cosine", "-0.61", "+1.00"]
    assert told["D-efficient", "mIoU"][5:] == ["helps", "same sign"]
    assert told["+ mixup w/ distill", "PixAcc"][2:4] == ["+ smooth", "+0.08"], "78.72 - 78.64"


def test_where_the_data_are_the_papers_the_scores_are_compared_too(store, tmp_path):
    transfers.fill(store, images={"train": 16_551, "test": 4_952})
    text = report.beside_paper(transfers.plan(), store, 8, tmp_path).text
    assert "Other data" not in text
    assert "| difference" in text.splitlines()[2]
    assert "| -26.54 " in next(line for line in text.splitlines() if "B-standard" in line and "| mAP" in line)


def test_the_findings_set_gains_beside_the_papers_of_the_same_metric(made):
    text = (made["mIoU"][2] / "findings.md").read_text()
    assert "He et al. (2019, Table 9) have numbers for 6 of these gains" in text
    assert re.search(r"\| efficient +\| \+1.83 +\| \+1.00 ", text)
    assert re.search(r"\| label_smoothing +\| -0.58 +\| \+1.00 +\|", text)
    assert "He et al. (2019, Table 8)" in (made["mAP"][2] / "findings.md").read_text()


def test_before_any_run_the_papers_numbers_stand_alone(tmp_path, store):
    text = report.beside_paper(transfers.plan(study="transfer_segmentation"), store, 9, tmp_path).text
    assert rows(text)["+ cosine", "mIoU"][:2] == ["39.33", "no run"]
    assert spec_hash(transfers.resolved("cosine")) not in text
