"""Studies as files of `experiments/`: found, loaded, checked."""

import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from harness import Problem, file_name, one_line
from harness.spec import (
    Branches,
    Spec,
)
from harness.spec.blame import whence
from harness.study.study import Study


def folder() -> Path:
    """`experiments/` here, else the one beside the harness."""
    here = Path("experiments").absolute()
    return here if here.is_dir() else Path(__file__).parent.parent / "experiments"


def available() -> dict[str, str]:
    """The studies by name, with the first line of each docstring; none is imported."""
    import ast

    def first_line(path: Path) -> str:
        try:
            return (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]
        except (SyntaxError, ValueError):
            return "(does not parse)"

    return {path.stem: first_line(path) for path in sorted(folder().glob("[!_]*.py"))}


def load(name: str) -> Study:
    """The study `experiments/<name>.py`. Raises Problem where there is none, or it lacks what a study has."""
    path = folder() / f"{file_name(name)}.py"
    if not path.is_file():
        raise Problem(f"no study {name!r} in {folder()}; there are: {', '.join(available()) or 'none'}")
    try:
        module = _imported(path)
    except Problem:
        raise
    except (Exception, SystemExit) as error:
        raise Problem(f"{path} cannot be imported: {whence(error, path)}") from None
    lacking = [field for field in ("BASELINE", "TRICKS", "SEEDS") if not hasattr(module, field)]
    if lacking:
        raise Problem(f"{path} lacks {', '.join(lacking)}")
    tricks, seeds = module.TRICKS, module.SEEDS
    if not isinstance(module.BASELINE, Spec) or not isinstance(tricks, Sequence) or not _are_tricks(tricks):
        raise Problem(
            f"{path}: BASELINE must be a Spec, and TRICKS a tuple of functions Spec -> Spec, tuples of them, and "
            "Branches at most the last"
        )
    whole = isinstance(seeds, Sequence) and all(_is_seed(seed) for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise Problem(f"{path}: SEEDS must be different whole numbers from 0 up, and at least one")
    space = getattr(module, "SPACE", {})
    if space:
        _check_space(path, space)
    return Study(name, inspect.getdoc(module) or "", module.BASELINE, tuple(tricks), tuple(seeds), space)


def _imported(path: Path) -> ModuleType:
    """The module at `path`, as `experiments.<name>`: by this name, and `sys.path`, worker processes find it too.

    Raises Problem where another package called experiments hides it.
    """
    own, shipped = str(path.parent.parent), str(Path(__file__).parent.parent)
    sys.path[:] = [own, *(root for root in sys.path if root != own)]
    if shipped not in sys.path:  # the user's studies may build on those shipped
        sys.path.append(shipped)
    name = f"experiments.{path.stem}"
    if name in sys.modules and not _is_at(path, sys.modules[name].__spec__):  # a study of where this process was before
        del sys.modules[name]
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        found = None  # what is called experiments is no package
    if not _is_at(path, found):
        package: Any = sys.modules["experiments"]
        where = package.__file__ or ", ".join(package.__path__)
        raise Problem(f"{path} is hidden by {where}, which is called experiments too: uninstall it, or mend PYTHONPATH")
    return importlib.import_module(name)


def _is_at(path: Path, spec: ModuleSpec | None) -> bool:
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path.resolve()


def _check_space(path: Path, space: object) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(space, Mapping) or not all(isinstance(name, str) for name in space):
        raise Problem(f"{path}: SPACE must be a dict from slot paths to optuna's distributions")
    for name, distribution in space.items():
        if not isinstance(distribution, FloatDistribution | IntDistribution | CategoricalDistribution):
            raise Problem(f"{path}, SPACE: {name} is {one_line(repr(distribution))}, and no distribution of optuna's")
        slot = name.partition(".")[0]
        if slot not in Spec.model_fields:
            raise Problem(f"{path}, SPACE: {name}: no slot {slot!r}; slots: {', '.join(Spec.model_fields)}")
        if slot == "data":
            raise Problem(f"{path}, SPACE: {name}: trials would be scored on other images each: leave data out")
        choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
        odd = [choice for choice in choices if not isinstance(choice, bool | int | float | str | None)]
        if odd:
            raise Problem(f"{path}, SPACE: {name}: a choice is a number, a text, True, False or None, not {odd[0]!r}")


def _are_tricks(steps: Sequence[object]) -> bool:
    *others, last = steps or (None,)
    ends = [*last.ways] if isinstance(last, Branches) else []
    own = others if ends or last is None else steps
    each = [trick for step in own for trick in (step if isinstance(step, tuple) and step else (step,))]
    return all(map(callable, each)) and all(way and _are_tricks(way) for way in ends)


def _is_seed(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63
