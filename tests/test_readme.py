"""What the READMEs say is there, is there: files, commands with their options, tables, a study."""

import csv
import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest

from tests.kit import shipped

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ALL = [
    ROOT / "README.md",
    ROOT / "harness" / "SKILL.md",
    *sorted((ROOT / name / "README.md") for name in ("experiments", "reports", "tests")),
]
ALL += sorted((ROOT / "harness").rglob("README.md"))
COMMANDS = sorted(
    {
        line.split("  #")[0].strip()
        for path in ALL
        for line in path.read_text().splitlines()
        if line.startswith("    python -m harness.")
    }
)


def test_the_trees_name_every_module_and_what_they_name_is_there():
    """But for tricks and studies: those that a user adds need no name there."""
    files = [path for folder in ("harness", "experiments") for path in (ROOT / folder).rglob("*.py")]
    named = set(re.findall(r"[\w]+\.py", shipped.ROOMS + shipped.TREE))
    own = (ROOT / "experiments", ROOT / "harness" / "tricks")
    assert {path.name for path in files if path.parent not in own or path.stem == "__init__"} - named == set()
    assert named - {path.name for path in files} == set()


def test_it_opens_with_the_two_commands_and_shows_what_they_gave():
    assert re.search(r"make ablate.*\n.*make test", README[:500])
    lines = [line for line in README.splitlines() if line.startswith("|")]
    shown = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    with (ROOT / "reports/digits/table.csv").open() as file:
        rungs = [row["rung"] for row in csv.DictReader(file)]
    made = {}
    for line in (ROOT / "reports/digits/table.md").read_text().split("\n\n")[1].splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        made[cells[0]] = cells
    kept = [made["rung"].index(name) for name in shown[0]]
    table = [row for row in shown if row[0] in made]
    assert len(table) == 1 + len(rungs)
    assert [row for row in table if row != [made[row[0]][k] for k in kept]] == []
    assert (ROOT / "reports/digits/ladder.png").exists()
    assert "(reports/digits/ladder.png)" in README


def test_a_stranger_reads_it_in_five_minutes():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(path):
    for target, _, heading in re.findall(r"\]\(([^):#]*)(#([^)]+))?\)", path.read_text()):
        there = (path.parent / target) if target else path
        assert there.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)", there.read_text(), re.M)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_there_with_its_options(line, monkeypatch, capsys):
    module, *words = line.removeprefix("python -m ").split()
    verb = [word for word in words[:1] if word in ("list", "gc", "push", "rm", "nets")]
    monkeypatch.setattr(sys, "argv", [module, *verb, "--help"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it was imported before
        with pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert [word for word in words if word.startswith("--") and not re.search(rf"{word}\b", told)] == []


def test_the_study_in_the_readme_is_a_study(monkeypatch, tmp_path):
    source = re.search(r"```python\n(\"\"\"Does mixup.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(compile(source, "README.md", "exec"), names)
    from harness.study import Study, plan

    study = Study("readme", "", names["BASELINE"], names["TRICKS"], tuple(names["SEEDS"]))
    assert [len(rung.spec.mix) for rung in plan(study).rungs] == [0, 0, 1], "planned without the data"


def sections(path):
    """The text under each heading, with line ends as spaces."""
    _, *parts = re.split(r"^#+ (.+)\n", path.read_text(), flags=re.M)
    return {title: " ".join(text.split()) for title, text in zip(parts[::2], parts[1::2], strict=True)}


def test_ten_questions_are_answered_where_it_is_said():
    rows = re.findall(r"^\| (.+\?) \| (\S+), (.+?) \| (.+?) \|$", (ROOT / "tests" / "questions.md").read_text(), re.M)
    assert len(rows) == len({question for question, *_ in rows}) == 10
    assert {file for _, file, _, _ in rows} == {"README.md"}, "who has read nothing else can tell"
    lost = [(q, title) for q, file, title, words in rows if words not in sections(ROOT / file).get(title, "")]
    assert lost == []
