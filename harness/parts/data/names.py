"""What the classes are called, from a file."""

from collections.abc import Sequence
from pathlib import Path

from harness import Problem
from harness.parts.data.reading import brief


def named(classes: Sequence[str], path: Path | None) -> tuple[str, ...]:
    """The names of `classes` by a file; their own where there is none.

    It has a name a line, in the order of the classes (of whole numbers the first line is of 0); or a class and its name
    a line, with a tab, a comma or blanks between. Raises Problem where it cannot be read, a class is not in it, or two
    would have one name.
    """
    if path is None:
        return tuple(classes)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise Problem(f"data.names={path} cannot be read ({brief(error)}): name a text file of the classes") from None
    told = dict(pair for line in lines if (pair := _pair(line)) and pair[0] in set(classes))
    if len(told) < max(2, len(classes) / 2):  # names alone: two words of a line are no class and its name
        numbered = all(name.isdecimal() for name in classes)
        told = dict(zip(map(str, range(len(lines))) if numbered else classes, lines, strict=False))
        if not numbered and len(lines) != len(classes):
            raise Problem(f"data.names={path}: {len(lines)} names for {len(classes)} classes: write one a line")
    without = [name for name in classes if name not in told]
    if without:
        raise Problem(f"data.names={path}: no name for {', '.join(without[:5])}: add a line for each class")
    names = tuple(told[name] for name in classes)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Problem(f"data.names={path}: two classes are called {', '.join(twice[:5])}: give each a name of its own")
    return names


def _pair(line: str) -> tuple[str, str] | None:
    between = next((mark for mark in "\t," if mark in line), None)
    first, *rest = (word.strip().strip('"') for word in line.split(between, 1))
    return (first, rest[0]) if rest and rest[0] else None
