import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import Problem, study
from harness.gallery import __main__ as gallery
from tests.kit.tiny import BASELINE, STUDY

ROOT = Path(__file__).parents[2]


def settings(text):
    return gallery.parser().parse_args(text)


@pytest.fixture
def tiny_study(monkeypatch, tmp_path, store):
    monkeypatch.setattr(study, "load", lambda name: STUDY)
    monkeypatch.setenv("HARNESS_RUNS", str(store.root.parent))
    return tmp_path / "made"


def test_the_command_writes_all_pictures_of_a_finished_run(tiny_study, store, capsys):
    gallery.run(settings(["tiny", "--to", str(tiny_study)]))
    pictures = {"labels", "samples", "curves", "answers", "confusion"}  # digits are no files
    wanted = {f"{name}.{kind}" for name in pictures for kind in ("png", "svg")} | {"gallery.md", "index.html"}
    assert {path.name for path in tiny_study.iterdir()} == wanted
    page = (tiny_study / "index.html").read_text()
    assert page.count("<figure>") == 5
    assert 'src="answers.png' not in page, "it needs no other file"
    text = (tiny_study / "gallery.md").read_text()
    top1 = store.read(BASELINE.id, 0)["metrics"]["top1"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert rows[1][:4] == ["all 300 test images", f"{round(3 * top1)}", "300", f"{top1:.2f}"]
    assert rows[2][0] == "200 test images drawn at random"
    assert '<th scope="row">all 300 test images</th>' in page
    assert set(re.findall(r"\((\w+)\.png\)", text)) == pictures
    assert "5 pictures" in capsys.readouterr().out


def test_without_a_finished_run_there_is_the_data_alone(tiny_study):
    gallery.run(settings(["tiny", "--rung", "mixup", "--seed", "1", "--to", str(tiny_study)]))
    assert {path.name for path in tiny_study.glob("*.png")} == {"labels.png", "samples.png"}
    assert "mixup, seed 1: no finished run yet" in (tiny_study / "gallery.md").read_text()


def test_a_rung_that_there_is_not(tiny_study):
    with pytest.raises(Problem, match="--rung cutmix: no such rung in tiny; there are: baseline, warmup"):
        gallery.run(settings(["tiny", "--rung", "cutmix"]))


def test_a_seed_that_the_study_has_not_is_told():
    with pytest.raises(Problem, match="--seed 77: no such run of baseline; the study's seeds: 0, 1, 2, 3, 4"):
        gallery.run(settings(["digits", "--seed", "77"]))


def test_help_is_light():
    code = "import sys, harness.gallery.__main__ as g; g.parser().format_help()"
    code += "; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
