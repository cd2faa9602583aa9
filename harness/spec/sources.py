"""A user's own code: the source that a record was made by, and whether it is the same today.

The package's own parts have a `version`, and a record holds the package's commit. Of any other part a record holds a
digest of its class and of all that it uses, followed by name through the user's modules: functions, classes and
constants, base classes and decorators. Comments, docstrings and layout do not count, nor does what is beside it in its
file. What is found by a text at run time (a registry, `getattr`) is not seen, and libraries are not followed: their
versions are in the record. A trick needs no digest, since all that it does is in the specification, and so in the id.

Files are parsed and never imported: a report can ask without loading torch or anything of a user's.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from harness.spec import Spec, parts, upstream
from harness.spec.blame import INSTALLED

Name = tuple[str, str]  # a module, and what of it; "" is all of it


def of(spec: Spec) -> dict[str, str]:
    """A digest by kind of each part that is not the package's own, in `spec` and what it builds on."""
    kinds = {type(part) for each in (*upstream(spec), spec) for part in parts(each)}
    own = sorted(f"{cls.__module__}.{cls.__name__}" for cls in kinds if not _shipped(cls.__module__))
    return {kind: made for kind in own if (made := digest(kind))}


def changed(record: Mapping[str, Any]) -> list[str]:
    """The kinds whose source is another today than when `record` was made; those not found here are not known."""
    return [kind for kind, was in record.get("sources", {}).items() if digest(kind) not in (was, None)]


@lru_cache
def digest(kind: str) -> str | None:
    """16 hexadecimal digits of the source of `kind`, a class by its module and name; None where its file is not found.

    Of a class that its file does not define by that name, being within another or made by a function, the file counts.
    Once a process: what it has imported is what it trains by.
    """
    module, _, name = kind.rpartition(".")
    root = module.partition(".")[0]
    if not _own(module, root) or not _read(module).every:
        return None
    texts, met = dict[Name, str](), set[Name]()
    pending = [(module, name if name in _read(module).defined else "")]
    while pending:
        at = pending.pop()
        if at in met or not _own(at[0], root):
            continue
        met.add(at)
        file = _read(at[0])
        statements = file.defined.get(at[1], ()) if at[1] else file.every
        texts[at] = "\n".join(text for text, _ in statements)
        if at[1]:
            pending += _brought(at[0], at[1])  # by an import too, in one of the branches of `try`, say
        pending += [found for _, uses in statements for use in uses for found in _found(at[0], *use)]
    told = "\n".join(f"{'.'.join(at)}\n{texts[at]}" for at in sorted(texts) if texts[at])
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:16]


def files(kinds: Mapping[str, str]) -> list[Path]:
    """The files in which those classes are."""
    found = (_place(kind.rpartition(".")[0]) for kind in kinds)
    return sorted({path for path in found if path})


Use = tuple[str, str]  # a name, and what is asked of it: "a.b" of `name.a.b`, "" where nothing
Statement = tuple[str, frozenset[Use]]  # its text, and the names that it uses


@dataclass(frozen=True)
class _Module:
    """A file's statements: all, and by the name that they give a value, or change; and what it imports."""

    every: tuple[Statement, ...]
    defined: Mapping[str, tuple[Statement, ...]]
    imported: Mapping[str, tuple[Name, ...]]  # by the name it has here
    stars: tuple[str, ...]


def _shipped(module: str) -> bool:
    return module.partition(".")[0] == "harness"


def _own(module: str, root: str) -> bool:
    """Whether a module is the user's: found, not ours, and neither Python's nor an installed library but `root`."""
    top = module.partition(".")[0]
    if not top or _shipped(module) or top in sys.stdlib_module_names:
        return False
    path = _place(module)
    return path is not None and (top == root or not INSTALLED & set(path.parts))


