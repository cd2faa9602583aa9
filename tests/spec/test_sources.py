import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness import Problem
from harness.spec import File, Init, parse, plain, resolved, sources
from tests.kit.commands import harness, known_to_mlflow
from tests.kit.own import OWN
from tests.kit.tiny import BASELINE

USER = {
    "lib/__init__.py": "from .maths import half as shared",
    "lib/maths.py": """
        from . import deep
        SCALE = 2
        def half(x):
            return x / SCALE + deep.OFFSET
        def other(x):
            return x
    """,
    "lib/deep.py": "OFFSET = 1",
    "mine.py": """
        import torch
        import lib.maths
        from lib import shared
        from lib.maths import *
        SEEDS = (0, 1)
        LIMIT = 3
        def clipped(x):
            return x.clamp(max=LIMIT)
        class Base:
            def told(self): return "base"
        class Part(Base):
            '''A docstring.'''
            alpha: float = 1.0
            def __call__(self, x):
                # a comment
                return clipped(shared(x))
        class Starred:
            def __call__(self, x): return other(x)
        class Dotted:
            def __call__(self, x): return lib.maths.other(x)
        class Alone:
            def __call__(self, x): return x
    """,
}


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Writes a user's files, with a text replaced, and digests classes of `mine` in a process of its own."""
    (tmp_path / "lib").mkdir()

    def digests(file="", old="", new="", kinds=("Part", "Starred", "Dotted", "Alone")):
        for name, text in USER.items():
            text = textwrap.dedent(text)
            assert name != file or old in text
            (tmp_path / name).write_text(text.replace(old, new) if name == file else text)
        sources.digest.cache_clear(), sources._read.cache_clear(), sources._place.cache_clear()
        return {kind: sources.digest(f"mine.{kind}") for kind in kinds}

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield digests
    sources.digest.cache_clear(), sources._read.cache_clear(), sources._place.cache_clear()


SEEN = [
    ("mine.py", "clipped(shared(x))", "clipped(x)", {"Part"}),
    ("mine.py", "x.clamp(max=LIMIT)", "x.clamp(min=LIMIT)", {"Part"}),
    ("mine.py", "LIMIT = 3", "LIMIT = 4", {"Part"}),
    ("mine.py", '"base"', '"bass"', {"Part"}),
    ("mine.py", "alpha: float = 1.0", "alpha: float = 2.0", {"Part"}),
    ("lib/maths.py", "x / SCALE", "x * SCALE", {"Part"}),
    ("lib/maths.py", "SCALE = 2", "SCALE = 3", {"Part"}),
    ("lib/deep.py", "OFFSET = 1", "OFFSET = 2", {"Part"}),
    ("lib/__init__.py", "half as shared", "other as shared", {"Part"}),
    ("lib/maths.py", "return x\n", "return -x\n", {"Starred", "Dotted"}),
    ("mine.py", "# a comment", "# another", set()),
    ("mine.py", "A docstring.", "Another.", set()),
    ("mine.py", "SEEDS = (0, 1)", "SEEDS = (0, 1, 2)", set()),
    ("mine.py", "return clipped(", "return  clipped (", set()),
]


@pytest.mark.parametrize(("file", "old", "new", "moved"), SEEN, ids=[f"{f}: {new}" for f, _, new, _ in SEEN])
def test_what_a_part_uses_is_in_its_digest_and_nothing_else(user, file, old, new, moved):
    before = user()
    assert None not in before.values()
    after = user(file, old, new)
    assert {kind for kind in before if before[kind] != after[kind]} == moved


def test_what_is_not_there_or_does_not_parse_is_not_known(user):
    assert sources.digest("nowhere.Part") is None
    assert user("mine.py", "class Alone:", "class Alone(:") == dict.fromkeys(("Part", "Starred", "Dotted", "Alone"))
    assert sources.digest("packaging.version.Version"), "a library is read where the part itself is of it"
    assert sources.digest("harness.tricks.mixup.Mixup") is None
    assert sources.changed({"sources": {"gone.Away": "0" * 16}}) == []


CHANGES = [  # what is beside `class Part`, another file, what of both is edited, and whether it shows
    ("import pk.a\nimport pk.b\nclass Part:\n    x = pk.a.f()", "pk/a.py: def f(): return 1", "return 2", True),
    ("import h\nclass Part:\n    x = h.f()", "h.py: def f(): return 1\ndef z(): return 3", "return 2", True),
    ("import h\nclass Part:\n    x = h.z()", "h.py: def f(): return 1\ndef z(): return 3", "return 2", False),
    (
        "try:\n    from h import f\nexcept ImportError:\n    from slow import f\nclass Part:\n    x = f()",
        "h.py: def f(): return 1",
        "return 2",
        True,
    ),
    (
        "try:\n    from h import f\nexcept ImportError:\n    def f(): pass\nclass Part:\n    x = f()",
        "h.py: def f(): return 1",
        "return 2",
        True,
    ),
    ("class Part:\n    from h import f", "h.py: def f(): return 1", "return 2", True),
    ("def make():\n    class My: pass\n    return My\nPart = make()", "", "class My: y = 2", True),
    ("if __name__ == '__main__':\n    Part\nclass Part: pass", "", "pass\n    print(Part)", False),
]


