"""A user's own code: the source that a record was made by, whether it is the same today, and which line went wrong.

The package's own parts have a `version`, and a record holds the package's commit. Of any other part a record holds a
digest of its class and of all that it uses, followed by name through the user's modules: functions, classes and
constants, base classes and decorators. Comments, docstrings and layout do not count, nor does what is beside it in its
file. What is found by a text at run time (a registry, `getattr`) is not seen, and libraries are not followed: their
versions are in the record. A trick needs no digest, since all that it does is in the specification, and so in the id.

Files are parsed and never imported: a report can ask without loading torch or anything of a user's.
"""

import ast
import hashlib
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from harness import one_line
from harness.spec import Spec, parts, upstream

Name = tuple[str, str]  # a module, and what of it; "" is all of it
INSTALLED = {"site-packages", "dist-packages"}


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
    """16 hexadecimal digits of the source of `kind`, a class by its module and name; None where it is not found.

    Once a process: what it has imported is what it trains by.
    """
    module, _, name = kind.rpartition(".")
    root = module.partition(".")[0]
    if not _own(module, root) or name not in _read(module).defined:
        return None
    texts, met, pending = dict[Name, str](), set[Name](), [(module, name)]
    while pending:
        at = pending.pop()
        if at in met or not _own(at[0], root):
            continue
        met.add(at)
        file = _read(at[0])
        statements = file.defined.get(at[1], ()) if at[1] else [s for each in file.defined.values() for s in each]
        texts[at] = "\n".join(text for text, _ in statements)
        if at[1] and not statements:  # handed on from elsewhere, a module within, or made in a way that is not read
            within = ".".join(at), ""
            pending += _found(*at, "") or [within if _place(within[0]) else (at[0], "")]
        pending += [found for _, uses in statements for use in uses for found in _found(at[0], *use)]
    told = "\n".join(f"{'.'.join(at)}\n{texts[at]}" for at in sorted(texts) if texts[at])
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:16]


def files(kinds: Mapping[str, str]) -> list[Path]:
    """The files in which those classes are."""
    found = (_place(kind.rpartition(".")[0]) for kind in kinds)
    return sorted({path for path in found if path})


RERAISED = "Original Traceback (most recent call last):"  # what torch puts into the error of a decoding process


def told(error: BaseException) -> str:
    """An error in one line: what it is, and the deepest line of the user's own code, else of any, that it came from."""
    text = str(error).rstrip().rpartition("\n")[2] if RERAISED in str(error) else f"{type(error).__name__}: {error}"
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    place = blamed(error) or (frames[-1] if frames else None)
    return one_line(f"{text} ({Path(place[0]).name}:{place[1]})" if place else text, 1000)


def blamed(error: BaseException) -> tuple[str, int] | None:
    """The file and line where an error went deepest into code that is the user's; None where it did not.

    Of an error that torch raised again, for one of a decoding process, by the traceback that its text holds.
    """
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    frames += [(file, int(line)) for file, line in re.findall(r'File "(.+?)", line (\d+)', str(error))]
    return next((frame for frame in reversed(frames) if _is_users(frame[0])), None)


def _is_users(file: str) -> bool:
    library = (sysconfig.get_path("stdlib"), f"{Path(__file__).parent}/", "<")
    return not file.startswith(library) and not INSTALLED & set(Path(file).parts)


# --- modules as they lie on disk --------------------------------------------------------------------------------------

Use = tuple[str, str]  # a name, and the attribute asked of it, "" where none


@dataclass(frozen=True)
class _Module:
    """What a file defines: by name, each statement's text and the names it uses; and what it imports."""

    defined: Mapping[str, tuple[tuple[str, frozenset[Use]], ...]]
    imported: Mapping[str, Name]  # by the name it has here
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
    defined: dict[str, list[tuple[str, frozenset[Use]]]] = {}
    imported: dict[str, Name] = {}
    stars: list[str] = []
    for statement in tree.body:
        for node in ast.walk(statement):
            _note_import(node, package, imported, stars)
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            said = _bare(statement), frozenset(_uses(statement))
            for name in _binds(statement):
                defined.setdefault(name, []).append(said)
    return _Module({name: tuple(each) for name, each in defined.items()}, imported, tuple(stars))


def _note_import(node: ast.AST, package: str, imported: dict[str, Name], stars: list[str]) -> None:
    """An import anywhere in a file is taken for one at its top."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            imported[alias.asname or alias.name.partition(".")[0]] = alias.name, ""
    elif isinstance(node, ast.ImportFrom):
        try:
            origin = resolve_name("." * node.level + (node.module or ""), package)
        except ImportError:
            return
        for alias in node.names:
            if alias.name == "*":
                stars.append(origin)
            else:
                imported[alias.asname or alias.name] = origin, alias.name


def _binds(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module's own gives a value; in `if`, `try` and `with` all within."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.iter_child_nodes(statement):
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _binds(node)  # type: ignore[arg-type]
        else:
            yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _bare(statement: ast.stmt) -> str:
    """Its text without comments, layout and docstrings."""
    for node in ast.walk(statement):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node, False):
            assert body
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(statement)


def _uses(statement: ast.stmt) -> Iterator[Use]:
    held: set[int] = set()  # names of which an attribute is asked
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            held.add(id(node.value))
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and id(node) not in held:
            yield node.id, ""


def _found(module: str, name: str, attribute: str) -> list[Name]:
    """Where that may be which `module` calls `name`, or `name.attribute`; nothing of a built-in or a local name."""
    file = _read(module)
    if name in file.defined:
        return [(module, name)]
    if name in file.imported:
        origin, there = file.imported[name]
        inside = f"{origin}.{there}" if there else origin
        return [(inside, attribute)] if not there or _place(inside) else [(origin, there)]
    return [(star, name) for star in file.stars if _has(star, name, {module})]


def _has(module: str, name: str, asked: set[str]) -> bool:
    """Whether `from module import *` may bring `name`."""
    file = _read(module)
    own = name in file.defined or name in file.imported
    return own or any(_has(star, name, asked | {module}) for star in file.stars if star not in asked)