@lru_cache
def _place(module: str) -> Path | None:
    """The file of a module, found as Python would and not imported."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded:
        return Path(loaded) if loaded.endswith(".py") else None
    for root in (*sys.path, "."):  # by hand: Python's own finder asks for the parents to be loaded
        for end in ("/__init__.py", ".py"):
            if (found := Path(root or ".", module.replace(".", "/") + end)).is_file():
                return found
    return None


@lru_cache
def _read(module: str) -> _Module:
    """Once a process: what it was imported as is what it trains by."""
    path = _place(module)
    try:
        tree = ast.parse(path.read_bytes()) if path else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError):
        tree = ast.Module([], [])
    package = module if path and path.name == "__init__.py" else module.rpartition(".")[0]
    every: list[Statement] = []
    defined: dict[str, list[Statement]] = {}
    imported: dict[str, list[Name]] = {}
    stars: list[str] = []
    for statement in tree.body:
        for node in ast.walk(statement):
            _note_import(node, package, imported, stars)
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            said = _bare(statement), frozenset(_uses(statement))
            every.append(said)
            for name in dict.fromkeys(_binds(statement)):
                defined.setdefault(name, []).append(said)
    kept = {name: tuple(dict.fromkeys(each)) for name, each in imported.items()}
    return _Module(tuple(every), {name: tuple(each) for name, each in defined.items()}, kept, tuple(stars))


def _note_import(node: ast.AST, package: str, imported: dict[str, list[Name]], stars: list[str]) -> None:
    """An import anywhere in a file is taken for one at its top."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            imported.setdefault(alias.asname or top, []).append((alias.name if alias.asname else top, ""))
    elif isinstance(node, ast.ImportFrom):
        try:
            origin = resolve_name("." * node.level + (node.module or ""), package)
        except ImportError:
            return
        for alias in node.names:
            if alias.name == "*":
                stars.append(origin)
            else:
                imported.setdefault(alias.asname or alias.name, []).append((origin, alias.name))


def _binds(statement: ast.AST) -> Iterator[str]:
    """The names that a statement of a module's own gives a value, or changes; in `if`, `for`, `try`, `with` all within.

    Changed is that of which an item or an attribute is set, and what a call on its own is of, or is given.
    """
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
        return  # not what is imported
    if isinstance(statement, ast.Expr):
        yield from (n.id for n in ast.walk(statement) if isinstance(n, ast.Name))
        return
    for node in ast.iter_child_nodes(statement):
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _binds(node)
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id
            elif isinstance(inner, ast.Attribute | ast.Subscript) and not isinstance(inner.ctx, ast.Load):
                yield from (n.id for n in ast.walk(inner.value) if isinstance(n, ast.Name))


def _bare(statement: ast.stmt) -> str:
    """Its text without comments, layout and docstrings."""
    for node in ast.walk(statement):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node, False):
            assert body
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(statement)


def _uses(statement: ast.stmt) -> Iterator[Use]:
    inside: set[int] = set()  # parts of a chain that was told whole
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):  # within it: what it brings is the statement's
            yield from ((alias.asname or alias.name.partition(".")[0], "") for alias in node.names)
        elif isinstance(node, ast.Attribute | ast.Name) and id(node) not in inside:
            chain, end = [], node
            while isinstance(end, ast.Attribute):
                chain.append(end.attr)
                end = end.value  # type: ignore[assignment]
                inside.add(id(end))
            if isinstance(end, ast.Name):
                yield end.id, ".".join(reversed(chain))


def _found(module: str, name: str, asked: str) -> list[Name]:
    """Where that may be which `module` calls `name`, or `name.asked`; nothing of a built-in or a local name."""
    own = [(module, name)] if name in _read(module).defined else []
    return own + _brought(module, name, asked)


def _brought(module: str, name: str, asked: str = "") -> list[Name]:
    """Where that may be which an import brings to `module` under `name`."""
    file = _read(module)
    found = [place for origin, there in file.imported.get(name, ()) for place in _in_module(origin, there, asked)]
    return found + [(star, name) for star in file.stars if _has(star, name, {module})]


def _in_module(module: str, name: str, asked: str) -> list[Name]:
    """`from module import name`, or `import module` where that is "", and `asked` of it: a name, or all of a module."""
    if name and not _place(f"{module}.{name}"):
        return [(module, name)]
    module = f"{module}.{name}" if name else module
    first, _, rest = asked.partition(".")
    while first and first not in _read(module).defined and _place(f"{module}.{first}"):
        module, (first, _, rest) = f"{module}.{first}", rest.partition(".")
    known = _read(module)
    return [(module, first if first in known.defined or first in known.imported else "")]


def _has(module: str, name: str, asked: set[str]) -> bool:
    """Whether `from module import *` may bring `name`."""
    file = _read(module)
    own = name in file.defined or name in file.imported
    return own or any(_has(star, name, asked | {module}) for star in file.stars if star not in asked)
