"""The page over all reports, and reports with a name; of plans that are nothing but their JSON."""

import json
import os

import pytest

from harness import Problem
from harness.report import index, plan_path, recall, remember, renamed

CSV = "rung,gain,verdict\nbaseline,,\nwarmup,-0.42,not resolved (MDE 4.16)\nmixup,1.6,helps\nzero_gamma,-23.65,hurts\n"


def rung(name, title, seeds=(0, 1)):
    made = {"name": name, "title": title, "id": "a" * 16, "epochs": 2, "seeds": list(seeds), "on": [], "gain": None}
    return made | {"also": [], "may": []}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))

    def make(label, when, settings=(), design="ladder", made=True):
        study = label.partition("@")[0]
        rungs = [rung("baseline", "baseline"), rung("mixup", "+ <b>mixup</b>"), rung("zero_gamma", "+ zero γ")]
        plan = {"study": study, "label": label, "about": f"About {study} & more.\nAnd so on.", "design": design}
        plan |= {"settings": list(settings), "command": [study], "tricks": [], "decide": None}
        remember(plan | {"rungs": rungs, "upstream": []})
        folder = tmp_path / "reports" / label
        if made:
            folder.mkdir(parents=True)
            (folder / "table.csv").write_text(CSV)
            (folder / "index.html").write_text("")
            os.utime(folder / "index.html", (when, when))
        return folder

    return make


def test_every_report_is_there_newest_first_with_what_it_found(home, tmp_path):
    home("digits", 1000)
    home("digits@ab12cd", 3000, ("epochs=2", "data.limit=300", "optimizer.lr=0.2", "2 seeds"), "add-one")
    home("other", 2000)
    home("never", 0, made=False)
    assert index.write() == tmp_path / "reports" / "index.html"
    found = list(index.made())
    assert [one.label for one in found] == ["digits@ab12cd", "digits", "other"]
    assert found[0].how == "each trick alone, 2 epochs, 300 training images, optimizer.lr=0.2"
    assert found[0].runs == "3 rungs, 2 seeds"
    (tmp_path / "reports" / "digits" / "runs.csv").write_text("rung,status\nbaseline,finished\nmixup,refused\n")
    assert [one.runs for one in index.made()][1] == "3 rungs, 2 seeds, 1 of 6 runs"
    assert found[0].verdicts == {
        "other": ["warmup -0.42"],
        "helps": ["<b>mixup</b> +1.60"],
        "hurts": ["zero γ -23.65"],
    }
    page = (tmp_path / "reports" / "index.html").read_text()
    assert page.index('href="digits%40ab12cd/index.html"') < page.index('href="digits/index.html"')
    assert "&lt;b&gt;mixup&lt;/b&gt; +1.60" in page
    assert "<b>mixup" not in page
    assert "3 reports of 2 studies" in page
    assert "About digits &amp; more." in page


def test_a_gallery_is_linked_and_a_damaged_plan_leaves_no_hole(home):
    (home("digits", 1000) / "gallery").mkdir()
    home("broken", 1000)
    plan_path("broken").write_text("{")
    assert [(one.label, one.gallery) for one in index.made()] == [("digits", False)]
    (home("other", 1) / "gallery").mkdir()
    for name in ("digits", "other"):
        (plan_path(name).parents[1] / "reports" / name / "gallery" / "index.html").write_text("")
    assert 'href="digits/gallery/index.html"' in index.page(list(index.made()))


def test_of_none_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path))
    assert "None was made here yet." in index.write().read_text()


def test_a_name_takes_the_place_of_a_hash(home, tmp_path):
    home("digits@ab12cd", 1000, ("epochs=2",))
    made = renamed(recall("digits@ab12cd"), "short")
    assert made["label"] == "digits@short"
    assert made["command"] == ["digits", "--name", "short"]
    assert recall("digits@short") == made
    assert not plan_path("digits@ab12cd").exists()
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["digits@short"]
    assert renamed(made, "short") == made
    assert renamed(made, "brief")["command"] == ["digits", "--name", "brief"]
    home("digits@other", 1)
    with pytest.raises(Problem, match="there is a report digits@other already"):
        renamed(recall("digits@brief"), "other")


def test_another_plan_does_not_take_its_name():
    from harness.ablate import called, parser
    from tests.kit.tiny import tiny_plan

    plan = tiny_plan()
    named = called(plan, "few")
    assert named.label == "tiny@few"
    assert named.command[-2:] == ("--name", "few")
    remember({"label": "tiny@few"} | json.loads(json.dumps(_described(named, ["epochs=9"]))))
    with pytest.raises(Problem, match=r"--name few: tiny@few is there already, of other settings \(ladder; epochs=9\)"):
        called(plan, "few")
    plan_path("tiny@few").unlink()
    with pytest.raises(SystemExit):
        parser().parse_args(["digits", "--name", "a@b"])


def _described(plan, settings):
    rungs = [rung(each.name, each.title) for each in plan.rungs]
    told = {"study": plan.study, "label": plan.label, "about": "", "design": plan.design, "settings": settings}
    return told | {"command": [], "tricks": [], "decide": None, "rungs": rungs, "upstream": []}
