import importlib
import shutil
import sys

import pytest

from harness import Problem, study
from harness.spec import plain
from harness.study import plan
from tests.kit.tiny import BASELINE, STUDY


def test_studies_are_found_by_name_in_the_folder_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "bare.py").write_text('"""Nothing yet."""\n')
    (tmp_path / "experiments" / "old.py").write_bytes('# coding: latin-1\n"""Größer."""\n'.encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "photos.py").write_text('"""Mine."""\n')
    found = study.available()
    assert (found["bare"], found["old"]) == ("Nothing yet.", "Größer."), "in whatever letters the file says"
    assert found["photos"] == "Mine.", "one here hides one that is shipped"
    assert study.load("digits").name == "digits", "those that are shipped are there too"
    with pytest.raises(Problem, match="no study 'own'; there are: .*bare, .*, old"):
        study.load("own")
    (tmp_path / "own.py").touch()
    with pytest.raises(Problem, match=r"; there is a file own.py here: say ./own.py$"):
        study.load("own")


def studies(folder, **sources):
    (folder / "experiments").mkdir(parents=True)
    for name, about in sources.items():
        source = f'"""{about}"""\nfrom tests.kit.tiny import BASELINE, TRICKS\nSEEDS = (0,)\n' if about else ""
        (folder / "experiments" / f"{name}.py").write_text(source)
    return folder


def test_the_study_here_is_loaded_whatever_else_is_on_the_path_or_was_loaded(tmp_path, monkeypatch):
    here, there = studies(tmp_path / "here", twin="Here."), studies(tmp_path / "there", twin="There.")
    monkeypatch.syspath_prepend(there)
    for folder, about in ((there, "There."), (here, "Here."), (there, "There.")):
        monkeypatch.chdir(folder)
        assert study.load("twin").about == about
        assert sys.path[0] == str(folder), "which processes that are started are handed on"
    assert study.load("twin").baseline == BASELINE


@pytest.mark.parametrize("kind", ["package", "module", "imported"])
def test_another_package_called_experiments_is_said(kind, tmp_path, monkeypatch):
    """Python takes a folder with an `__init__.py`, or a module, before one without, wherever on its path."""
    here, there = studies(tmp_path / "here", twin="Here."), studies(tmp_path / "there", twin="There.")
    hides = there / "experiments.py" if kind == "module" else there / "experiments" / "__init__.py"
    hides.touch()
    if kind == "module":
        shutil.rmtree(there / "experiments")
    monkeypatch.delitem(sys.modules, "experiments")
    monkeypatch.syspath_prepend(there)
    if kind == "imported":
        importlib.import_module("experiments")
        sys.path.remove(str(there))
    monkeypatch.chdir(here)
    with pytest.raises(Problem) as problem:
        study.load("twin")
    own = here / "experiments" / "twin.py"
    said = f"{own} is hidden by {hides}, which is called experiments too: rename one, or mend PYTHONPATH"
    assert str(problem.value) == said


OWN = """from harness.spec import Augment
from tests.kit.tiny import BASELINE

class Same(Augment):
    def __call__(self, x, rng):
        return x

def same(spec):
    return spec.having("augment", Same())

TRICKS = (same,)
SEEDS = (0,)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a study beside it, one in a package, and one in a folder of studies that is no package."""
    for name in ("beside_.py", "pack_/inner/deep_.py", "loose_/alone_.py", "experiments/known_.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(OWN)
    for folder in ("pack_", "pack_/inner"):
        (tmp_path / folder / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("addresses", "name", "module"),
    [
        (("./beside_.py", "beside_.py", "{here}/beside_.py"), "beside_", "beside_"),
        (("pack_.inner.deep_", "./pack_/inner/deep_.py"), "deep_", "pack_.inner.deep_"),
        (("./loose_/alone_.py", "loose_.alone_"), "alone_", "alone_"),
        (("known_", "experiments.known_", "experiments/known_.py"), "known_", "experiments.known_"),
    ],
)
def test_a_study_has_one_name_and_its_parts_one_kind_by_whatever_address(addresses, name, module, own):
    for address in (each.format(here=own) for each in addresses):
        loaded = study.load(address)
        assert loaded.name == name, "that of its file"
        made = plan(loaded)
        assert plain(made.rungs[1].spec)["augment"][-1] == {"kind": f"{module}.Same"}
        assert made.command == (address,), "the same words ask for it again"
        root = own if "." in module or name == "beside_" else own / "loose_"
        assert sys.path[0] == str(root), "where processes that are started look first"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("./nosuch.py", "no study './nosuch.py': there is no such Python file"),
        ("pack_/inner", "no study 'pack_/inner': there is no such Python file"),
        ("nosuch.study", "no study 'nosuch.study': there is no such module, from "),
        ("pack_.inner", None),
        ("pack_.inner.nosuch", "no study 'pack_.inner.nosuch': there is no such module, from "),
        ("torn_.study", r"torn_.study cannot be imported: ModuleNotFoundError: .*'nosuch'"),
        ("./a b.py", "'a b' cannot be a study's name: letters"),
        ("./json.py", r"json.py is hidden by .*json/__init__.py, which is called json too: rename one, or mend"),
    ],
)
def test_an_address_that_leads_nowhere_is_said(address, said, own):
    (own / "torn_").mkdir()
    (own / "torn_" / "__init__.py").write_text("import nosuch")
    (own / "torn_" / "study.py").write_text(OWN)
    for name in ("a b.py", "json.py"):
        (own / name).write_text(OWN)
    with pytest.raises(Problem, match=said or "lacks BASELINE, TRICKS, SEEDS"):
        study.load(address)


