"""A user's own trick and study turn no test red, not even one that is torn; `harness.check` judges them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import shipped

ROOT = Path(__file__).parent.parent
LISTING = (  # the tests that go through folders
    *("contract.py", "layers.py", "readme.py", "mutants.py::test_every_trick_that_is_shipped_has_mutants"),
    "security.py::test_no_module_runs_what_it_reads_or_listens_to_other_machines",
)
CHOSEN = "not (trains_and or doing_nothing or does_nothing or every_command)"  # what trains or takes long is left out
CHOSEN += " and (not contract or shipped or mixup and not commutes)"  # and of the contract what is the same for each
CUTMIX = (ROOT / "tests" / "own" / "boxmix.py").read_text()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the program, and beside what is shipped BoxMix as the README tells, a study of it, and a torn file."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("harness", "experiments", "tests"):
        shutil.copytree(ROOT / folder, tree / folder)  # with what is compiled, which takes half a minute
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LOG.md", "pyproject.toml", "reports"):
        (tree / name).symlink_to(ROOT / name)
    for name, folder in (("boxmix", "harness/tricks"), ("loss", "experiments")):
        shutil.copy(ROOT / "tests" / "own" / f"{name}.py", tree / folder)
    (tree / "harness" / "tricks" / "torn.py").write_text("def torn(")
    (tree / "experiments" / "torn.py").write_text("BASELINE = (")
    return tree


def test_a_users_own_turn_nothing_red(tree):
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-p", "tests.kit.beside", "-k", CHOSEN]
    command += [f"tests/test_{name}" for name in LISTING]
    done = subprocess.run(command, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True)
    said = {how: set(re.findall(rf"^{how} (\S+)", done.stdout, re.M)) for how in ("PASSED", "FAILED", "ERROR")}
    assert said["FAILED"] == said["ERROR"] == set(), done.stdout
    assert "tests/test_contract.py::test_keeps_to[unchanged-mixup]" in said["PASSED"]
    assert "tests/test_layers.py::test_the_loop_names_no_trick" in said["PASSED"]
    assert "tests/test_security.py::test_no_module_runs_what_it_reads_or_listens_to_other_machines" in {
        name.partition("[")[0] for name in said["PASSED"]
    }


def test_a_users_own_are_judged_where_they_are_checked(tree, tmp_path):
    """BoxMix of the README keeps to the contract, and so does a part that a study holds."""
    code = "import sys; from harness.check import main, parser, run; main(parser(), run)"
    words = ["loss", "--only", "own", "mixup", "boxmix", "--device", "cpu"]
    around = {"PYTHONPATH": str(tree), "HARNESS_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tree, env=around, capture_output=True, text=True)
    found = re.findall(r"^(ok|FAILED) +(\w+)", done.stdout, re.M)
    assert found == [("ok", "own"), ("ok", "mixup"), ("ok", "boxmix")], done.stdout + done.stderr


def test_the_copied_boxmix_is_the_readmes():
    shown = re.search(r"```python\n(from pydantic.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    code = [line.partition("  #")[0].rstrip() for line in shown.splitlines() if "..." not in line and line.strip()]
    assert len(code) > 5
    assert [line for line in code if line not in CUTMIX] == []


def test_what_is_shipped_is_read_from_the_tree():
    assert {"mixup", "sam", "resnet_d"} <= shipped.TRICKS
    assert {"digits", "monkeys_small", "places365"} <= shipped.STUDIES
    assert not shipped.TRICKS & shipped.STUDIES
    assert [shipped.ours(Path(f"harness/{name}.py")) for name in ("tricks/mixup", "tricks/mine", "store/care")] == [
        *(True, False, True)
    ]