@pytest.mark.parametrize(("source", "other", "new", "shows"), CHANGES)
def test_however_a_name_comes_to_a_part(user, tmp_path, source, other, new, shows):
    name, _, text = other.partition(": ")

    def digest():
        sources.digest.cache_clear(), sources._read.cache_clear(), sources._place.cache_clear()
        return sources.digest("mine.Part")

    user()
    (tmp_path / "mine.py").write_text(source)
    if text:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = digest()
    assert before
    if text:
        (tmp_path / name).write_text(text.replace("return 1", new))
    elif "My" in source:
        (tmp_path / "mine.py").write_text(source.replace("class My: pass", new))
    else:
        (tmp_path / "mine.py").write_text(source.replace("    Part", "    print(Part)"))
    assert (digest() != before) == shows


@pytest.mark.parametrize("line", ["T['a'] = {}", "T.update(a={})", "for i in range({}):\n    T[i] = 0", "Part.k = {}"])
def test_what_changes_a_name_after_it_was_made_counts(user, tmp_path, line):
    def digest(value):
        (tmp_path / "mine.py").write_text(f"T = dict()\nclass Part:\n    x = T\n{line.format(value)}\n")
        sources.digest.cache_clear(), sources._read.cache_clear(), sources._place.cache_clear()
        return sources.digest("mine.Part")

    assert digest(1) != digest(2)


def test_a_module_under_a_folder_without_init_is_found_without_its_parents(tmp_path, monkeypatch):
    (tmp_path / "spaces" / "inner").mkdir(parents=True)
    (tmp_path / "spaces" / "inner" / "own.py").write_text("class Part: pass")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert sources.digest("spaces.inner.own.Part")


def test_modules_that_import_each_other_end(user, tmp_path):
    user()
    (tmp_path / "lib" / "deep.py").write_text("from .maths import OFFSET")
    (tmp_path / "lib" / "maths.py").write_text("from .deep import OFFSET\nfrom . import deep\nhalf = OFFSET")
    sources.digest.cache_clear(), sources._read.cache_clear(), sources._place.cache_clear()
    assert sources.digest("mine.Part")


def test_shipped_parts_have_none():
    assert sources.of(BASELINE) == {}


def test_asking_imports_nothing_of_the_users(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')\nclass Part: pass")
    code = "import sys; from harness.spec.sources import digest; assert digest('mine.Part')"
    code += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd())}, check=False)
    assert done.returncode == 0


class FromFile(Init):
    """Reads a file."""

    weights: File

    def __call__(self, model, rng): ...


def test_the_content_of_a_file_is_in_the_id_and_where_it_lies_is_not(tmp_path):
    a, b = tmp_path / "a.bin", tmp_path / "b.bin"
    a.write_bytes(b"one"), b.write_bytes(b"one")
    spec = BASELINE.but(init=(FromFile(weights=File(path=a)),))
    same = BASELINE.but(init=(FromFile(weights=File(path=b)),))
    assert spec.id == same.id
    assert parse(json.loads(json.dumps(plain(spec)))) == spec
    assert resolved(spec)["init"][0]["weights"] == {
        "kind": "File",
        "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",  # of "one"
    }
    b.write_bytes(b"two")
    assert same.but().id != spec.id
    b.unlink()
    with pytest.raises(Problem, match=r"b\.bin cannot be read \(No such file"):
        _ = same.but().id


def test_a_run_whose_part_changed_is_said_and_trained_anew(tmp_path):
    known_to_mlflow(tmp_path)
    (tmp_path / "experiments").mkdir()
    study = tmp_path / "experiments" / "own.py"
    study.write_text(OWN)
    first = harness(tmp_path, "own", "--jobs", "1")
    assert "4 runs trained, 0 reused" in first.stdout, first.stderr
    study.write_text(OWN.replace("GAIN = 0.9", "GAIN = 0.5"))
    said = "2 runs are stale, since the source of experiments.own.Dimmed changed"
    plan = harness(tmp_path, "own", "--dry-run", "--json")
    assert said in plan.stderr
    assert json.loads(plan.stdout)["runs"] == {"asked": 4, "missing": 2}
    taken = harness(tmp_path, "own", "--jobs", "1", "--accept-stale")
    assert "0 runs trained, 4 reused" in taken.stdout
    assert f"{said}: taken as they are (--accept-stale)" in taken.stderr
    assert "2 runs made before the source of experiments.own.Dimmed changed: dim seed 0, dim seed 1." in taken.stdout
    anew = harness(tmp_path, "own", "--jobs", "1")
    assert said in anew.stderr
    assert "2 runs trained, 2 reused" in anew.stdout
    assert "made before" not in anew.stdout
    assert len(list((tmp_path / "runs" / "aside").glob("*/*/*/result.json"))) == 2
