"""What is recorded of the machine, its libraries and its code."""

import os
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from PIL import features

from harness.engine import environment


def test_every_library_that_touches_a_number_is_recorded():
    seen = environment.environment(torch.device("cpu"))
    for package in ("torchvision", "timm", "numpy", "Pillow", "imgaug", "scikit-image", "scipy", "expectigrad"):
        assert seen[package] == version(package)
    assert seen["opencv-python"] == version("opencv-python"), "which imgaug asks for"
    assert seen["libjpeg_turbo"] == features.version("libjpeg_turbo")
    assert seen["torch"] == torch.__version__


def test_what_is_not_installed_is_left_out(monkeypatch):
    def without(package):
        if package in ("imgaug", "timm"):
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(environment, "version", without)
    seen = environment.libraries.__wrapped__()
    assert not {"imgaug", "timm"} & seen.keys()
    assert seen["Pillow"] == version("Pillow")


# --- whose commit ----------------------------------------------------------------------------------------------------


def git(folder, *words):
    own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-C", str(folder)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", *own, *words], check=True, capture_output=True, text=True, env=kept).stdout.strip()


@pytest.fixture
def tree(tmp_path):
    """A repository with one file in it."""
    folder = tmp_path / "tree"
    (folder / "studies").mkdir(parents=True)
    (folder / "studies" / "own.py").write_text("SEEDS = (0,)\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def commit(path):
    return environment.repository.__wrapped__(path)


def test_a_commit_is_that_of_the_file_and_a_plus_says_that_the_tree_differs(tree):
    head = git(tree, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", head)
    own = tree / "studies" / "own.py"
    assert commit(own) == commit(own.parent) == commit(tree) == head
    (tree / "studies" / "another.py").touch()
    assert commit(own) == head, "what is not tracked is no change"
    own.write_text("SEEDS = (1,)\n")
    assert commit(own) == commit(own.parent) == f"{head}+"


def test_a_copy_within_anothers_repository_has_no_commit(tree, tmp_path):
    (tree / ".venv" / "harness").mkdir(parents=True)
    copy = tree / ".venv" / "harness" / "environment.py"
    copy.touch()
    assert commit(copy) == commit(copy.parent) == ""
    assert commit(tmp_path) == commit(tmp_path / "nowhere" / "at_all.py") == ""


def test_a_repository_that_a_variable_names_is_not_asked(tree, tmp_path, monkeypatch):
    head, alone = git(tree, "rev-parse", "HEAD"), tmp_path / "alone" / "own.py"
    alone.parent.mkdir()
    alone.touch()
    monkeypatch.setenv("GIT_DIR", str(tree / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert commit(alone) == ""
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert commit(tree / "studies" / "own.py") == head


def test_names_are_taken_to_the_letter_and_links_lead_to_the_file(tree, tmp_path):
    odd = tree / "studies" / "*.py"
    odd.touch()
    assert commit(odd) == "", "no pattern: it is not tracked"
    link = tmp_path / "link.py"
    link.symlink_to(tree / "studies" / "own.py")
    assert commit(link) == git(tree, "rev-parse", "HEAD")


def test_without_git_there_is_no_commit(tree, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit(tree / "studies" / "own.py") == ""