@pytest.mark.parametrize(("name", "place"), [("six", "-packages"), ("this", r"python3\.\d+")])
def test_a_study_called_as_a_library_is_refused_before_anybody_imports_that(name, place, own, monkeypatch):
    """Else the library's users would import the study."""
    (own / f"{name}.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(
        Problem, match=rf"{name}.py is hidden by .*{place}/{name}.py, which is called {name} too: rename"
    ):
        study.load(f"./{name}.py")
    assert name not in sys.modules


def test_a_folder_without_code_hides_nothing(own, monkeypatch):
    empty = own / "site-packages"
    (empty / "sextet").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(empty), *sys.path])
    (own / "sextet.py").write_text(OWN)
    assert study.load("./sextet.py").name == "sextet"


# --- a study that is wrong --------------------------------------------------------------------------------------------

HELP = """from harness.parts.models import ResNet
from harness.spec import Spec

def keyed(spec: Spec) -> Spec:
    return {}["x"]

class Unsure(ResNet):
    def check(self, spec):
        return spec.nosuch

class Unbuilt(ResNet):
    def build(self, channels, classes):
        return nosuch
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("TRICKS = (help.keyed,)", r"^own0, keyed: KeyError: 'x' \(help.py, line 5\)$"),
        ("BASELINE = BASELINE.but(epochs='x')", r"own1.py cannot be imported: .*epochs: .*, not 'x' \(line 6\)$"),
        ("int('a')", r"own2.py cannot be imported: ValueError: invalid literal .* 'a' \(line 6\)$"),
        ("TRICKS = help.keyed(BASELINE)", r"own3.py cannot be imported: KeyError: 'x' \(help.py, line 5\)$"),
        ("BASELINE = BASELINE.but(model=help.Unsure(blocks=(1,)))", r"AttributeError: .*'nosuch' \(help.py, line 9\)$"),
        ("BASELINE = BASELINE.but(model=help.Unbuilt(blocks=(1,)))", r"cannot be built: NameE.* \(help.py, line 13\)$"),
        ("from experiments import torn", r"own6.py cannot be imported: SyntaxError: .* \(torn.py, line 1\)$"),
    ],
)
def test_a_mistake_in_a_study_is_named_by_file_and_line(source, said, tmp_path, monkeypatch, request):
    name = f"own{request.node.callspec.indices['source']}"
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "help.py").write_text(HELP)
    (tmp_path / "experiments" / "torn.py").write_text("x = (")
    head = '"""Own."""\nfrom tests.kit.tiny import BASELINE\nfrom experiments import help\nTRICKS = ()\nSEEDS = (0,)\n'
    (tmp_path / "experiments" / f"{name}.py").write_text(f"{head}{source}\n")
    monkeypatch.chdir(tmp_path)
    import experiments

    monkeypatch.setattr(experiments, "__path__", [str(tmp_path / "experiments")])
    monkeypatch.delitem(sys.modules, "experiments.help", raising=False)
    with pytest.raises(Problem, match=said) as problem:
        study.check(plan(study.load(name)))
    assert "\n" not in str(problem.value)


# --- the space of a search ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ('{"optimizer.lr": FloatDistribution(0.01, 1)}', None),
        ("{}", None),
        ('{"optimizer.lr": FloatDistribution(1, 0.01)}', r"ValueError: `low <= high` must hold.*\(line 5\)"),
        ('{"optimizer.lr": (0.01, 1)}', r"SPACE: optimizer.lr is \(0.01, 1\), and no distribution of optuna's"),
        (
            '{"optimiser.lr": FloatDistribution(0.01, 1)}',
            "SPACE: optimiser.lr: no slot 'optimiser'; slots: data, model",
        ),
        ('{"data.share": FloatDistribution(0.1, 0.3)}', "data.share: trials would be scored on other images each"),
        (
            '{"model": CategoricalDistribution((BASELINE.model,))}',
            "model: a choice is a number, a text, True, False or",
        ),
        ("[FloatDistribution(0.01, 1)]", "SPACE must be a dict from slot paths to optuna's distributions"),
    ],
)
@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_a_study_may_say_what_a_search_searches(space, said, tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    head = '"""Own."""\nfrom optuna.distributions import *\nfrom tests.kit.tiny import BASELINE, TRICKS\n'
    name = f"spacious_{abs(hash(space))}"
    (tmp_path / "experiments" / f"{name}.py").write_text(f"{head}SEEDS = (0,)\nSPACE = {space}\n")
    monkeypatch.chdir(tmp_path)
    import experiments

    monkeypatch.setattr(experiments, "__path__", [str(tmp_path / "experiments")])
    if said:
        with pytest.raises(Problem, match=said) as problem:
            study.load(name)
        assert "\n" not in str(problem.value)
    else:
        loaded = study.load(name).space
        assert [d.high for d in loaded.values()] == ([1] if len(loaded) else [])


def test_a_study_without_a_space_has_an_empty_one():
    assert study.load("photos").space == STUDY.space == {}
    assert "optimizer.lr" in study.load("digits").space
