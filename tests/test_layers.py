"""Who may import whom: each room only from rooms above it, and no two modules from each other."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

from tests import shipped

TREE = Path(__file__).parent.parent
ROOMS = (  # from the top; a package is one room, whose modules may import each other
    "harness",
    "harness.paths",
    "harness.rng",
    "harness.spec",
    "harness.sources",
    "harness.cli",
    "harness.evidence",
    "harness.parts",
    "harness.tricks",
    "harness.train",
    "harness.stats",
    "harness.designs",
    "harness.store",
    "harness.study",
    "harness.report",
    "harness.engine",
    "harness.estimate",
    "harness.tracking",
    "harness.doctor",
    "harness.bench",
    "harness.landscape",
    "harness.gallery",
    "harness.search",
    "harness.check",
    "harness.ablate",
    "harness.sync",
    "harness.store.__main__",
)


def module_name(path):
    parts = path.relative_to(TREE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source, package):
    """The modules that `source` imports, inside functions too, as `from x import y` both x and x.y.

    What only type checkers see, under `if TYPE_CHECKING:`, is left out: it never runs, and the specification names
    tensors and evidence there for its readers.
    """
    names, pending = set(), [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
        pending += ast.iter_child_nodes(node)
    return names


@cache
def graph():
    """Each module of `harness` and `experiments` that is shipped, and all that it imports."""
    paths = [*filter(shipped.ours, sorted((TREE / "harness").rglob("*.py")))]
    paths += [TREE / "experiments" / f"{name}.py" for name in sorted(shipped.STUDIES)]
    return {
        module_name(path): imports(path.read_text(), module_name(path if path.stem == "__init__" else path.parent))
        for path in paths
    }


def inner(name):
    """The modules of this program that a module imports."""
    return {module for module in graph()[name] if module in graph() and module != name}


def outer(name):
    """The distributions outside Python and this program that a module imports."""
    return {module.partition(".")[0] for module in graph()[name]} - sys.stdlib_module_names - {"harness", "experiments"}


def room(name):
    owners = [place for place in ROOMS if name == place or (place != "harness" and name.startswith(f"{place}."))]
    assert owners, f"{name} is in no room: say in ROOMS which it may import from and which may import it"
    return max(owners, key=len)


HARNESS = [name for name in graph() if name.partition(".")[0] == "harness"]


def test_imports_are_read_wherever_they_stand():
    source = """
import numpy as np
if TYPE_CHECKING:
    import hidden
else:
    import shown
def f():
    from . import sibling
    from harness.spec import Spec
    def g():
        import deep.er
        importlib.import_module("named")
"""
    assert imports(source, "harness.parts") == {
        *("numpy", "shown", "deep.er", "named"),
        *("harness.parts", "harness.parts.sibling", "harness.spec", "harness.spec.Spec"),
    }


@pytest.mark.parametrize("name", HARNESS)
def test_no_room_imports_upward(name):
    here = ROOMS.index(room(name))
    below = sorted(module for module in inner(name) if ROOMS.index(room(module)) > here)
    assert not below, f"{name} imports {', '.join(below)}, which may import it"


def test_no_circle():
    order = list(TopologicalSorter({name: inner(name) for name in graph()}).static_order())
    assert order.index("harness.spec") < order.index("harness.train")


def test_parts_know_no_trick():
    assert {name: inner(name) for name in HARNESS if name.startswith("harness.parts.")}
    for name in HARNESS:
        if name.startswith("harness.parts."):
            assert not [module for module in inner(name) if module.startswith("harness.tricks")]


def test_experiments_are_made_of_parts_and_tricks():
    allowed = ("harness.spec", "harness.parts", "harness.tricks", "experiments")
    for name in set(graph()) - set(HARNESS):
        assert not [module for module in inner(name) if not module.startswith(allowed)]
        assert not [module for module in HARNESS if name in inner(module)], "no room imports a study by name"


def test_the_loop_names_no_trick():
    source = (TREE / "harness" / "train.py").read_text()
    words = set("".join(c if c.isalnum() or c == "_" else " " for c in source.lower()).split())
    assert shipped.TRICKS
    assert not shipped.TRICKS & words


def test_only_tracking_imports_mlflow():
    assert {name for name in graph() if "mlflow" in outer(name)} <= {"harness.tracking"}


def test_spec_is_light():
    assert outer("harness.spec") == {"pydantic"}


@pytest.mark.parametrize("name", [name for name in HARNESS if name.startswith(("harness.report", "harness.stats"))])
def test_reports_need_neither_torch_nor_mlflow(name):
    assert not outer(name) & {"torch", "torchvision", "mlflow"}


def test_statistics_need_numpy_and_scipy_only():
    assert outer("harness.stats") <= {"numpy", "scipy"}


def test_reports_load_neither_torch_nor_mlflow():
    """Not through other rooms either."""
    code = "import sys, harness.report; print(*{'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TREE)
    assert done.stdout.strip() == ""
