"""What an installation has: a wheel is built, unpacked in an empty folder, and used from another."""

import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import harness
from tests.kit import shipped

ROOT = Path(harness.__file__).parents[1]
STUDY = '''"""My photos."""
from experiments import digits
from my_parts import Softened, soften
from harness.parts.data import Digits
BASELINE = digits.BASELINE.but(data=Digits(limit=64, limit_test=100), epochs=1)
TRICKS = (soften,)
SEEDS = (0,)
'''
PARTS = """
from harness.spec import Targets
class Softened(Targets):
    def __call__(self, y):
        return 0.9 * y + 0.1 / y.shape[1]
    def reference(self, y):
        return 0.9 * y + 0.1 / y.shape[1]
def soften(spec):
    return spec.having("targets", Softened())
"""


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


def test_in_an_empty_folder_it_does_what_it_does_in_the_tree(installed, tmp_path):
    (tmp_path / "my_study.py").write_text(STUDY)
    (tmp_path / "my_parts.py").write_text(PARTS)
    runs = tmp_path / "runs"
    around = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HARNESS_RUNS": str(runs)}
    around |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def said(*words):
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=around, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    at = "from harness.paths import shipped; print(shipped())"
    assert said("-c", at).strip() == str(installed / "harness" / "shipped"), "not the tree's"
    assert said("-m", "harness", "--version") == f"harness {harness.__version__}\n"
    table = said("-m", "harness", "ablate", "./my_study.py", "--jobs", "1", "--device", "cpu")
    assert "2 runs trained, 0 reused" in table
    assert (runs / "reports" / "my_study" / "index.html").is_file()
    record = next((runs / "store").glob("*/0/result.json")).read_text()
    assert str(ROOT) not in record
    assert "my_parts.Softened" in "".join(path.read_text() for path in (runs / "store").glob("*/0/*.json"))
