"""Studies as files: found by a name or an address, loaded, checked."""

import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from harness import Problem, file_name, one_line
from harness.metrics import METRICS, Metric, named_well
from harness.paths import expanded, shipped
from harness.spec import (
    Branches,
    Spec,
)
from harness.spec.blame import INSTALLED, whence
from harness.study.study import Study


def folders() -> list[Path]:
    """Where studies are known by their names: `experiments/` here, then the one that is shipped."""
    every = (Path("experiments").absolute(), shipped() / "experiments")
    return list(dict.fromkeys(folder for folder in every if folder.is_dir()))


def available() -> dict[str, str]:
    """The studies by name, with the first line of each docstring; none is imported. One here hides one shipped."""
    import ast

    def first_line(path: Path) -> str:
        try:
            return (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]
        except (SyntaxError, ValueError):
            return "(does not parse)"

    found = {path.stem: path for folder in reversed(folders()) for path in folder.glob("[!_]*.py")}
    return {name: first_line(path) for name, path in sorted(found.items())}


def find(address: str) -> Path:
    """The file of a study: by name, `digits`; by path, `./my_study.py`; as a module, `my_package.my_study`.

    Raises Problem where there is none.
    """
    if "/" in address or address.endswith(".py"):
        path = expanded(address).absolute()
        if path.suffix != ".py" or not path.is_file():
            raise Problem(f"no study {one_line(address, 200)!r}: there is no such Python file")
        file_name(path.stem)
        return path
    if "." in address:
        return _of_module(address)
    name = file_name(address)
    path_of = (folder / f"{name}.py" for folder in folders())
    if found := next((path for path in path_of if path.is_file()), None):
        return found
    beside = f"; there is a file {name}.py here: say ./{name}.py" if Path(f"{name}.py").is_file() else ""
    raise Problem(f"no study {name!r}; there are: {', '.join(available()) or 'none'}{beside}")


def _of_module(name: str) -> Path:
    """The file of a module of the user's. Its packages are imported on the way, as Python has it."""
    here = str(Path.cwd())
    sys.path[:] = [here, *(root for root in sys.path if root not in (here, ""))]
    try:
        found = importlib.util.find_spec(name) if all(part.isidentifier() for part in name.split(".")) else None
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise Problem(f"{name} cannot be imported: {whence(error)}") from None
        found = None
    except Exception as error:
        raise Problem(f"{name} cannot be imported: {whence(error)}") from None
    if found is None or not found.origin or not found.origin.endswith(".py"):
        raise Problem(f"no study {one_line(name, 200)!r}: there is no such module, from {here}")
    return Path(found.origin)


def load(address: str) -> Study:
    """The study at `address`, see `find`; its name is the file's. Raises Problem where it lacks what a study has."""
    path = find(address)
    module = imported(path)
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
    measures = getattr(module, "METRICS", {})
    _check_metrics(path, measures)
    epochs = getattr(module, "EPOCHS", ())
    _check_epochs(path, epochs)
    about = inspect.getdoc(module) or ""
    return Study(path.stem, about, module.BASELINE, tuple(tricks), tuple(seeds), space, address, measures, epochs)


def imported(path: Path) -> ModuleType:
    """The module of a study's file. Raises Problem, with the line, where its code fails."""
    try:
        return _imported(path)
    except Problem:
        raise
    except (Exception, SystemExit) as error:
        raise Problem(f"{path} cannot be imported: {whence(error, path)}") from None


def _imported(path: Path) -> ModuleType:
    """The module at `path`, by a name and a `sys.path` by which worker processes find it too.

    Raises Problem where another module of that name hides it.
    """
    name, root = _module(path)
    if not INSTALLED & set(root.parts):  # what is installed is found without, and shall not go before what is here
        sys.path[:] = [str(root), *(each for each in sys.path if each != str(root))]
    if str(shipped()) not in sys.path:  # the user's studies may build on those shipped
        sys.path.append(str(shipped()))
    importlib.invalidate_caches()  # the file may be a moment old
    there = sys.modules.get(name)
    if there and not _is_at(path, there.__spec__) and not _is_librarys(there):  # of where this process was before
        del sys.modules[name]
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        found = None  # what is called experiments is no package
    top = name.partition(".")[0]
    library = _of_library(name)  # whose own modules would find this file instead, once they are imported
    if not _is_at(path, library or found):
        package: Any = library or sys.modules.get(top, found)
        where = getattr(package, "__file__", None) or getattr(package, "origin", None)
        where = where or ", ".join(getattr(package, "__path__", ("Python itself",)))
        raise Problem(f"{path} is hidden by {where}, which is called {top} too: rename one, or mend PYTHONPATH")
    return importlib.import_module(name)


def _module(path: Path) -> tuple[str, Path]:
    """What a study's file is called as a module, and the folder that it is looked for in.

    The same whatever the address and the folder that the command runs in, since it is in the ids of the parts that the
    file has: of a file in a package, or in a folder called `experiments`, from there on; else its own name.
    """
    root, names = path.parent, [path.stem]
    while (root / "__init__.py").is_file() or (len(names) == 1 and root.name == "experiments"):
        root, names = root.parent, [root.name, *names]
    return ".".join(names), root


def _is_librarys(module: ModuleType) -> bool:
    path = Path(getattr(module, "__file__", None) or "")
    installed = bool(INSTALLED & set(path.parts)) and not path.is_relative_to(shipped())
    return installed or module.__name__ in {*sys.stdlib_module_names, "__main__"}


def _of_library(name: str) -> ModuleSpec | None:
    """What Python's library or an installed one has of that name; None of a package, whose own folder is first."""
    places = [each for each in sys.path if INSTALLED & set(Path(each).parts)]
    if name in sys.stdlib_module_names:
        places.append(sysconfig.get_path("stdlib"))
    found = None if "." in name else PathFinder.find_spec(name, places)
    return found if found and found.origin else None  # a folder without code hides nothing


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


def _check_metrics(path: Path, own: object) -> None:
    if not isinstance(own, Mapping) or not all(isinstance(metric, Metric) for metric in own.values()):
        raise Problem(f"{path}: METRICS must be a dict from names to Metric, of harness.metrics")
    for name in own:
        if not named_well(name):
            known = ", ".join(METRICS)
            raise Problem(f"{path}, METRICS: {one_line(str(name), 100)}: a name is a word, and none of {known}")


def _check_epochs(path: Path, epochs: object) -> None:
    own = epochs if isinstance(epochs, Mapping) else {}
    every = list(own.values()) if own else list(epochs) if isinstance(epochs, Sequence) else [None]
    whole = all(type(each) is int and each >= 1 for each in every) and all(isinstance(name, str) for name in own)
    if not whole or (not own and sorted(set(every)) != every):  # type: ignore[type-var]
        text = "rising whole numbers from 1 up, or a dict from the names of rungs to such numbers"
        raise Problem(f"{path}: EPOCHS must be {text}")


def _are_tricks(steps: Sequence[object]) -> bool:
    *others, last = steps or (None,)
    ends = [*last.ways] if isinstance(last, Branches) else []
    own = others if ends or last is None else steps
    each = [trick for step in own for trick in (step if isinstance(step, tuple) and step else (step,))]
    return all(map(callable, each)) and all(way and _are_tricks(way) for way in ends)


def _is_seed(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63
