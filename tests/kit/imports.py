"""What each module imports."""

import ast
import sys
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

from tests.kit import shipped

TREE = Path(__file__).parents[2]


def module_name(path):
    parts = path.relative_to(TREE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source, package, checking=True):
    """The modules that `source` imports, inside functions too, as `from x import y` both x and x.y.

    Where `checking`, also what only type checkers see, under `if TYPE_CHECKING:`.
    """
    names, pending = set(), [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not checking:
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
        pending += ast.iter_child_nodes(node)
    return names


@cache
def graph(checking=True):
    """Each module of `harness` and `experiments` that is shipped, and all that it imports."""
    paths = [*filter(shipped.ours, sorted((TREE / "harness").rglob("*.py")))]
    paths += [TREE / "experiments" / f"{name}.py" for name in sorted(shipped.STUDIES)]
    return {
        module_name(path): imports(
            path.read_text(), module_name(path if path.stem == "__init__" else path.parent), checking
        )
        for path in paths
    }


def inner(name):
    """The modules of this program that a module imports."""
    return {module for module in graph()[name] if module in graph() and module != name}


def outer(name):
    """The distributions outside Python and this program that a module imports, but for what type checkers see."""
    found = {module.partition(".")[0] for module in graph(checking=False)[name]}
    return found - sys.stdlib_module_names - {"harness", "experiments"}
