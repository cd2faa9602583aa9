import importlib
import shutil
import sys

import pytest

from harness import Problem, study
from harness.study import plan
from tests.kit.tiny import BASELINE, STUDY


def test_studies_are_found_by_name_in_the_folder_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "bare.py").write_text('"""Nothing yet."""\n')
    (tmp_path / "experiments" / "old.py").write_bytes('# coding: latin-1\n"""Größer."""\n'.encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    assert study.available() == {"bare": "Nothing yet.", "old": "Größer."}, "in whatever letters the file says"
    with pytest.raises(Problem, match="no study 'digits'.*there are: bare, old"):
        study.load("digits")


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
    said = f"{own} is hidden by {hides}, which is called experiments too: uninstall it, or mend PYTHONPATH"
    assert str(problem.value) == said


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
