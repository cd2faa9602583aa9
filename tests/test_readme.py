"""The README's tree names what there is, and nothing that there is not."""

import re
from pathlib import Path

from tests.kit import shipped

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_tree_names_every_module_and_what_it_names_is_there():
    """But for tricks and studies: those that a user adds need no name there."""
    files = [path for folder in ("harness", "experiments") for path in (ROOT / folder).rglob("*.py")]
    files.append(ROOT / "setup.py")
    named = set(re.findall(r"[\w]+\.py", shipped.TREE))
    own = (ROOT / "experiments", ROOT / "harness" / "tricks")
    assert {path.name for path in files if path.parent not in own or path.stem == "__init__"} - named == set()
    assert named - {path.name for path in files} == set()


def test_it_opens_with_the_two_commands_and_shows_what_they_gave():
    assert re.search(r"make ablate.*\n.*make test", README[:500])
    table = (ROOT / "reports/digits/table.md").read_text().split("\n\n")[1]
    assert table in README, "the README's table is not that of reports/digits"
    assert (ROOT / "reports/digits/ladder.png").exists()
    assert "(reports/digits/ladder.png)" in README


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_study_in_the_readme_is_a_study(monkeypatch, tmp_path):
    source = re.search(r"```python\n(\"\"\"Does mixup.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(compile(source, "README.md", "exec"), names)
    from harness.study import Study, plan

    study = Study("readme", "", names["BASELINE"], names["TRICKS"], tuple(names["SEEDS"]))
    assert [len(rung.spec.mix) for rung in plan(study).rungs] == [0, 0, 1], "planned without the data"
