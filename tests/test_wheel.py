"""What an installation has: a wheel is built, unpacked in an empty folder, and used from another."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import harness
from tests.kit import shell, shipped

ROOT = Path(harness.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built by the backend that pip calls, of what git would have here; neither pip nor a network is needed."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("harness", "experiments", "reports/published"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    (tree / "harness" / "store" / "__pycache__").mkdir()
    (tree / "harness" / "store" / "__pycache__" / "old.pyc").touch()
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    command = [sys.executable, "-W", "ignore", "-c", code, str(tree / "dist")]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next((tree / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed") / "site-packages"
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_it_holds_all_that_is_shipped_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "harness").rglob("*.py")}
    assert modules <= names
    inside = "harness/shipped"
    assert {f"{inside}/experiments/{name}.py" for name in shipped.STUDIES} <= names
    published = {f"{inside}/reports/published/{path.name}" for path in (ROOT / "reports" / "published").glob("*.csv")}
    assert published <= names
    assert len(published) > 9
    assert {"harness/SKILL.md", "harness/API.md"} <= names
    assert {f"harness/engine/examples/{name}" for name in ("slurm.sh", "kuberay.yaml", "compose.yaml")} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"harness", "ablation_harness"}
    assert not [name for name in names if name.endswith(".pyc")]


def test_it_says_its_version_its_command_and_what_is_an_extra(wheel):
    files = zipfile.ZipFile(wheel)
    text = {name.partition("/")[2]: name for name in files.namelist() if ".dist-info/" in name}
    told = message_from_string(files.read(text["METADATA"]).decode())
    assert (told["Name"], told["Version"]) == ("ablation-harness", harness.__version__)
    assert "harness = harness.__main__:main" in files.read(text["entry_points.txt"]).decode()
    needed = {name.partition(";")[0].strip() for name in told.get_all("Requires-Dist") if "extra ==" not in name}
    assert not {name for name in needed if name.startswith(("imgaug", "expectigrad", "ray", "psycopg2", "pycocotools"))}
    assert {"imgaug", "expectigrad", "postgres", "ray", "cuda", "coco"} <= set(told.get_all("Provides-Extra"))


def test_in_an_empty_folder_it_says_what_the_transcript_says(installed, tmp_path):
    """Each job of a user's, from the first study to its removal: `transcript.txt`, command by command."""
    here = tmp_path / "here"
    here.mkdir()
    around = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HOME": str(tmp_path)}
    around |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    transcript = (ROOT / "tests" / "transcript.txt").read_text()
    assert transcript.count("\n$ ") == len(list(shell.commands(transcript))), "none is left out"
    with shell.Shell(here, around) as user:
        at = "from harness.paths import shipped; print(shipped())"
        (tmp_path / "at.py").write_text(at)
        assert user("python ../at.py").strip() == str(installed / "harness" / "shipped"), "not the tree's"
        for line, due in shell.commands(transcript):
            said = user(line)
            assert re.fullmatch(shell.like(due), said), f"$ {line}\n{said}\nwhere the transcript has\n{due}"
    records = "".join(path.read_text() for path in (here / "runs" / "aside").rglob("*.json"))
    assert "invert.Invert" in records
    assert str(ROOT) not in records


@pytest.mark.parametrize(
    ("due", "said", "fits"),
    [
        ("a … c", "a b c\n", True),
        ("a … c", "a b\nc\n", False),
        ("a\n…\nd", "a\nb\nc\nd\n", True),
        ("a\n…\nd", "a\nd\n", True),
        ("a\n…\nd", "a\nb\n", False),
        ("a", "a\nb\n", False),
        ("1.0", "1x0\n", False),
        ("", "a\n", False),
    ],
)
def test_what_a_transcript_leaves_open(due, said, fits):
    assert bool(re.fullmatch(shell.like(due), said)) is fits
